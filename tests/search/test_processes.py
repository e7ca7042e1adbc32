import os
import signal
import subprocess
import sys

from clone import ROOT

from softmax_regression.search.processes import pool, prepare


def test_the_stage_imports_what_takes_long_while_its_processes_do() -> None:
    code = "import sys, search; print({'torch', 'matplotlib', 'mlflow'} & sys.modules.keys())"
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT / 'stages'}"}
    done = subprocess.run((sys.executable, "-c", code), env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_processes_have_imported_all_when_they_begin_and_leave_ctrl_c_to_their_starter() -> None:
    prepare(2)
    with pool(2) as processes:
        assert processes.submit(eval, "__import__('os').getpid()").result() != os.getpid()
        assert processes.submit(eval, "'softmax_regression.search.turns' in __import__('sys').modules").result()
        assert signal.SIGINT in processes.submit(signal.pthread_sigmask, signal.SIG_BLOCK, []).result()
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_one_process_is_this_one() -> None:
    prepare(1)
    with pool(1) as processes:
        assert processes.submit(os.getpid).result() == os.getpid()
