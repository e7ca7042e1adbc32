"""What git knows of the code that runs."""

import json
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
    text = git("show", f"HEAD:./{path}") or "{}"
    try:
        content = json.loads(text) if path.endswith(".json") else YAML(typ="safe", pure=True).load(text)
    except (ValueError, YAMLError):
        return {}
    return content if isinstance(content, dict) else {}
