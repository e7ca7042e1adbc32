import bz2
import gzip
import hashlib
import pickle
import ssl
import subprocess
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torchvision.datasets as known
from scipy.io import savemat
from test_arrays import idx

from softmax_regression.base.errors import UserError
from softmax_regression.data.images import Preparation
from softmax_regression.sources import torchvision_sets
from softmax_regression.sources.collection import TEST, TRAIN, Collection
from softmax_regression.sources.datasets import PREPARATIONS

GREY = np.random.default_rng(0).integers(0, 256, (7, 4, 3), dtype=np.uint8)
RGB = np.random.default_rng(1).integers(0, 256, (12, 32, 32, 3), dtype=np.uint8)
LABELS = np.array([2, 0, 9, 1, 2, 0, 9], np.uint8)


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def assert_holds(collection: Collection, *expected: np.ndarray) -> None:
    """To train on and to test on are these images, each time that they are asked for."""
    sizes = dict(zip((TRAIN, TEST), map(len, expected), strict=True))
    assert collection.names == [f"{part}[{row}]" for part, size in sizes.items() for row in range(size)]
    assert collection.parts == [part for part, size in sizes.items() for _ in range(size)]
    assert list(collection.numbers) == list(range(sum(sizes.values())))
    for _ in range(2):
        contents = list(collection.contents())
        for content, image in zip(contents, [image for stack in expected for image in stack], strict=True):
            assert isinstance(content, np.ndarray) and content.dtype == np.uint8 and content.flags.c_contiguous
            np.testing.assert_array_equal(content, image)


def emnist(path: Path, split: str, base: int = 0) -> Path:
    """A zip as NIST has it, of one split: 7 images to train on, 3 to test on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"gzip/emnist-{split}-mapping.txt", "0 48\n")
        for part, rows in (("train", slice(7)), ("test", slice(4, 7))):
            images, labels = GREY[rows], LABELS[rows] + np.uint8(base)
            archive.writestr(f"gzip/emnist-{split}-{part}-images-idx3-ubyte.gz", gzip.compress(idx(images)))
            archive.writestr(f"gzip/emnist-{split}-{part}-labels-idx1-ubyte.gz", gzip.compress(idx(labels)))
    return path


UPRIGHT = GREY.transpose(0, 2, 1)


@pytest.mark.parametrize(
    ("split", "classes", "labels"),
    [
        ("byclass", 62, "2091209"),
        ("bymerge", 47, "2091209"),
        ("balanced", 47, "2091209"),
        ("letters", 26, "cajbcaj"),
        ("digits", 10, "2091209"),
        ("mnist", 10, "2091209"),
    ],
)
def test_emnist_is_turned_upright_and_has_its_classes(
    split: str, classes: int, labels: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = emnist(tmp_path / "EMNIST/raw/gzip.zip", split, base=int(split == "letters"))
    monkeypatch.setattr(known.EMNIST, "md5", md5(archive))
    found, preparation = torchvision_sets.collect(f"torchvision/emnist_{split}", tmp_path)
    assert_holds(found, UPRIGHT, UPRIGHT[4:])
    assert "".join(found.labels) == labels + labels[4:]
    assert len(found.classes) == classes
    assert "".join(found.classes).startswith("abcdefghijklmnopqrstuvwxyz" if split == "letters" else "0123456789")
    assert preparation == Preparation("strokes", box=24, centre="box")


def test_emnists_classes_are_in_the_order_of_its_labels() -> None:
    """As its mapping files have them, from the label to the character's code."""
    merged = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabdefghnqrt"
    assert "".join(known.EMNIST.classes_split_dict["balanced"]) == merged
    assert "".join(known.EMNIST.classes_split_dict["bymerge"]) == merged
    everything = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    assert "".join(known.EMNIST.classes_split_dict["byclass"]) == everything


def test_qmnist_has_the_class_of_its_eight_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = tmp_path / "QMNIST/raw"
    raw.mkdir(parents=True)
    resources = {}
    for part, rows in (("train", slice(7)), ("test", slice(4, 7))):
        table = np.arange(0, 56_000, 1000, dtype=">i4").reshape(7, 8)
        table[:, 0] = LABELS
        files = {f"qmnist-{part}-images-idx3-ubyte.gz": idx(GREY[rows])}
        files |= {f"qmnist-{part}-labels-idx2-int.gz": idx(table[rows], kind=12)}
        for name, content in files.items():
            (raw / name).write_bytes(gzip.compress(content))
        resources[part] = [(f"https://example.test/{name}", md5(raw / name)) for name in files]
    monkeypatch.setattr(known.QMNIST, "resources", resources)
    found, preparation = torchvision_sets.collect("torchvision/qmnist", tmp_path)
    assert_holds(found, GREY, GREY[4:])
    assert "".join(found.labels) == "2091209209"
    assert found.classes == tuple("0123456789")
    assert preparation == PREPARATIONS["mnist"]


def usps(folder: Path, monkeypatch: pytest.MonkeyPatch, address: str = "https://example.test/") -> np.ndarray:
    """LIBSVM's text: a label from 1 to 10, and levels from -1 to 1; the levels that these become are returned."""
    # Those that a float32 gives back exactly as torchvision computes it.
    levels = np.random.default_rng(2).choice(np.array([0, 51, 102, 204, 255], np.uint8), (7, 16, 16))
    texts = {0: "-1", 51: "-0.5999", 102: "-0.1999", 204: "0.6001", 255: "1"}
    lines = [
        f"{label + 1} " + " ".join(f"{place}:{texts[level]}" for place, level in enumerate(image.ravel().tolist(), 1))
        for label, image in zip(LABELS.tolist(), levels, strict=True)
    ]
    folder.mkdir(exist_ok=True)
    listed = {}
    for part, name, rows in (("train", "usps.bz2", lines), ("test", "usps.t.bz2", lines[4:])):
        (folder / name).write_bytes(bz2.compress("".join(f"{line} \n" for line in rows).encode()))
        listed[part] = [f"{address}{name}", name, md5(folder / name)]
    monkeypatch.setattr(known.USPS, "split_list", listed)
    return levels


def test_usps_has_digits_of_16_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    levels = usps(tmp_path, monkeypatch)
    found, preparation = torchvision_sets.collect("torchvision/usps", tmp_path)
    assert_holds(found, levels, levels[4:])
    assert "".join(found.labels) == "2091209209"
    assert found.classes == tuple("0123456789")
    assert preparation == Preparation("strokes", box=16)


def test_svhn_has_colours_last_and_10_for_0(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = {}
    for part, rows in (("train", slice(12)), ("test", slice(9, 12))):
        labels = np.arange(1, 13)[:, None] % 10
        labels[labels == 0] = 10
        name = f"{part}_32x32.mat"
        savemat(tmp_path / name, {"X": RGB[rows].transpose(1, 2, 3, 0), "y": labels[rows].astype(np.uint8)})
        listed[part] = [f"http://example.test/{name}", name, md5(tmp_path / name)]
    monkeypatch.setattr(known.SVHN, "split_list", listed)
    found, preparation = torchvision_sets.collect("torchvision/svhn", tmp_path)
    assert_holds(found, RGB, RGB[9:])
    assert "".join(found.labels) == "123456789012" + "012"
    assert found.classes == tuple("0123456789")
    assert preparation == Preparation("picture")


def test_cifar10_has_colours_last_and_its_classes_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    batches, names = tmp_path / "made", ["airplane", "automobile", "bird"]
    batches.mkdir()
    flat = RGB.transpose(0, 3, 1, 2).reshape(12, -1)
    labels = [2, 0, 1, 1, 2, 0, 0, 0, 1, 2, 2, 1]
    rows = {f"data_batch_{number + 1}": slice(2 * number, 2 * number + 2) for number in range(5)}
    rows["test_batch"] = slice(9, 12)
    for name, part in rows.items():
        (batches / name).write_bytes(pickle.dumps({"data": flat[part], "labels": labels[part]}))
    (batches / "batches.meta").write_bytes(pickle.dumps({"label_names": names}))
    with tarfile.open(tmp_path / "cifar-10-python.tar.gz", "w:gz") as archive:
        archive.add(batches, "cifar-10-batches-py")
    listed = [[name, md5(batches / name)] for name in rows]
    monkeypatch.setattr(known.CIFAR10, "train_list", listed[:5])
    monkeypatch.setattr(known.CIFAR10, "test_list", listed[5:])
    monkeypatch.setattr(known.CIFAR10, "meta", {**known.CIFAR10.meta, "md5": md5(batches / "batches.meta")})
    monkeypatch.setattr(known.CIFAR10, "tgz_md5", md5(tmp_path / "cifar-10-python.tar.gz"))
    found, preparation = torchvision_sets.collect("torchvision/cifar10", tmp_path)
    assert_holds(found, RGB[:10], RGB[9:])
    assert found.labels == [names[label] for label in labels[:10] + labels[9:]]
    assert found.classes == ("airplane", "automobile", "bird")
    assert preparation == Preparation("picture")


@pytest.fixture
def secure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of an HTTPS server with the files in tmp_path/served."""
    (tmp_path / "served").mkdir()
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    made: list[str | Path] = [
        "openssl",
        "req",
        "-x509",
        "-nodes",
        "-newkey",
        "rsa:2048",
        "-keyout",
        key,
        "-out",
        certificate,
    ]
    subprocess.run(
        [*made, "-days", "1", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True,
        capture_output=True,
    )
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "served"))
    ) as http:
        http.socket = context.wrap_socket(http.socket, server_side=True)
        threading.Thread(target=http.serve_forever, args=[0.01]).start()
        yield f"https://127.0.0.1:{http.server_port}/"
        http.shutdown()


def test_files_are_downloaded_by_https(secure: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    levels = usps(tmp_path / "served", monkeypatch, secure.replace("https://", "http://"))
    found, _ = torchvision_sets.collect("torchvision/usps", tmp_path / "folder")
    assert_holds(found, levels, levels[4:])
    assert sorted(path.name for path in (tmp_path / "folder").iterdir()) == ["usps.bz2", "usps.t.bz2"]


UNTESTED = "; it was never tested, as no mirror could be reached"


def refusal(name: str, folder: Path) -> str:
    with pytest.raises(UserError) as refused:
        torchvision_sets.collect(name, folder)
    assert str(refused.value).isprintable()
    return str(refused.value)


def test_a_wrong_file_is_refused_and_not_kept(secure: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usps(tmp_path / "served", monkeypatch, secure)
    (tmp_path / "served/usps.t.bz2").write_bytes(b"<html>Please log in</html>")
    told = refusal("torchvision/usps", tmp_path / "folder")
    assert told.startswith(f"torchvision/usps: cannot be downloaded: {secure}usps.t.bz2: MD5 hash of downloaded file")
    assert told.endswith(UNTESTED)
    assert not (tmp_path / "folder/usps.t.bz2").exists()


def test_a_damaged_file_in_the_folder_is_downloaded_again(
    secure: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    levels = usps(tmp_path / "served", monkeypatch, secure)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/usps.bz2").write_bytes((tmp_path / "served/usps.bz2").read_bytes()[:-9])
    found, _ = torchvision_sets.collect("torchvision/usps", tmp_path / "folder")
    assert_holds(found, levels, levels[4:])


@pytest.mark.parametrize("name", sorted(torchvision_sets.NAMES))
def test_where_a_mirror_refuses_the_connection_one_sentence_tells(
    name: str, refused: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known.EMNIST, "url", f"{refused}gzip.zip")
    monkeypatch.setattr(known.CIFAR10, "url", f"{refused}cifar-10-python.tar.gz")
    listed = {part: [f"{refused}{part}", part, "0" * 32] for part in (TRAIN, TEST)}
    monkeypatch.setattr(known.USPS, "split_list", listed)
    monkeypatch.setattr(known.SVHN, "split_list", listed)
    pairs = {part: [(f"{refused}{part}.gz", "0" * 32)] for part in (TRAIN, TEST)}
    monkeypatch.setattr(known.QMNIST, "resources", pairs)
    told = refusal(name, tmp_path)
    assert told.startswith(f"{name}: cannot be downloaded: {refused.replace('http:', 'https:')}")
    assert "Connection refused" in told and told.endswith(UNTESTED)


def test_a_mirror_that_does_not_answer_in_time_is_told(
    silent: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torchvision_sets, "TIMEOUT", (0.1, 0.1))
    monkeypatch.setattr(known.EMNIST, "url", f"{silent}gzip.zip")
    told = refusal("torchvision/emnist_mnist", tmp_path)
    assert "timed out" in told and told.endswith(UNTESTED)


def test_what_cannot_be_unpacked_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = emnist(tmp_path / "EMNIST/raw/gzip.zip", "letters")
    monkeypatch.setattr(known.EMNIST, "md5", md5(archive))
    told = refusal("torchvision/emnist_digits", tmp_path)
    assert told.startswith(f"torchvision/emnist_digits: cannot be unpacked in {tmp_path}: ")


@pytest.mark.parametrize("name", sorted(torchvision_sets.NAMES))
def test_files_have_addresses_by_https_and_checksums(name: str) -> None:
    files = torchvision_sets.files(name)
    assert len(files) == {"qmnist": 4, "usps": 2, "svhn": 2}.get(name.removeprefix("torchvision/"), 1)
    for file in files:
        assert file.address.startswith("https://") and Path(file.address).name == Path(file.place).name
        assert len(bytes.fromhex(file.md5)) == 16


def test_names_are_the_sets_that_are_known() -> None:
    splits: Any = known.EMNIST.splits
    others = {"torchvision/qmnist", "torchvision/usps", "torchvision/svhn", "torchvision/cifar10"}
    assert {f"torchvision/emnist_{split}" for split in splits} | others == torchvision_sets.NAMES
