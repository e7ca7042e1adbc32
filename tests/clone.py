"""A clone of this repository in which the real pipeline runs."""

import copy
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
OUTER = ("DVC_", "MLFLOW_", "GIT_", "MAKE", "MFLAGS")
"""How the environment variables begin of a DVC, MLflow, git or make in which the tests may run."""
IDENTITY = {f"GIT_{role}_{part}": "tester@localhost" for role in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")}


class Clone:
    """A clone with the working tree's changes, and the commands that a user types in it."""

    def __init__(self, folder: Path, origin: Path = ROOT) -> None:
        self.folder = folder
        self.environment = self._environment()
        subprocess.run(["git", "clone", "--quiet", str(origin), str(folder)], check=True)
        if origin == ROOT:
            self.run("git", "checkout", "--quiet", "-B", "main")
            self._commit_changes()

    def _environment(self) -> dict[str, str]:
        # No configuration, and nothing of what these tests run in: what a fresh machine has.
        # Only git's identity is given, which experiments need: they are commits.
        kept = {name: value for name, value in os.environ.items() if not name.startswith(OUTER)}
        home = self.folder.parent / "home"
        home.mkdir(parents=True, exist_ok=True)
        python = Path(sys.executable).parent
        return {**kept, "HOME": str(home), "PATH": f"{python}{os.pathsep}{kept['PATH']}", **IDENTITY}

    def _commit_changes(self) -> None:
        for listing in (["diff", "--name-only", "HEAD"], ["ls-files", "--others", "--exclude-standard"]):
            listed = subprocess.run(["git", *listing], cwd=ROOT, check=True, capture_output=True, text=True).stdout
            for name in listed.splitlines():
                (self.folder / name).unlink(missing_ok=True)
                if (ROOT / name).is_file():
                    (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(ROOT / name, self.folder / name)
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--allow-empty", "--message", "The working tree's changes")

    def run(self, *command: str, check: bool = True, **environment: str) -> str:
        """Run a command there and return what it prints, its two outputs as one text."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env={**self.environment, **environment},
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert not check or done.returncode == 0, done.stdout
        return done.stdout

    def make(self, *arguments: str, check: bool = True) -> str:
        """Run make with the environment of these tests as the clone's own, which make must not set up again."""
        if not (self.folder / ".venv").exists():
            (self.folder / ".venv").symlink_to(sys.prefix)
        return self.run("make", "--old-file=.venv/installed", *arguments, check=check, PYTHONPATH="src")

    def take_data(self) -> None:
        """Take over the images that are here, as if they had been downloaded there."""
        shutil.copytree(ROOT / "data", self.folder / "data")
        self.run("dvc", "commit", "--force", "download")

    def copy(self, folder: Path) -> "Clone":
        """The same, cache included, as if it had always been in `folder`; but without MLflow's store."""
        shutil.copytree(
            self.folder, folder, symlinks=True, ignore=shutil.ignore_patterns("mlflow.db*", "mlartifacts", ".journal")
        )
        copied = copy.copy(self)
        copied.folder = folder
        copied.environment = copied._environment()
        return copied

    def set_parameters(self, file: str = "params.yaml", **values: object) -> None:
        """Change values in a parameter file, comments kept."""
        path = self.folder / file
        text = path.read_text()
        for key, value in values.items():
            text, count = re.subn(rf"^{key}: .*$", f"{key}: {value}", text, flags=re.MULTILINE)
            assert count == 1, key
        path.write_text(text)


def stages_run(output: str) -> list[str]:
    """The stages that DVC started, by what it printed."""
    return re.findall(r"Running stage '(.+)'", output)
