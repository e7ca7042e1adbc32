"""Pictures in folders named by their classes, or in a table: as torchvision, Keras and Hugging Face have them."""

import codecs
import posixpath
from collections.abc import Iterable, Mapping

from softmax_regression.base.errors import UserError, one_line
from softmax_regression.base.files import parse_csv
from softmax_regression.pictures.reading import MOST_BYTES, SUFFIXES
from softmax_regression.sources.collection import TEST, TRAIN, UNDIVIDED, VALID, Collection, in_one_form, is_class_name
from softmax_regression.sources.trees import Tree

PARTS = {"train": TRAIN, "training": TRAIN, "test": TEST, "testing": TEST}
PARTS |= dict.fromkeys(("val", "valid", "validation", "dev"), VALID)
"""Names of folders, in any case."""
TABLES = ("metadata.csv", "labels.csv")
FILE_COLUMNS = ("file_name", "filename", "file", "image", "path", "id")
LABEL_COLUMNS = ("label", "class", "category", "target")
"""The first of these that a table has is taken."""
MOST_DIGITS = 18
"""Of a number that is a file's name."""


def collect_tree(tree: Tree, name: str) -> Collection:
    """What the files of a folder or archive show: `CLASS/…`, or `train/CLASS/…` beside `test/CLASS/…`.

    Where a folder, or one of its parts, has a table of TABLES, that says the class of each picture instead. Raises
    UserError where there is no picture, or a table cannot be read.
    """
    base = _single_folder(tree)
    parts, problems = _parts(tree, base)
    problems = [*tree.problems, *problems]
    labels: dict[str, str] = {}
    part_of: dict[str, str] = {}
    listed: dict[str, None] = {}
    passed_over = 0
    tables = {prefix: _table(tree, prefix) for prefix in {base, *parts}}
    for prefix, part in parts.items():
        own = [path for path in tree.paths if path.startswith(prefix) and not _is_table(path)]
        if table := tables[prefix] or tables[base]:
            pictures = [path for path in own if path in table or _is_picture(path)]
            problems += [f"{path}: not in {' or '.join(TABLES)}" for path in pictures if path not in table]
            labels |= {path: table[path] for path in pictures if path in table}
            listed |= dict.fromkeys(table)
        else:
            pictures = [path for path in own if "/" in path.removeprefix(prefix) or _is_picture(path)]
            found, wrong = _by_folders(tree, pictures, prefix, must_have_all=part in (UNDIVIDED, TRAIN))
            labels |= found
            problems += wrong
        part_of |= dict.fromkeys(pictures, part)
        passed_over += len(own) - len(pictures)
    problems += [f"{path}: listed in a table, but not there" for path in listed if path not in labels]
    # As the tree can be read: a compressed tar, from one end to the other.
    paths = [path for path in tree.paths if path in labels]
    if not paths and not tree.problems and not any(_folders_in(tree, prefix) for prefix in parts):
        beside = f"; {len(part_of)} lie in none" * bool(part_of)
        raise UserError(f"{name}: no pictures in folders named by their classes, such as {name}/cat/1.png{beside}")
    in_tables = {path: row for row, path in enumerate(listed)} if len(listed) == len(paths) else {}
    ranks = in_tables or _numbers({path: part_of[path] for path in paths})
    return Collection(
        paths,
        [labels[path] for path in paths],
        [part_of[path] for path in paths],
        lambda: tree.read(paths),
        numbers=[ranks[path] for path in paths] if ranks else (),
        problems=tuple(problems),
        notes=_notes({"hidden, or a file manager's": tree.passed_over, "beside the classes' folders": passed_over}),
    )


def _is_picture(path: str) -> bool:
    return posixpath.splitext(path)[1].lower() in SUFFIXES


def _is_table(path: str) -> bool:
    return posixpath.basename(path) in TABLES


def _folders_in(tree: Tree, prefix: str) -> list[str]:
    """The names of the folders directly in one."""
    below = (folder.removeprefix(prefix) for folder in tree.folders if folder.startswith(prefix))
    return sorted(name for name in below if "/" not in name)


def _single_folder(tree: Tree) -> str:
    """With a slash the folder that all lies in, as in most archives; else nothing."""
    base = ""
    while True:
        folders = _folders_in(tree, base)
        inner = f"{base}{folders[0]}/" if folders else ""
        is_all = len(folders) == 1 and all(path.startswith(inner) for path in tree.paths)
        if not is_all or not (_folders_in(tree, inner) or _path_of_table(tree, inner)):
            return base
        base = inner


def _parts(tree: Tree, base: str) -> tuple[dict[str, str], list[str]]:
    """Which part each folder is, by its path with a slash, and what is wrong with that."""
    folders = _folders_in(tree, base)
    named = {folder: PARTS[folder.casefold()] for folder in folders if folder.casefold() in PARTS}
    if TRAIN not in named.values() or set(named.values()) == {TRAIN}:
        _refuse_hidden_parts(tree, base, folders)
        return {base: UNDIVIDED}, []
    twice = [part for part in (TRAIN, VALID, TEST) if list(named.values()).count(part) > 1]
    problems = [f"{base}{folder}: beside folders for training and testing" for folder in folders if folder not in named]
    problems += [f"{base or '.'}: more than one folder for the part {part}" for part in twice]
    return {f"{base}{folder}/": part for folder, part in named.items()}, problems


def _refuse_hidden_parts(tree: Tree, base: str, folders: Iterable[str]) -> None:
    """Raise where folders that would be classes hold folders of the same names: `training_set/cat`, `test_set/cat`."""
    first: dict[str, str] = {}
    for folder in folders:
        for name in _folders_in(tree, f"{base}{folder}/"):
            other = first.setdefault(name, folder)
            if other != folder:
                advice = "call them train and test, or put the pictures directly into their classes' folders"
                raise UserError(f"{base}{other} and {base}{folder} both have a folder {name}: {advice}")


def _by_folders(
    tree: Tree, pictures: Iterable[str], prefix: str, must_have_all: bool
) -> tuple[dict[str, str], list[str]]:
    """The class of each picture by the folder that it lies in, and what is wrong with these folders."""
    labels, problems = {}, []
    folders = _folders_in(tree, prefix)
    first = {in_one_form(folder): folder for folder in reversed(folders)}
    for folder in folders:
        other = first[in_one_form(folder)]
        if other != folder:
            problems.append(f"{prefix}{folder}: the same class as {prefix}{other}, in another Unicode form")
    for path in pictures:
        folder, slash, _ = path.removeprefix(prefix).partition("/")
        if slash:
            labels[path] = in_one_form(folder)
        else:
            problems.append(f"{path}: lies in no class's folder")
    used = set(labels.values())
    empty = [folder for folder in folders if must_have_all and in_one_form(folder) not in used]
    return labels, problems + [f"{prefix}{folder}: a class without pictures" for folder in empty]


def _path_of_table(tree: Tree, prefix: str) -> str | None:
    return next((path for path in (prefix + name for name in TABLES) if path in tree.paths), None)


def _table(tree: Tree, prefix: str) -> dict[str, str]:
    """The class of each picture that the table in a folder lists, by its path, in its order; nothing without one."""
    path = _path_of_table(tree, prefix)
    if path is None:
        return {}
    (content,) = tree.read([path])
    if not isinstance(content, bytes):
        raise UserError(f"{path}: {content}")
    if len(content) > MOST_BYTES:
        raise UserError(f"{path}: more than {MOST_BYTES:,} bytes; put the pictures into folders named by their classes")
    columns = parse_csv(content.removeprefix(codecs.BOM_UTF8), path, ())
    files = next((columns[name] for name in FILE_COLUMNS if name in columns), None)
    labels = next((columns[name] for name in LABEL_COLUMNS if name in columns), None)
    if files is None or labels is None:
        wanted = f"one of {', '.join(FILE_COLUMNS)} and one of {', '.join(LABEL_COLUMNS)}"
        raise UserError(f"{path}: has the columns {', '.join(columns)}, must have {wanted}, with commas between")
    table: dict[str, str] = {}
    for file, label in zip(files, (in_one_form(each).strip() for each in labels), strict=True):
        picture = posixpath.normpath(prefix + file.replace("\\", "/"))
        if not is_class_name(label):
            raise UserError(f"{path}: lists {one_line(file)} without a class, or with one that cannot be printed")
        if (other := table.setdefault(picture, label)) != label:
            raise UserError(f"{path}: lists {file} as {other} and as {label}")
    return table


def _numbers(part_of: Mapping[str, str]) -> Mapping[str, int]:
    """The number that is each file's name, where no part has one twice: then somebody has numbered them."""
    stems = {path: posixpath.splitext(posixpath.basename(path))[0] for path in part_of}
    if not all(stem.isdecimal() and len(stem) <= MOST_DIGITS for stem in stems.values()):
        return {}
    numbers = {path: int(stem) for path, stem in stems.items()}
    return numbers if len({(part_of[path], number) for path, number in numbers.items()}) == len(numbers) else {}


def _notes(passed_over: Mapping[str, int]) -> tuple[str, ...]:
    return tuple(f"passed over: {count} files {which}" for which, count in passed_over.items() if count)
