"""What `softmax predict` prints and draws."""

import csv
import io
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from softmax_regression.base.errors import UserError
from softmax_regression.pictures import reading
from softmax_regression.prediction.classifier import Answer, Classifier

STANDARD_INPUT = "-"
ENDINGS = ", ".join(sorted(reading.SUFFIXES))
MOST_DRAWN, MOST_PIXELS_DRAWN = 20, 600
"""Pictures in what `--show` draws."""
Writer = Callable[[str, Answer], None]


def predict(names: Sequence[str], classifier: Classifier, form: str, drawing: str | None) -> None:
    """Print an answer for each picture as soon as it is there, as `text`, `json` or `csv`; draw the first ones.

    Why there is none for a picture is told beside. Raises UserError at the end where that was so, and where there is no
    picture at all.
    """
    files = list(find(names))
    if not files:
        raise UserError(f"{names[0]}: no pictures in it; their names end with {ENDINGS}")
    # A name that is no text, which the file system allows, is not to end it.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    write = WRITERS[form](classifier, max(map(len, files)))
    drawn: list[tuple[str, np.ndarray, float, Answer]] = []
    failed = 0
    for name in _with_progress(files):
        try:
            given = sys.stdin.buffer.read(reading.MOST_BYTES + 1) if name == STANDARD_INPUT else Path(name)
            picture = reading.read(given, classifier.in_colour)
            answer = classifier.answer(picture)
        except (UserError, OSError) as error:
            failed += 1
            print(f"{name}: {error.strerror if isinstance(error, OSError) else error}", file=sys.stderr, flush=True)
            continue
        write(name, answer)
        if drawing and len(drawn) < MOST_DRAWN:
            step = -(-max(picture.levels.shape[:2]) // MOST_PIXELS_DRAWN)
            small = picture.levels[::step, ::step].copy()  # so that the rest is not kept
            drawn.append((Path(name).name, small, step * picture.reduction, answer))
    if drawing and drawn:
        _draw(drawn, classifier.origin.preparation.shows, Path(drawing))
        if len(files) > MOST_DRAWN:
            print(f"{drawing}: the first {MOST_DRAWN} of {len(files)} pictures", file=sys.stderr)
    if failed:
        raise UserError(f"{failed} of {len(files)} pictures could not be answered")


def find(names: Iterable[str]) -> Iterator[str]:
    """Names as they are, and of folders the pictures in them, in the order of their paths, hidden ones left out."""
    for name in names:
        if name != STANDARD_INPUT and (folder := Path(name)).is_dir():
            inside = (path for path in folder.rglob("*") if path.suffix.lower() in reading.SUFFIXES)
            yield from sorted(str(path) for path in inside if path.is_file() and not is_hidden(path, folder))
        else:
            yield name


def is_hidden(path: Path, folder: Path) -> bool:
    """Whether a file in a folder, or what it lies in there, is hidden."""
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def _with_progress(files: Sequence[str]) -> Iterable[str]:
    """With a bar where the answers go elsewhere; on the same terminal they are the progress."""
    if len(files) == 1 or sys.stdout.isatty() or not sys.stderr.isatty():
        return files
    from tqdm import tqdm

    return tqdm(files, unit=" pictures", ncols=80)


def _text(_: Classifier, width: int) -> Writer:
    def write(name: str, answer: Answer) -> None:
        (best, probability), *others = answer.ranked
        rest = "".join(f"  then {runner_up} {share:.3f}" for runner_up, share in others[:1])
        unsure = "  unsure" if answer.is_unsure else ""
        print(f"{name:{width}}  {best}  {probability:.3f}{rest}{unsure}", flush=True)

    return write


def _json(_: Classifier, __: int) -> Writer:
    def write(name: str, answer: Answer) -> None:
        print(json.dumps({"file": name, **answer.as_json()}, ensure_ascii=False), flush=True)

    return write


def _csv(classifier: Classifier, _: int) -> Writer:
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(["file", "class", "probability", "unsure", *(f"p({name})" for name in classifier.origin.classes)])

    def write(name: str, answer: Answer) -> None:
        best, probability = answer.ranked[0]
        table.writerow([name, best, probability, str(answer.is_unsure).lower(), *answer.probabilities.tolist()])

    return write


WRITERS: dict[str, Callable[[Classifier, int], Writer]] = {"text": _text, "json": _json, "csv": _csv}


def _draw(drawn: Sequence[tuple[str, np.ndarray, float, Answer]], shows: str, path: Path) -> None:
    """Draw pictures with their names, each reduced by a number, and their answers; `shows` as in Preparation."""
    from softmax_regression.results import figures  # here: matplotlib takes longer than all the rest

    names, pictures, reductions, answers = zip(*drawn, strict=True)
    said = [f"{answer.ranked[0][0]}  {answer.ranked[0][1]:.2f}" for answer in answers]
    boxes = [[edge / each for edge in answer.prepared.box] for each, answer in zip(reductions, answers, strict=True)]
    images = [answer.prepared.image for answer in answers]
    figures.save(figures.seen(pictures, names, boxes, images, said, shows), path)
