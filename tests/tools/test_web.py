"""`softmax serve` as people run it, asked over HTTP."""

import contextlib
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
import requests
from picture_files import encoded
from PIL import Image

from softmax_regression.data import weights
from softmax_regression.pictures import reading
from softmax_regression.pictures.reading import MOST_BYTES, Picture
from softmax_regression.prediction.classifier import Classifier
from softmax_regression.sources.datasets import bundled_digits

PATIENCE = 60
"""Seconds to wait for something to happen, on a busy machine."""


class Server:
    """A running `softmax serve` with two processes, the file of its model, and what it has printed."""

    def __init__(self, folder: Path, model: Path) -> None:
        self.model, self.printed = folder / "softmax.safetensors", folder / "printed"
        shutil.copy(model, self.model)
        command = [sys.executable, "-m", "softmax_regression.tools.command", "serve", "--model", str(self.model)]
        with self.printed.open("w") as file:
            self.process = subprocess.Popen(
                [*command, "--port", "0", "--processes", "2"], stdout=file, stderr=subprocess.STDOUT, cwd=folder
            )
        self.address = wait_for(self.printed, r"Draw at (http://127\.0\.0\.1:\d+)/")[1]
        self.port = int(self.address.rpartition(":")[2])
        deadline = time.monotonic() + PATIENCE
        while True:  # the processes begin to listen after that
            with contextlib.suppress(requests.ConnectionError, requests.Timeout):
                if requests.get(f"{self.address}/health", timeout=5).ok:
                    return
            assert time.monotonic() < deadline

    def predict(self, content: bytes, kind: str = "image/png") -> requests.Response:
        return requests.post(f"{self.address}/predict", content, headers={"Content-Type": kind}, timeout=PATIENCE)

    def memory(self) -> int:
        """Bytes that all its processes hold."""
        return sum(each.memory_info().rss for each in psutil.Process(self.process.pid).children(recursive=True))


def wait_for(file: Path, pattern: str) -> re.Match[str]:
    deadline = time.monotonic() + PATIENCE
    while not (found := re.search(pattern, file.read_text())):
        assert time.monotonic() < deadline, file.read_text()
        time.sleep(0.05)
    return found


@pytest.fixture(scope="module")
def server(model_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"), model_file)
    yield server
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(PATIENCE) == 0
    assert "Traceback" not in server.printed.read_text()


def digit(number: int) -> np.ndarray:
    _, test = bundled_digits()
    large = np.asarray(Image.fromarray(test.images[number]).resize((90, 90), Image.Resampling.BICUBIC))
    return 255 - np.pad(large, ((40, 70), (90, 20)))


def test_the_bytes_of_a_picture_are_answered_as_by_the_classifier(server: Server, classifier: Classifier) -> None:
    content = encoded(digit(0))
    (answer,) = server.predict(content).json()["predictions"]
    assert answer == {"file": "picture", **json.loads(json.dumps(classifier.answer(reading.read(content)).as_json()))}
    assert answer["prepared"]["done"] == ["dark on light, inverted"]
    for kind in ("", "application/octet-stream", "application/x-www-form-urlencoded"):
        assert server.predict(content, kind).json()["predictions"] == [answer]


def test_several_files_are_answered_in_their_order(server: Server, classifier: Classifier) -> None:
    files = [("files", (f"{number}.jpg", encoded(digit(number), "JPEG"))) for number in range(5)]
    answers = requests.post(f"{server.address}/predict", files=files, timeout=PATIENCE).json()["predictions"]
    assert [answer["file"] for answer in answers] == [f"{number}.jpg" for number in range(5)]
    for answer, (_, (_, content)) in zip(answers, files, strict=True):
        assert answer["class"] == classifier.answer(reading.read(content)).ranked[0][0]


def as_json(*images: np.ndarray) -> bytes:
    return json.dumps({"images": [image.tolist() for image in images]}).encode()


def test_arrays_are_pictures_too(server: Server, classifier: Classifier) -> None:
    greys = [digit(0), digit(1)[:150, 20:]]
    answers = server.predict(as_json(*greys), "application/json; charset=utf-8").json()["predictions"]
    assert [answer["file"] for answer in answers] == ["images[0]", "images[1]"]
    for answer, grey in zip(answers, greys, strict=True):
        expected = classifier.answer(Picture(grey))
        assert list(answer["probabilities"].values()) == expected.probabilities.tolist()


def test_a_model_of_pictures_is_asked_in_colour_or_in_grey(picture_file: Path, tmp_path: Path) -> None:
    model, server = Classifier.load(picture_file), Server(tmp_path, picture_file)
    try:
        colours = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
        content, grey = encoded(colours), colours[..., 0]
        (answer,) = server.predict(content).json()["predictions"]
        expected = model.answer(reading.read(content, model.in_colour))
        assert list(answer["probabilities"].values()) == expected.probabilities.tolist()
        answers = server.predict(as_json(grey, grey[:5]), "application/json").json()["predictions"]
        for answer, levels in zip(answers, (grey, grey[:5]), strict=True):
            thrice = np.stack([levels] * 3, axis=2) if model.in_colour else levels
            assert list(answer["probabilities"].values()) == model.answer(Picture(thrice)).probabilities.tolist()
        answered = server.predict(as_json(colours), "application/json")
        if model.in_colour:
            (answer,) = answered.json()["predictions"]
            assert list(answer["probabilities"].values()) == expected.probabilities.tolist()
        else:
            assert (answered.status_code, answered.json()["detail"]) == (422, f"images[0]: {COLOURS}")
    finally:
        server.process.kill()
        server.process.wait()


COLOURS = "is in colour, and the model knows grey levels: send each pixel as one number"
ROWS = (
    "must be a list of rows of whole numbers from 0 to 255, or of three such for red, green and blue, all equally long"
)


@pytest.mark.parametrize(
    ("content", "kind", "status", "reason"),
    [
        (
            b"no picture",
            "image/png",
            422,
            "picture: no picture that can be read: PNG, JPEG, GIF, WEBP, TIFF, BMP can; save HEIC as JPEG",
        ),
        (b"", "image/png", 422, "picture: is empty"),
        (encoded(digit(0))[:-30], "image/png", 422, "picture: cannot be decoded: "),
        (encoded(np.full((50, 50), 255, np.uint8)), "image/png", 422, "picture: nothing is drawn on it"),
        (encoded(np.zeros((10_000, 10_000), np.uint8)), "image/png", 422, "100,000,000 pixels in all, must be 50,"),
        (encoded(digit(0)), "text/plain", 415, "text/plain: send image/…, multipart/form-data or JSON"),
        (b"a=1&b=2", "application/x-www-form-urlencoded", 422, "picture: no picture that can be read"),
        (b"{", "application/json", 422, 'not JSON such as {"images": [[[255, 0], [255, 255]]]}'),
        (b'{"image": []}', "application/json", 422, "not JSON such as"),
        (b"[" * 100_000, "application/json", 422, "not JSON such as"),
        (b'{"images": []}', "application/json", 422, "0 images, must be 1 to 1,000, in a list"),
        (b'{"images": {"a": 1}}', "application/json", 422, "1 images, must be 1 to 1,000, in a list"),
        (b'{"images": [[[1, 2], [3]]]}', "application/json", 422, f"images[0]: {ROWS}"),
        (b'{"images": [[[0, 255]], [[0, 256]]]}', "application/json", 422, f"images[1]: {ROWS}"),
        (b'{"images": [[[0.5, 1]]]}', "application/json", 422, f"images[0]: {ROWS}"),
        (b'{"images": [[["0", "1"]]]}', "application/json", 422, f"images[0]: {ROWS}"),
        (b'{"images": [[3, 4]]}', "application/json", 422, f"images[0]: {ROWS}"),
        (b'{"images": [7]}', "application/json", 422, f"images[0]: {ROWS}"),
        (b'{"images": [[]]}', "application/json", 422, f"images[0]: {ROWS}"),
        (b'{"images": [[[[1, 2, 3]]]]}', "application/json", 422, f"images[0]: {COLOURS}"),
        (b'{"images": [[[[1, 2]]]]}', "application/json", 422, f"images[0]: {ROWS}"),
        (b'{"images": [[[[1, 2, 256]]]]}', "application/json", 422, f"images[0]: {ROWS}"),
        (b'{"images": [[[[1, 2, 3], 4]]]}', "application/json", 422, f"images[0]: {ROWS}"),
        (b'{"images": [[[4, [1, 2, 3]]]]}', "application/json", 422, f"images[0]: {ROWS}"),
        (b'{"images": [[[[1, 2, 3]], [[1, 2, 3], [1, 2, 3]]]]}', "application/json", 422, f"images[0]: {ROWS}"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(
    content: bytes, kind: str, status: int, reason: str, server: Server
) -> None:
    refused = server.predict(content, kind)
    assert refused.status_code == status
    assert refused.json()["detail"].startswith(reason)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"file": ("7.png", b"x")}, "the form has no pictures: send them as `files`"),
        ({"files": ("notes.txt", b"no picture")}, "notes.txt: no picture that can be read"),
        ({"files": (None, "7.png")}, "the form has no pictures"),
    ],
)
def test_a_wrong_form_is_refused_in_a_sentence(
    given: dict[str, tuple[str, bytes]], reason: str, server: Server
) -> None:
    refused = requests.post(f"{server.address}/predict", files=given, timeout=PATIENCE)
    assert refused.status_code == 422 and refused.json()["detail"].startswith(reason)


@pytest.mark.parametrize("announced", [True, False])
def test_too_large_a_body_is_refused_and_not_kept(announced: bool, server: Server) -> None:
    before, held = server.memory(), [0]

    def parts() -> Iterator[bytes]:
        for _ in range(200):
            held.append(server.memory())
            yield bytes(2**20)

    content = bytes(50_000_000) if announced else parts()
    refused = requests.post(
        f"{server.address}/predict", content, headers={"Content-Type": "image/png"}, timeout=PATIENCE
    )
    assert refused.status_code == 413
    assert refused.json()["detail"] == f"the body is too large, must have {MOST_BYTES:,} bytes at most"
    assert max(*held, server.memory()) - before < 2 * MOST_BYTES + 16 * 2**20


def test_an_upload_that_is_broken_off_leaves_nothing_behind(server: Server) -> None:
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: 1000\r\n\r\n"
    for _ in range(4):
        with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as sender:
            sender.sendall(head + bytes(10))
    assert requests.get(f"{server.address}/health", timeout=PATIENCE).ok
    # The module's fixture looks for tracebacks at its end.


def test_a_picture_of_millions_of_pixels_in_a_line_is_answered_like_any_other(server: Server) -> None:
    line = np.full((1, 5_000_000), 255, np.uint8)
    line[0, :100_000] = 0
    assert server.predict(encoded(line)).status_code in (200, 422)


def test_a_body_without_end_is_cut_off(server: Server) -> None:
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: 99999999999\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as sender:
        sender.sendall(head)
        with pytest.raises(ConnectionError):
            for _ in range(1000):
                sender.sendall(bytes(2**20))
    assert requests.get(f"{server.address}/health", timeout=PATIENCE).ok


def test_the_page_to_draw_on_has_the_model_in_it(server: Server) -> None:
    found = requests.get(server.address, timeout=PATIENCE)
    assert found.headers["Content-Type"].startswith("text/html")
    assert "const MODEL = {" in found.text and 'id="drawing"' in found.text


def test_health_names_the_model(server: Server, classifier: Classifier) -> None:
    found = requests.get(f"{server.address}/health", timeout=PATIENCE).json()
    assert (found["status"], found["source"]) == ("ok", str(server.model))
    assert found["model"]["dataset"] == classifier.origin.dataset
    assert found["model"]["preparation"] == vars(classifier.origin.preparation)


def test_what_is_answered_and_refused_is_counted_over_all_processes(server: Server, classifier: Classifier) -> None:
    content = encoded(digit(2))
    shown = classifier.answer(reading.read(content)).ranked[0][0]
    names = (
        f'softmax_predictions_total{{class_name="{shown}"}}',
        'softmax_refusals_total{status="415"}',
        "softmax_seconds_count",
    )
    before = [counted(server, name) for name in names]
    for _ in range(8):
        server.predict(content)
        server.predict(content, "text/plain")
    assert [counted(server, name) for name in names] == [
        value + add for value, add in zip(before, (8, 8, 16), strict=True)
    ]


def counted(server: Server, name: str) -> float:
    text = requests.get(f"{server.address}/metrics", timeout=PATIENCE).text
    return next((float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name)), 0.0)


def test_a_new_model_is_taken_over_and_a_broken_one_refused(
    model_file: Path, classifier: Classifier, tmp_path: Path
) -> None:
    server = Server(tmp_path, model_file)
    try:
        before = server.predict(encoded(digit(0))).json()["predictions"][0]
        (tmp_path / "broken").write_bytes(model_file.read_bytes()[:-1])
        (tmp_path / "broken").replace(server.model)
        wait_for(server.printed, "the present model stays: .*not a safetensors file")
        assert server.predict(encoded(digit(0))).json()["predictions"][0] == before
        for worker in psutil.Process(server.process.pid).children(recursive=True):
            worker.kill()  # another one begins in its place, with the model that could be read
        deadline = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(requests.ConnectionError):
                if server.predict(encoded(digit(0))).json()["predictions"][0] == before:
                    break
            assert time.monotonic() < deadline
        turned = classifier.weight[::-1].astype(np.float32), classifier.bias[::-1].astype(np.float32)
        weights.write(server.model, *turned, classifier.origin)  # which takes each 0 for a 9
        deadline = time.monotonic() + PATIENCE
        seen: list[str] = []
        while seen[-8:] != 8 * [str(9 - int(before["class"]))]:  # until all processes have it
            seen.append(server.predict(encoded(digit(0))).json()["predictions"][0]["class"])
            assert time.monotonic() < deadline
        assert set(seen) <= {before["class"], str(9 - int(before["class"]))}
    finally:
        server.process.kill()
        server.process.wait()
    deadline = time.monotonic() + PATIENCE
    while not is_free(server.port):  # its processes end with it
        assert time.monotonic() < deadline
        time.sleep(0.1)


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_it_listens_on_this_machine_alone(server: Server) -> None:
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", server.port), 5)


def refusal(*arguments: str) -> str:
    command = [sys.executable, "-m", "softmax_regression.tools.command", "serve", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    return done.stderr


def test_a_taken_port_or_a_missing_model_is_told_in_one_line(server: Server, model_file: Path) -> None:
    port = str(server.port)
    assert refusal("--model", str(model_file), "--port", port) == (
        f"error: 127.0.0.1:{port}: Address already in use; another one: softmax serve --port {server.port + 1}\n"
    )
    assert re.fullmatch(
        r"error: \S+none\.safetensors: No such file or directory; .*\n", refusal("--model", "/none.safetensors")
    )


SENT = 10_000


@pytest.mark.slow
def test_ten_thousand_random_and_damaged_requests_leave_it_well(server: Server) -> None:
    random = np.random.default_rng(0)
    sound = [encoded(digit(number), form) for number, form in enumerate(reading.FORMATS)]
    kinds = (
        "image/png",
        "application/json",
        "multipart/form-data; boundary=x",
        "application/octet-stream",
        "text/html",
    )
    small = b'{"images": [[[0, 255], [255, 0]]]}', b'--x\r\nContent-Disposition: form-data; name="files"\r\n\r\n'
    before, statuses = server.memory(), set()
    with requests.Session() as session:
        for number in range(SENT):
            content = bytearray([*sound, *small][number % (len(sound) + len(small))])
            for _ in range(random.integers(0, 8)):
                content[random.integers(len(content))] = random.integers(256)
            content = content[: random.integers(len(content) // 2, len(content) + 1)]
            kind = kinds[random.integers(len(kinds))]
            answer = session.post(
                f"{server.address}/predict", bytes(content), headers={"Content-Type": kind}, timeout=PATIENCE
            )
            statuses.add(answer.status_code)
            assert answer.ok or isinstance(answer.json()["detail"], str)
    assert {200, 415, 422} <= statuses <= {200, 400, 413, 415, 422}
    assert server.memory() - before < 200 * 2**20


@pytest.mark.slow
def test_each_answer_is_as_the_servers_own_description_says(server: Server) -> None:
    done = subprocess.run(
        [
            *(Path(sys.executable).parent / "schemathesis", "run", f"{server.address}/openapi.json"),
            *("--max-examples", "200", "--seed", "1", "--checks", CHECKS, "--request-timeout", str(PATIENCE)),
        ],
        cwd=server.model.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-3000:]


CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
