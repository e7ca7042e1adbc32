import io
import os
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest
from picture_files import pack, png, write

from softmax_regression.base.errors import UserError
from softmax_regression.pictures.reading import MOST_BYTES
from softmax_regression.sources.trees import Tree, of_archive, of_folder

FILES = {"a/1.png": b"one", 'a/it\'s "2" ü.png': b"two", "b/c/3.png": bytes(1000)}
HIDDEN = (
    ".DS_Store",
    "a/Thumbs.db",
    "a/desktop.ini",
    "__MACOSX/a/._1.png",
    ".ipynb_checkpoints/1.png",
    "a/.hidden/1.png",
)


def read_all(tree: Tree) -> dict[str, object]:
    return dict(zip(tree.paths, tree.read(tree.paths), strict=True))


@pytest.mark.parametrize("form", ["", "zip", "tar", "gztar", "xztar"])
def test_all_files_are_read_and_hidden_ones_passed_over(form: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "files", FILES | dict.fromkeys(HIDDEN, b"junk"))
    (folder / "empty").mkdir()
    tree = of_archive(pack(folder, form, tmp_path / "x")) if form else of_folder(folder)
    assert read_all(tree) == FILES and tree.problems == []
    assert tree.folders == {"a", "b", "b/c", "empty"}
    assert tree.passed_over >= 5
    assert list(tree.read(["b/c/3.png"])) == [bytes(1000)]


def test_links_out_of_the_folder_are_problems_and_links_within_it_are_files(tmp_path: Path) -> None:
    folder = write(tmp_path / "files", FILES)
    (tmp_path / "secret").write_bytes(b"secret")
    (folder / "a/4.png").symlink_to(folder / "a/1.png")
    (folder / "a/5.png").symlink_to(tmp_path / "secret")
    (folder / "a/6.png").symlink_to("nowhere")
    (folder / "c").symlink_to(folder / "a")
    os.mkfifo(folder / "a/7.png")
    tree = of_folder(folder)
    assert read_all(tree) == FILES | {"a/4.png": b"one"}
    reason = "a link that leads to no file in the folder"
    assert sorted(tree.problems) == [
        f"a/5.png: {reason}", f"a/6.png: {reason}", "a/7.png: neither a file nor a folder", f"c: {reason}",
    ]  # fmt: skip


def test_names_that_cannot_be_printed_are_problems(tmp_path: Path) -> None:
    folder = write(tmp_path, {"a/1.png": b"one", "a/\n.png": b"two"})
    (folder / os.fsdecode(b"a/\xff.png")).write_bytes(b"three")
    tree = of_folder(folder)
    assert tree.paths == ["a/1.png"]
    assert all(problem.isprintable() and "cannot be printed" in problem for problem in tree.problems)
    assert len(tree.problems) == 2


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    tree = of_folder(write(tmp_path, FILES))
    (tmp_path / "a/1.png").unlink()
    assert list(tree.read(["a/1.png", "b/c/3.png"])) == ["cannot be read: No such file or directory", bytes(1000)]


def test_of_a_large_file_no_more_is_read_than_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with (tmp_path / "a/1.png").open("wb") as file:
        file.truncate(100 * 2**30)
    (content,) = of_folder(tmp_path).read(["a/1.png"])
    assert isinstance(content, bytes) and len(content) == MOST_BYTES + 1


def test_what_is_no_file_in_an_archive_is_a_problem(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as opened:
        for name, kind in (("a/link", tarfile.SYMTYPE), ("a/hard", tarfile.LNKTYPE), ("a/device", tarfile.CHRTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            opened.addfile(member)
        for name in ("../out.png", "/etc/out.png", "a/1.png", "a/1.png"):
            opened.addfile(tarfile.TarInfo(name), io.BytesIO())
    assert of_archive(tmp_path / "x.tar").problems == [
        "a/link: a link or a device",
        "a/hard: a link or a device",
        "a/device: a link or a device",
        "../out.png: leads out of the archive",
        "/etc/out.png: leads out of the archive",
        "a/1.png: twice in the archive",
    ]
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as opened_zip:
        link = zipfile.ZipInfo("a/link.png")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        opened_zip.writestr(link, "/etc/passwd")
    assert of_archive(tmp_path / "x.zip").problems == ["a/link.png: a link"]


def test_an_encrypted_zip_is_told(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as opened:
        opened.writestr("a/1.png", b"one")
    content = bytearray((tmp_path / "x.zip").read_bytes())
    for signature, place in ((b"PK\3\4", 6), (b"PK\1\2", 8)):  # the flags of the file and of the listing
        content[content.index(signature) + place] |= 1
    (tmp_path / "x.zip").write_bytes(content)
    assert of_archive(tmp_path / "x.zip").problems == ["a/1.png: encrypted"]


@pytest.mark.parametrize("form", ["zip", "tar", "gztar", "bztar", "xztar"])
def test_no_picture_of_a_damaged_archive_is_lost_without_a_word(form: str, tmp_path: Path) -> None:
    files = {f"a/{i}.png": png(i, 50, 50) for i in range(9)}
    whole = pack(write(tmp_path / "files", files), form, tmp_path / "x")
    content = whole.read_bytes()
    cuts = [content[: len(content) * share // 10] for share in range(10)]
    flips = [content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :] for at in range(300, len(content), 701)]
    for damaged in (b"nothing of the kind", *cuts, *flips):
        whole.write_bytes(damaged)
        try:
            found = read_all(of_archive(whole))
        except UserError as error:
            assert str(error).startswith(f"{whole}: ") and str(error).isprintable()
        else:  # of a file's own bytes only zip has a checksum, and the picture has one itself
            assert len(found) == 9


def test_names_that_cannot_be_printed_are_problems_in_archives_too(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as opened:
        opened.writestr("\x1b[31ma\n/1.png", b"one")
    with tarfile.open(tmp_path / "x.tar", "w", format=tarfile.USTAR_FORMAT, encoding="latin-1") as opened_tar:
        opened_tar.addfile(tarfile.TarInfo("caf\xe9/1.png"), io.BytesIO())
    for name in ("x.zip", "x.tar"):
        (problem,) = of_archive(tmp_path / name).problems
        assert problem.isprintable() and problem.endswith("a name with characters that cannot be printed")


def test_a_damaged_file_in_a_zip_is_told_beside_the_others(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as opened:
        opened.writestr("a/1.png", b"one" * 100)
        opened.writestr("a/2.png", b"two" * 100)
    content = bytearray((tmp_path / "x.zip").read_bytes())
    content[content.index(b"one") + 10] ^= 1
    (tmp_path / "x.zip").write_bytes(content)
    tree = of_archive(tmp_path / "x.zip")
    assert list(tree.read(tree.paths)) == ["cannot be unpacked: Bad CRC-32 for file 'a/1.png'", b"two" * 100]
