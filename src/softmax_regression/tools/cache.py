"""What DVC leaves out: pushing all that the run cache refers to, and checking what it keeps after a power cut.

`dvc push --run-cache` uploads the records of which stage made what from what, but of the files they name only those of
the present commit, and never the metrics, which git holds: another clone finds the record, misses a file, and computes
again. And DVC takes a file of its cache for sound as long as it is write-protected, even one that was cut short, and a
record of the run cache as long as it can be read. Its lock files it writes in place, and refuses to start where one was
cut short.
"""

import json
from pathlib import Path

from dvc.dvcfile import Lockfile
from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.stage.cache import _get_cache_hash
from dvc.utils.serialize import load_yaml

from softmax_regression.base import files
from softmax_regression.base.errors import UserError


def push(repo: Repo) -> int:
    """Push the files that the run cache's records name to the default remote; return how many it did not have yet.

    One that is no longer in the local cache is left out; an experiment that needs it is computed again.
    """
    records = [(path.parent.name, path.name) for path in Path(repo.stage_cache.cache_dir).glob("*/*/*")]
    results = [repo.cloud.push(objects) for objects in repo.stage_cache.get_used_objs(records).values()]
    if failed := sum(len(result.failed) for result in results):
        raise UserError(f"{failed} files of the run cache could not be pushed: try again")
    return sum(len(result.transferred) for result in results)


def remove_damaged(repo: Repo) -> list[Path]:
    """Remove the cache's files whose content is not what their names say, and copies of them; return what was removed.

    DVC then sees what is missing: `dvc pull` fetches it, `dvc repro` makes it again. An output that differs from
    dvc.lock for another reason stays as it is.
    """
    damaged = {}
    # A name that begins with a dot is a file that DVC is writing.
    for path in sorted(Path(repo.cache.local.path).glob("??/[!.]*")):
        expected, actual = path.parent.name + path.name.removesuffix(".dir"), files.md5(path)
        if actual != expected:
            damaged[expected] = (path, actual)
    outputs = [(Path(out.fs_path), damaged.get(out.hash_info.value)) for out in repo.index.outs]
    copies = [path for path, found in outputs if found and path.is_file() and files.md5(path) == found[1]]
    records = Path(repo.stage_cache.cache_dir)
    removed = [path for path, _ in damaged.values()] + copies
    removed += [path for path in sorted(records.glob("*/*/*")) if not _is_sound_record(path)]
    for path in removed:
        path.unlink()
    for folder in records.glob("*/*"):
        if not any(folder.iterdir()):  # DVC takes for granted that there is a record in it
            folder.rmdir()
    return removed


def _is_sound_record(path: Path) -> bool:
    """Whether a record of the run cache is whole: DVC names it by its content, the sizes left out."""
    try:
        record = load_yaml(path)
        return path.name == _get_cache_hash(record) and "size" in record["outs"][-1] and path.read_bytes()[-1:] == b"\n"
    except (DvcException, KeyError, TypeError, AttributeError):  # not YAML, or cut short and still YAML
        return False


def remove_cut_short(repo: Repo) -> list[Path]:
    """Remove a lock file that DVC cannot read, a merge's conflict excepted; return what was removed.

    `dvc repro` makes dvc.lock anew from the run cache; .dvc/tmp/rwlock and exps/rwlock list what running processes use.
    """
    locks = (Path(repo.root_dir) / name for name in ("dvc.lock", "search/dvc.lock"))
    removed = [lock for lock in locks if lock.is_file() and _is_cut_short(repo, lock)]
    for in_use in (Path(repo.tmp_dir or "") / name for name in ("rwlock", "exps/rwlock")):
        try:
            json.loads(in_use.read_bytes())
        except FileNotFoundError:
            pass
        except ValueError:
            removed.append(in_use)
    for path in removed:
        path.unlink()
    return removed


def _is_cut_short(repo: Repo, lock: Path) -> bool:
    try:
        Lockfile(repo, str(lock)).load()
    except DvcException:
        return b"<<<<<<<" not in lock.read_bytes()
    return False
