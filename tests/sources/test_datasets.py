import gzip
import re
import struct
import tracemalloc
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from softmax_regression.base.errors import UserError
from softmax_regression.data.images import ImageSet, Preparation
from softmax_regression.sources import datasets
from softmax_regression.sources.datasets import Source


def idx(array: np.ndarray, kind: int = 8) -> bytes:
    """An IDX file: two zeros, the kind of element (8: unsigned byte), the dimensions and their sizes, the elements."""
    return struct.pack(f">HBB{array.ndim}I", 0, kind, array.ndim, *array.shape) + array.tobytes()


TRAIN_IMAGES = np.random.default_rng(0).integers(0, 256, (5, 3, 2), dtype=np.uint8)
TRAIN_LABELS = np.array([2, 0, 1, 1, 2], np.uint8)
TEST_IMAGES, TEST_LABELS = TRAIN_IMAGES[:2] // 2, TRAIN_LABELS[:2]
PAYLOADS = {
    "train-images.gz": idx(TRAIN_IMAGES),
    "train-labels.gz": idx(TRAIN_LABELS),
    "test-images.gz": idx(TEST_IMAGES),
    "test-labels.gz": idx(TEST_LABELS),
}
COMPRESSED = {name: gzip.compress(payload, mtime=0) for name, payload in PAYLOADS.items()}
FIRST = COMPRESSED["train-images.gz"]
CLOSED = "http://127.0.0.1:1/"  # where nobody listens
# As a data set's publisher gives them: of the compressed files.
PUBLISHED = {name: f"sha256-gz:{sha256(content).hexdigest()}" for name, content in COMPRESSED.items()}


MADE = Preparation("strokes", box=20, centre="mass")


def source(*mirrors: str, payloads: Mapping[str, bytes] = PAYLOADS) -> Source:
    checksums = {name: f"sha256:{sha256(payload).hexdigest()}" for name, payload in payloads.items()}
    return Source("small", ("red", "green", "blue"), mirrors, checksums, MADE)


def fill(folder: Path, files: Mapping[str, bytes]) -> None:
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)


def assert_fetched(source: Source, data_mirror: str | None = None, root: Path = Path()) -> None:
    train, test = datasets.fetch_files(source, data_mirror, root)
    for found, images, labels in ((train, TRAIN_IMAGES, TRAIN_LABELS), (test, TEST_IMAGES, TEST_LABELS)):
        np.testing.assert_array_equal(found.images, images)
        np.testing.assert_array_equal(found.labels, labels)
        assert (found.dataset, found.classes, found.preparation) == ("small", ("red", "green", "blue"), MADE)
    # The public address whichever mirror it was.
    addressed = [(source.mirrors[0] + name, checksum) for name, checksum in source.files.items()]
    assert (train.source, test.source) == (dict(addressed[:2]), dict(addressed[2:]))


def refusal(source: Source, data_mirror: str | None = None, root: Path = Path()) -> str:
    with pytest.raises(UserError) as refused:
        datasets.fetch_files(source, data_mirror, root)
    assert str(refused.value).isprintable()
    return str(refused.value)


@pytest.fixture
def good(tmp_path: Path, server: str) -> str:
    """The address of a mirror that is as it should be."""
    fill(tmp_path / "good", COMPRESSED)
    return f"{server}good/"


def test_sound_files_become_image_sets(good: str) -> None:
    assert_fetched(source(good))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (FIRST[:-8] + b"\0" + FIRST[-7:], "CRC check failed"),
        (FIRST[:10] + b"\xff" + FIRST[11:], "Error -3 while decompressing data"),
        (FIRST[:-9], "Compressed file ended before the end-of-stream marker"),
        (b"", "wrong sha256 e3b0c442"),
        (b"<html>Please log in</html>", "Not a gzipped file"),
        (COMPRESSED["test-images.gz"], f"wrong sha256 {sha256(PAYLOADS['test-images.gz']).hexdigest()}, must be "),
        # Its end is damaged, which only who reads on would find.
        (gzip.compress(bytes(2**20))[:-8] + bytes(8), "holds more than 1000 bytes"),
        (None, "404 Client Error"),
    ],
    ids=["damaged", "no deflate", "truncated", "empty", "html", "another file", "too large", "missing"],
)
def test_a_wrong_file_is_told_and_the_next_mirror_asked(
    content: bytes | None, reason: str, good: str, tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets, "PAYLOAD_LIMIT", 1000)
    fill(tmp_path / "bad", COMPRESSED)
    (tmp_path / "bad/train-images.gz").unlink()
    if content is not None:
        (tmp_path / "bad/train-images.gz").write_bytes(content)
    told = refusal(source(f"{server}bad/"))
    assert told.startswith(f"no mirror has train-images.gz: {server}bad/: {reason}")
    assert_fetched(source(f"{server}bad/", good))
    assert_fetched(source(good), str(tmp_path / "bad"))


def test_a_mirror_that_refuses_the_connection_is_left_for_the_next(good: str, refused: str) -> None:
    assert_fetched(source(refused, good))


def test_a_mirror_that_does_not_answer_in_time_is_left_for_the_next(silent: str, refused: str) -> None:
    told = refusal(source(silent, refused))
    assert re.search(rf" {silent}: [^;]*Read timed out[^;]*=0\.1[^;]*; {refused}: .*Connection refused", told)


def test_a_connection_that_breaks_off_is_told_and_the_next_mirror_asked(good: str, tmp_path: Path, server: str) -> None:
    fill(tmp_path / "broken-off", COMPRESSED)
    told = refusal(source(f"{server}broken-off/"))
    assert "IncompleteRead" in told and "1 more expected" in told
    assert_fetched(source(f"{server}broken-off/", good))


def test_where_all_mirrors_fail_one_line_tells_why_each_and_what_to_do(
    tmp_path: Path, server: str, refused: str
) -> None:
    fill(tmp_path / "html", {"train-images.gz": b"<html>"})
    told = refusal(source(f"{server}html/", f"{server}gone/", refused), "shared", tmp_path)
    assert re.fullmatch(
        rf"no mirror has train-images\.gz: {tmp_path}/shared: No such file or directory; "
        rf"{server}html/: Not a gzipped file \(b'<h'\); {server}gone/: 404 Client Error: .*; {refused}: .*refused.*\. "
        r"Without a network, set DATA_MIRROR to a directory that holds the files, or use the bundled digits: "
        r"dvc exp run -S dataset=digits",
        told,
    )


@pytest.mark.parametrize("form", ["absolute", "relative", "url", "url/"])
def test_data_mirror_is_a_directory_or_an_address(form: str, good: str, tmp_path: Path) -> None:
    forms = {"absolute": str(tmp_path / "good"), "relative": "good", "url": good.rstrip("/"), "url/": good}
    assert_fetched(source(CLOSED), forms[form], tmp_path)


def test_data_mirror_comes_before_the_public_mirrors(tmp_path: Path) -> None:
    public = source("https://one.test/", "https://two.test/x/")
    assert list(datasets.mirrors(public, None, tmp_path)) == ["https://one.test/", "https://two.test/x/"]
    assert list(datasets.mirrors(public, "", tmp_path)) == ["https://one.test/", "https://two.test/x/"]
    assert list(datasets.mirrors(public, "near", tmp_path)) == [tmp_path / "near", *public.mirrors]
    assert list(datasets.mirrors(public, "/far", tmp_path)) == [Path("/far"), *public.mirrors]
    assert list(datasets.mirrors(public, "http://near", tmp_path)) == ["http://near/", *public.mirrors]
    assert list(datasets.mirrors(public, "file:///far", tmp_path)) == [Path("/far"), *public.mirrors]
    assert list(datasets.mirrors(public, "~/near", tmp_path)) == [Path.home() / "near", *public.mirrors]


def test_a_recompressed_file_has_the_checksum_of_its_payload_but_not_that_of_the_published_file(tmp_path: Path) -> None:
    fill(tmp_path / "recompressed", {name: gzip.compress(payload, 1, mtime=1) for name, payload in PAYLOADS.items()})
    assert_fetched(source(CLOSED), "recompressed", tmp_path)
    told = refusal(replace(source(CLOSED), files=PUBLISHED), "recompressed", tmp_path)
    kind, expected = PUBLISHED["train-images.gz"].split(":")
    assert re.search(rf"wrong {kind} \w{{64}}, must be {expected}", told)


def test_files_as_published_have_the_published_checksum(good: str) -> None:
    assert_fetched(replace(source(good), files=PUBLISHED))


NOT_IDX = "not an IDX file, or empty, or its length does not fit its header"
TOO_LARGE = "holds 4,294,967,296 bytes, must be 1,073,741,824 at most"
ODD = {
    "empty": ("train-images.gz", b"", NOT_IDX),
    "header cut short": ("train-images.gz", idx(TRAIN_IMAGES)[:6], NOT_IDX),
    "wrong magic": ("train-images.gz", b"PK\3\4" + idx(TRAIN_IMAGES)[4:], NOT_IDX),
    "unknown element": ("train-images.gz", idx(TRAIN_IMAGES, kind=10), NOT_IDX),
    "one byte short": ("train-images.gz", idx(TRAIN_IMAGES)[:-1], NOT_IDX),
    "one byte long": ("train-images.gz", idx(TRAIN_IMAGES) + b"\0", NOT_IDX),
    "announces 4 GB": ("train-images.gz", struct.pack(">4I", 0x803, 65_536, 256, 256) + bytes(30), TOO_LARGE),
    "announces 2**64 bytes too many": (
        "train-images.gz",
        struct.pack(">4I", 0x803, 126_589, 194_031, 751_021_952) + bytes(126_589 * 194_031 * 751_021_952 - 2**64),
        f"holds {126_589 * 194_031 * 751_021_952:,} bytes, must be 1,073,741,824 at most",
    ),
    "no images": ("train-images.gz", idx(TRAIN_IMAGES[:0]), NOT_IDX),
    "floats": ("train-images.gz", idx(TRAIN_IMAGES.astype(">f4"), kind=13), "holds float32 [5, 3, 2], must be uint8"),
    "labels": ("train-images.gz", idx(TRAIN_LABELS), "holds uint8 [5], must be uint8 in 3 dimensions"),
    "flat images": ("train-images.gz", idx(TRAIN_IMAGES[0]), "holds uint8 [3, 2], must be uint8 in 3 dimensions"),
    "images": ("test-labels.gz", idx(TEST_IMAGES), "holds uint8 [2, 3, 2], must be uint8 in 1 dimensions"),
    "label out of range": ("test-labels.gz", idx(np.array([0, 3], np.uint8)), "holds label 3, must be below 3"),
}


@pytest.mark.parametrize(("name", "payload", "reason"), ODD.values(), ids=ODD)
def test_a_payload_that_is_not_what_it_must_be_is_refused_although_its_checksum_is_right(
    name: str, payload: bytes, reason: str, tmp_path: Path
) -> None:
    payloads = {**PAYLOADS, name: payload}
    fill(tmp_path / "odd", {name: gzip.compress(payload) for name, payload in payloads.items()})
    told = refusal(source(CLOSED, payloads=payloads), "odd", tmp_path)
    assert told.startswith(f"no mirror has {name}: {tmp_path / 'odd'}: {reason}")


def test_as_many_labels_as_images_are_needed(tmp_path: Path) -> None:
    payloads = {**PAYLOADS, "train-labels.gz": idx(TRAIN_LABELS[:4])}
    fill(tmp_path / "odd", {name: gzip.compress(payload) for name, payload in payloads.items()})
    told = refusal(source(CLOSED, payloads=payloads), "odd", tmp_path)
    assert told == "small: labels are int64 [4], must be int64 [5]"


@pytest.mark.parametrize("folder", ["bomb", "endless"])
@pytest.mark.parametrize("by", ["address", "directory"])
def test_neither_a_bomb_nor_an_endless_file_takes_more_memory_than_a_sound_one_may(
    folder: str, by: str, tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = 1_000_000
    monkeypatch.setattr(datasets, "PAYLOAD_LIMIT", limit)
    content = gzip.compress(bytes(300 * limit)) if folder == "bomb" else bytes(100 * limit)
    fill(tmp_path / folder, {"train-images.gz": content})
    del content
    tracemalloc.start()
    told = refusal(source(f"{server}{folder}/" if by == "address" else CLOSED), folder, tmp_path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert f": holds more than {limit} bytes" in told
    # The server, in this process too, holds the file that it sends.
    assert peak - (tmp_path / folder / "train-images.gz").stat().st_size < 6 * limit


def outcome(
    folder: Path, name: str, compressed: bytes, **sums: Mapping[str, bytes]
) -> tuple[ImageSet, ImageSet] | None:
    """What comes of a directory in which one file holds something else: None where it is refused, in one line."""
    (folder / "x").mkdir(exist_ok=True)
    for other, content in {**COMPRESSED, name: compressed}.items():
        (folder / "x" / other).write_bytes(content)
    try:
        return datasets.fetch_files(source(CLOSED, **sums), "x", folder)
    except UserError as error:
        assert str(error).isprintable()
        return None


@given(
    name=st.sampled_from(list(COMPRESSED)), place=st.integers(0, 99), cut=st.integers(0, 9), new=st.binary(max_size=9)
)
def test_any_damage_is_refused_or_changes_nothing(name: str, place: int, cut: int, new: bytes, tmp_path: Path) -> None:
    content = COMPRESSED[name]
    found = outcome(tmp_path, name, content[:place] + new + content[place + cut :])
    if found:
        arrays = (found[0].images, found[0].labels, found[1].images, found[1].labels)
        for array, expected in zip(arrays, (TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS), strict=True):
            np.testing.assert_array_equal(array, expected)


SIZES = st.lists(st.integers(0, 6) | st.sampled_from([28, 2**16, 2**31, 2**32 - 1]), max_size=5)


@given(
    name=st.sampled_from(list(PAYLOADS)),
    payload=st.binary()
    | st.builds(
        lambda kind, sizes, body: struct.pack(f">HBB{len(sizes)}I", 0, kind, len(sizes), *sizes) + body,
        st.integers(7, 15),
        SIZES,
        st.binary(max_size=40),
    )
    | st.lists(st.binary(min_size=5, max_size=5), max_size=3).map(
        lambda rows: idx(np.frombuffer(b"".join(rows), np.uint8))
    )
    | st.integers(0, 3).map(lambda count: idx(np.full((count, 3, 2), 7, np.uint8))),
)
def test_any_payload_with_the_right_checksum_is_refused_or_is_what_its_header_says(
    name: str, payload: bytes, tmp_path: Path
) -> None:
    found = outcome(tmp_path, name, gzip.compress(payload), payloads={**PAYLOADS, name: payload})
    if found:
        train, test = found
        arrays = (train.images, train.labels.astype(np.uint8), test.images, test.labels.astype(np.uint8))
        assert idx(dict(zip(PAYLOADS, arrays, strict=True))[name]) == payload
        assert max(train.labels.max(), test.labels.max()) < len(train.classes)


@pytest.mark.parametrize("dataset", ["mnist", "fashion_mnist", "kmnist"])
def test_public_sources_are_four_files_on_https_mirrors_with_checksums(dataset: str) -> None:
    public = datasets.public_source(dataset)
    assert public.dataset == dataset and len(public.classes) == 10
    contents = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    assert list(public.files) == [f"{content}-ubyte.gz" for content in contents]
    kind = "sha256" if dataset == "mnist" else "sha256-gz"
    assert all(re.fullmatch(rf"{kind}:[0-9a-f]{{64}}", checksum) for checksum in public.files.values())
    assert len(set(public.files.values())) == 4
    assert public.mirrors and all(re.fullmatch(r"https://.+/", mirror) for mirror in public.mirrors)


def test_mnists_checksums_are_those_of_the_published_payloads() -> None:
    assert datasets.public_source("mnist").files == {
        "train-images-idx3-ubyte.gz": "sha256:ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "train-labels-idx1-ubyte.gz": "sha256:65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "t10k-images-idx3-ubyte.gz": "sha256:0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "t10k-labels-idx1-ubyte.gz": "sha256:ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    }


@pytest.mark.parametrize(
    ("dataset", "first", "last"),
    [("mnist", "0", "9"), ("fashion_mnist", "T-shirt/top", "Ankle boot"), ("kmnist", "o", "wo")],
)
def test_classes_bear_their_short_names(dataset: str, first: str, last: str) -> None:
    classes = datasets.public_source(dataset).classes
    assert (classes[0], classes[-1]) == (first, last)


def test_digits_are_1797_images_of_ten_classes_scaled_to_255() -> None:
    train, test = datasets.fetch("digits", None, Path())
    assert (len(train), len(test)) == (1438, 359)
    assert train.classes == tuple("0123456789") and train.dataset == "digits"
    images = np.concatenate([train.images, test.images])
    assert images.shape == (1797, 8, 8)
    # The first row of the first image, in the scanner's counts: 0 0 5 13 9 1 0 0.
    assert images[0, 0].tolist() == [0, 0, 80, 207, 143, 16, 0, 0]
    np.testing.assert_allclose(images / 255, load_digits().images / 16, atol=0.5 / 255)
    np.testing.assert_array_equal(np.concatenate([train.labels, test.labels]), load_digits().target)


def test_digits_bear_the_checksum_of_their_source() -> None:
    train, test = datasets.bundled_digits()
    expected = {
        "sklearn.datasets.load_digits": "sha256:f6d9e39f37dc45d327f6db33428ee58970ccceabb2535a5c179de35886b70443"
    }
    assert train.source == test.source == expected
