"""What git knows of the code that runs."""

import subprocess
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError


def git(*arguments: str) -> str | None:
    """What a git command prints, or None where it fails, as outside a repository."""
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def committed(path: str) -> dict[str, Any]:
    """What a YAML or JSON file of the current directory holds in the present commit; nothing if it is damaged."""
    try:
        content = YAML(typ="safe", pure=True).load(git("show", f"HEAD:./{path}") or "")
    except YAMLError:
        return {}
    return content if isinstance(content, dict) else {}
