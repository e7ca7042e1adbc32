"""What git knows of the code that runs."""

import json
import subprocess
from contextlib import suppress
from typing import Any


def git(*arguments: str) -> str | None:
    """What a git command prints, or None where it fails, as outside a repository."""
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def committed(path: str) -> str | None:
    """What a file of the current directory holds in the present commit; None where it is not in there."""
    return git("show", f"HEAD:./{path}")


def committed_json(path: str) -> dict[str, Any]:
    """What a JSON file of the current directory holds in the present commit, if it is there and sound."""
    with suppress(ValueError):
        return dict(json.loads(committed(path) or "{}"))
    return {}
