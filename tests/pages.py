"""The pages of docs/, whose commands the tests type as they stand there."""

import doctest
import re

from clone import ROOT, Clone

PREPARATION = """
export PYTHONPATH=src
make() { command make --old-file=.venv/installed "$@"; }
wait_for_queue() {
  for _ in $(seq 300); do dvc queue status | grep --quiet --extended-regexp 'Queued|Running' || return 0; sleep 1; done
  return 1
}
"""
"""What a shell is told before it types them: make must not set up the environment of these tests again."""

Command = tuple[str, str, str]


def commands(page: str) -> list[Command]:
    """Who types a command (nobody by name where the prompt is just `$`), the command, and what it is said to print."""
    blocks = re.findall(r"^```console\n(.*?)^```", (ROOT / "docs" / page).read_text(), flags=re.MULTILINE | re.DOTALL)
    command = re.compile(r"^(\w*)\$ (.*)\n((?:(?!\w*\$ ).*\n)*)", flags=re.MULTILINE)
    return [typed for block in blocks for typed in command.findall(block)]


def type_all(clone: Clone, typed: list[Command]) -> list[str]:
    """Type the commands in one shell, one after the other; return what each of them printed."""
    between = "--- what the next command prints ---"
    script = [PREPARATION]
    for _, command, _ in typed:
        script += ["wait_for_queue"] * (command == "dvc queue status") + [command, f"echo '{between}'"]
    clone.make("--version")
    return clone.run("bash", "-c", "\n".join(script)).split(f"{between}\n")[:-1]


def deviations(typed: list[Command], printed: list[str]) -> str:
    """The commands that printed something else than the page says, with what they printed."""
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    return "\n".join(
        f"{name}$ {command}\n{output}"
        for (name, command, expected), output in zip(typed, printed, strict=True)
        if not doctest.OutputChecker().check_output(expected, output, flags)
    )
