import pytest

from softmax_regression.errors import UserError, exit_on_user_error


def raising(error: BaseException) -> None:
    raise error


def test_a_user_error_ends_with_2_and_its_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        exit_on_user_error(lambda: raising(UserError("lr = -1: must be greater than 0")))
    assert ended.value.code == 2
    assert capsys.readouterr() == ("", "error: lr = -1: must be greater than 0\n")


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
