"""What `make setup` installs is what requirements.lock names, to the byte."""

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from clone import ROOT

LOCK = (ROOT / "requirements.lock").read_text()
ENTRIES = re.split(r"\n(?=\S)", LOCK.strip())


def entry(package: str) -> str:
    (found,) = (entry for entry in ENTRIES if entry.startswith(f"{package}=="))
    return found


def version(package: str) -> str:
    return entry(package).removeprefix(f"{package}==").split()[0]


@pytest.fixture
def forged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what `make setup` reads, where wheels of the right names and versions are not the locked ones."""
    links = tmp_path / "links"
    links.mkdir()
    for package in ("uv", "tqdm"):
        name = f"{package}-{version(package)}"
        with zipfile.ZipFile(links / f"{name}-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{package}/__init__.py", "")
            metadata = f"Metadata-Version: 2.1\nName: {package}\nVersion: {version(package)}\n"
            wheel.writestr(f"{name}.dist-info/METADATA", metadata)
            wheel.writestr(f"{name}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{name}.dist-info/RECORD", "")
    folder = tmp_path / "project"
    folder.mkdir()
    for file in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / file, folder)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("UV_OFFLINE", "1")
    for installer in ("PIP", "UV"):
        monkeypatch.setenv(f"{installer}_FIND_LINKS", str(links))
        monkeypatch.setenv(f"{installer}_CACHE_DIR", str(tmp_path / "cache"))
    return folder


def refusal(folder: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=folder, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode != 0
    assert not list(folder.glob(".venv/lib/*/site-packages/uv*"))
    assert not list(folder.glob(".venv/lib/*/site-packages/tqdm*"))
    return done.stdout


def test_every_package_is_pinned_with_a_sha256() -> None:
    assert len(ENTRIES) > 100
    assert all(
        re.match(r"[a-z0-9._-]+==\S+( ; [^\\]+)? \\\n    --hash=sha256:[0-9a-f]{64}", entry) for entry in ENTRIES
    )


def test_an_installer_that_is_not_the_locked_one_is_refused(forged: Path) -> None:
    printed = refusal(forged, "make", "setup", f"PYTHON={sys.executable}")
    assert "THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE" in printed
    assert not (forged / ".venv/installed").exists()


def test_a_package_that_is_not_the_locked_one_is_refused(forged: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", ".venv"], cwd=forged, check=True)
    (forged / ".venv/bin/uv").symlink_to(Path(sys.executable).with_name("uv"))
    (forged / "requirements.lock").write_text(entry("tqdm") + "\n")
    recipe = subprocess.run(["make", "-n", "setup"], cwd=forged, check=True, capture_output=True, text=True).stdout
    (install,) = (line for line in recipe.splitlines() if line.endswith("-r requirements.lock"))
    assert "Hash mismatch for `tqdm" in refusal(forged, *install.split())


def test_the_forged_wheels_would_be_installed_were_their_hashes_locked(forged: Path) -> None:
    (wheel,) = (forged.parent / "links").glob("tqdm-*")
    digest = subprocess.run(["sha256sum", wheel], check=True, capture_output=True, text=True).stdout.split()[0]
    (forged / "requirements.lock").write_text(f"tqdm=={version('tqdm')} --hash=sha256:{digest}\n")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", ".venv"], cwd=forged, check=True)
    uv = Path(sys.executable).with_name("uv")
    options = ["--python", ".venv/bin/python", "--require-hashes", "-r", "requirements.lock"]
    subprocess.run([uv, "pip", "install", *options], cwd=forged, check=True)
    assert list(forged.glob(".venv/lib/*/site-packages/tqdm/__init__.py"))
