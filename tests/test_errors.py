import errno

import pytest

from softmax_regression.errors import UserError, exit_on_user_error


def raising(error: BaseException) -> None:
    raise error


def test_a_user_error_ends_with_2_and_its_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        exit_on_user_error(lambda: raising(UserError("lr = -1: must be greater than 0")))
    assert ended.value.code == 2
    assert capsys.readouterr() == ("", "error: lr = -1: must be greater than 0\n")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (PermissionError(errno.EACCES, "Permission denied", ".journal"), "error: .journal: Permission denied\n"),
        (ConnectionError("two\nlines"), "error: two lines\n"),
    ],
)
def test_what_the_system_refuses_ends_with_2_and_one_line(
    error: OSError, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        exit_on_user_error(lambda: raising(error))
    assert ended.value.code == 2
    assert capsys.readouterr() == ("", line)


def test_ctrl_c_ends_with_130_not_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        exit_on_user_error(lambda: raising(KeyboardInterrupt()))
    assert ended.value.code == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_a_defect_of_the_program_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        exit_on_user_error(lambda: raising(ZeroDivisionError()))


def test_success_goes_on() -> None:
    done: list[bool] = []
    exit_on_user_error(lambda: done.append(True))
    assert done == [True]
