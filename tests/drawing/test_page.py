"""The drawing page in a browser, and its arithmetic beside the pipeline's."""

import base64
import io
import itertools
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsers import SEVEN, SIZES, chromium, draw, needs_browser, probabilities_on
from drawings import KINDS, redraw
from features_hash import made_up
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from playwright.sync_api import Browser, BrowserContext, Page

from softmax_regression.base.errors import UserError
from softmax_regression.data.images import Preparation
from softmax_regression.data.weights import Origin
from softmax_regression.drawing.page import render
from softmax_regression.features.standardisation import Standardisation
from softmax_regression.pictures import reading
from softmax_regression.pictures.preparation import prepare
from softmax_regression.prediction.classifier import Classifier
from softmax_regression.sources.datasets import PREPARATIONS, bundled_digits

pytestmark = needs_browser

TABLE = """([rows, columns, values]) =>
    new Table(rows, columns, Float64Array.from(atob(values), letter => letter.charCodeAt(0)))"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def file(classifier: Classifier, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "draw.html"
    path.write_text(render(classifier.weight, classifier.bias, classifier.origin, 0.75), encoding="utf-8")
    return path


@pytest.fixture(params=SIZES)
def context(browser: Browser, request: pytest.FixtureRequest) -> Iterator[BrowserContext]:
    width, height = SIZES[request.param]
    touch = request.param == "phone"
    with browser.new_context(viewport={"width": width, "height": height}, has_touch=touch, is_mobile=touch) as context:
        yield context


@pytest.fixture
def page(context: BrowserContext, file: Path) -> Iterator[Page]:
    """The page, opened from its file; it must neither fail nor ask for anything else."""
    with context.new_page() as page:
        failures: list[object] = []
        page.on("pageerror", lambda error: failures.append(error))
        page.on("console", lambda message: failures.append(message.text))
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(file.as_uri())
        yield page
        assert not failures
        assert {url.partition(":")[0] for url in asked} <= {"file", "blob"} and asked[0] == file.as_uri()


@pytest.fixture(scope="module")
def wide(browser: Browser, file: Path) -> Iterator[Page]:
    with browser.new_page() as page:
        page.goto(file.as_uri())
        yield page


def tables(levels: np.ndarray) -> str:
    """Levels [rows, columns] as one table, or [rows, columns, 3] as three."""
    given = [
        [*colour.shape, base64.b64encode(colour.tobytes()).decode()]
        for colour in np.moveaxis(np.atleast_3d(levels), 2, 0)
    ]
    return f"{json.dumps(given)}.map({TABLE})"


def noise(random: np.random.Generator) -> np.ndarray:
    return random.integers(0, 256, random.integers(1, 60, 2), dtype=np.uint8)


def test_prepared_images_are_those_of_the_pipeline_to_the_pixel(wide: Page) -> None:
    random = np.random.default_rng(1)
    _, test = bundled_digits()
    digits = [np.asarray(Image.fromarray(image).resize((40, 40), Image.Resampling.BICUBIC)) for image in test.images]
    drawn = [redraw(image, kind, random) for image, kind in zip(digits[:28], itertools.cycle(KINDS), strict=False)]
    odd = [noise(random) for _ in range(60)]
    greys = [*drawn, *odd, np.full((30, 20), 77, np.uint8)]
    shapes = [(1, 1), (1, 90), (300, 2), (9, 13), (200, 311), *random.integers(1, 60, (40, 2))]
    coloured = [random.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in shapes]
    made: list[tuple[Preparation, tuple[int, ...], list[np.ndarray]]] = [
        *((how, (28, 28), greys) for how in PREPARATIONS.values() if how.box > 8),
        (Preparation(), (9, 13), greys),
        *((Preparation(), size, coloured) for size in ((9, 13, 3), (32, 32, 3))),
    ]
    for how, size, pictures in made:
        for levels in pictures:
            found = wide.evaluate(
                f"""() => {{
                    const found = prepare({tables(levels)}, {json.dumps(size)}, {json.dumps(vars(how))});
                    return found && {{ ...found, image: [...found.image.values] }};
                }}"""
            )
            try:
                expected = prepare(levels, size, how)
            except UserError:
                assert found is None
                continue
            assert found["image"] == expected.image.ravel().tolist(), (levels.shape, how)
            assert tuple(found["box"]) == expected.box
            for name in ("inverted", "levelled", "thickened"):
                assert found[name] == getattr(expected, name)


@pytest.mark.parametrize("size", [(28, 28), (9, 13, 3), (8, 8)], ids=str)
def test_features_are_those_of_the_pipeline_to_the_bit(size: tuple[int, ...], browser: Browser, tmp_path: Path) -> None:
    images = made_up(size, 5)
    found = Standardisation.fit(images[::2])
    expected = found.transform(images)
    weight = np.random.default_rng(0).normal(0, 0.01, (3, expected.shape[1])).astype(np.float32)
    bias = np.array([0.1, 0, -0.1], np.float32)
    origin = Origin("made up", ("a", "b", "c"), size, Preparation(), "0" * 32, standardisation=found.description)
    (tmp_path / "draw.html").write_text(render(weight, bias, origin, 0.75), encoding="utf-8")
    classifier = Classifier(weight.astype(float), bias.astype(float), origin, found)
    with browser.new_page() as page:
        page.goto((tmp_path / "draw.html").as_uri())
        given = [base64.b64encode(image.tobytes()).decode() for image in images]
        read = "values.map(value => featuresOf(Float64Array.from(atob(value), letter => letter.charCodeAt(0))))"
        assert page.evaluate(f"values => {read}", given) == expected.tolist()
        answered = page.evaluate(f"values => {read}.map(probabilities)", given)
    np.testing.assert_allclose(answered, classifier.probabilities(images), atol=1e-12)


def test_levels_are_those_of_the_pipeline_in_grey_and_in_colour(wide: Page) -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (20, 30, 4), dtype=np.uint8)
    pixels[:4, :, 3], pixels[4:8, :, 3] = 255, 0
    png = io.BytesIO()
    Image.fromarray(pixels, "RGBA").save(png, "PNG")
    grey, *colours = wide.evaluate(
        """([width, height, values]) => {
            const data = Uint8ClampedArray.from(atob(values), letter => letter.charCodeAt(0));
            const colours = [0, 1, 2].map(colour => colourLevels({ width, height, data }, colour));
            return [greyLevels({ width, height, data }), ...colours].map(table => [...table.values]);
        }""",
        [30, 20, base64.b64encode(pixels.tobytes()).decode()],
    )
    assert grey == reading.read(png.getvalue()).levels.ravel().tolist()
    for index, levels in enumerate(colours):
        assert levels == reading.read(png.getvalue(), in_colour=True).levels[..., index].ravel().tolist()


def test_probabilities_are_those_of_the_pipeline_for_a_thousand_images(wide: Page, classifier: Classifier) -> None:
    train, _ = bundled_digits()
    images = np.stack([np.kron(image, np.ones((3, 3), np.uint8)) for image in train.images[:1000]])
    images = np.pad(images, [(0, 0), (2, 2), (2, 2)])
    found = probabilities_on(wide, images)
    np.testing.assert_allclose(found, classifier.probabilities(images), rtol=0, atol=1e-12)


def test_one_draws_a_digit_and_reads_what_it_is(page: Page) -> None:
    assert page.locator("#result").inner_text() == "Nothing drawn yet."
    draw(page, SEVEN)
    shares = [float(text.removesuffix(" %").removeprefix("> ")) for text in page.locator(".share").all_inner_texts()]
    assert sum(shares) == pytest.approx(100, abs=0.6)
    assert int(np.argmax(shares)) == 7
    assert "7" in page.locator("#result").inner_text()
    assert page.get_by_role("status").inner_text() == page.locator("#result").inner_text()
    page.keyboard.press("Escape")
    assert page.locator("#result").inner_text() == "Nothing drawn yet."


def test_a_click_leaves_a_dot(page: Page) -> None:
    draw(page, [[(0.5, 0.5)]])
    assert page.evaluate("seen.image.values.filter(level => level).length") > 50


def test_a_choice_ends_with_the_drawing(page: Page) -> None:
    draw(page, SEVEN)
    page.get_by_role("button", name="1:").click()
    page.keyboard.press("Escape")
    draw(page, SEVEN)
    assert page.locator("#about").inner_text() == "for and against 7"


def test_a_finger_draws_as_a_mouse_does_and_a_palm_beside_it_not_at_all(browser: Browser, file: Path) -> None:
    with browser.new_context(has_touch=True, is_mobile=True, viewport={"width": 390, "height": 844}) as context:
        page = context.new_page()
        page.goto(file.as_uri())
        box = page.locator("#drawing").bounding_box()
        assert box
        devtools = context.new_cdp_session(page)
        points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in SEVEN[0]]
        steps = [np.linspace(*ends, 10) for ends in itertools.pairwise(points)]
        for kind, (x, y) in [("touchStart", points[0]), *(("touchMove", point) for part in steps for point in part)]:
            touches = [{"x": float(x), "y": float(y), "id": 1}]
            if kind == "touchMove":
                touches.append({"x": box["x"] + box["width"] * 0.8, "y": float(y), "id": 2})
            devtools.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})
        devtools.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        page.locator("#result", has_text="7 (").wait_for()
        assert page.evaluate("scrollY") == 0


def test_a_chosen_class_shows_what_each_pixel_says(page: Page, classifier: Classifier) -> None:
    draw(page, SEVEN)
    page.get_by_role("button", name="1:").click()
    assert page.locator("#about").inner_text() == "for and against 1"
    image = np.array(page.evaluate("[...seen.image.values]"))
    said = np.array(page.evaluate("contributions(1)"))
    assert said.sum() + classifier.bias[1] == pytest.approx(classifier.weight[1] @ image / 255 + classifier.bias[1])
    colours = np.array(page.evaluate(f"[...document.getElementById('said').getContext('2d').{WHOLE}]")).reshape(-1, 4)
    reddest, bluest = colours[said.argmax()], colours[said.argmin()]
    assert reddest[0] > reddest[2] and bluest[2] > bluest[0]
    assert (colours[said == 0] == 255).all()


WHOLE = "getImageData(0, 0, 28, 28).data"


@pytest.mark.parametrize("way", ["choose", "drop", "paste"])
def test_a_picture_instead_of_a_drawing(page: Page, classifier: Classifier, way: str, tmp_path: Path) -> None:
    _, test = bundled_digits()
    digit = np.asarray(Image.fromarray(test.images[0]).resize((64, 64), Image.Resampling.BICUBIC))
    picture = tmp_path / "dark on light.png"
    Image.fromarray(255 - np.pad(digit, ((50, 10), (20, 80)))).save(picture)
    bring(page, picture, way)
    page.locator("#done", has_text="inverted").wait_for()
    red = f"[...document.getElementById('drawing').getContext('2d').{WHOLE.replace('28', '560')}]"
    frame = page.evaluate(f"{red}.filter((level, i, all) => i % 4 === 0 && level > 150 && all[i + 1] < 80).length")
    assert frame > 500  # what was taken of the picture
    expected = classifier.answer(reading.read(picture))
    np.testing.assert_allclose(page.evaluate("seen.probabilities"), expected.probabilities, rtol=0, atol=1e-12)
    draw(page, SEVEN)  # takes the picture away
    assert "picture" not in page.locator("#done").inner_text()


def bring(page: Page, path: Path, way: str) -> None:
    if way == "choose":
        page.get_by_label("Choose a picture").set_input_files(path)
        return
    page.evaluate(
        """([way, name, content]) => {
            const files = new DataTransfer();
            files.items.add(new File([Uint8Array.from(atob(content), letter => letter.charCodeAt(0))], name));
            const event = way === "drop" ? new DragEvent("drop", { dataTransfer: files, cancelable: true })
                : new ClipboardEvent("paste", { clipboardData: files });
            document.dispatchEvent(event);
        }""",
        [way, path.name, base64.b64encode(path.read_bytes()).decode()],
    )


@pytest.fixture
def pictures(browser: Browser, picture_file: Path, tmp_path: Path) -> Iterator[Page]:
    """The page for a model of pictures."""
    model = Classifier.load(picture_file)
    (tmp_path / "draw.html").write_text(render(model.weight, model.bias, model.origin, 0.75), encoding="utf-8")
    with browser.new_page() as page:
        page.goto((tmp_path / "draw.html").as_uri())
        yield page


def test_a_picture_is_seen_as_the_pipeline_sees_it_and_shown_as_it_is(
    pictures: Page, picture_file: Path, tmp_path: Path
) -> None:
    assert pictures.locator("h1").inner_text() == "Choose, drop or paste a picture, or draw one"
    assert pictures.locator("#result").inner_text() == "No picture yet."
    model = Classifier.load(picture_file)
    random = np.random.default_rng(4)
    photo = random.integers(0, 256, (50, 70, 3), dtype=np.uint8) // np.array([1, 2, 4], np.uint8)
    gamma = PngInfo()
    gamma.add(b"gAMA", struct.pack(">I", 100_000))  # which the pipeline does not heed
    Image.fromarray(photo).save(tmp_path / "reddish.png", pnginfo=gamma)
    bring(pictures, tmp_path / "reddish.png", "choose")
    pictures.locator("#done", has_text="your picture").wait_for()
    expected = model.answer(reading.read(tmp_path / "reddish.png", model.in_colour))
    image = expected.prepared.image
    assert pictures.evaluate("[...seen.image.values]") == image.ravel().tolist()
    np.testing.assert_allclose(pictures.evaluate("seen.probabilities"), expected.probabilities, rtol=0, atol=1e-12)
    if model.in_colour:
        assert expected.ranked[0][0] == "red"
    shown = np.broadcast_to(image.reshape(12, 16, -1), (12, 16, 3))
    np.testing.assert_array_equal(painted(pictures, "seen", 16, 12), shown)
    said = np.array(pictures.evaluate("contributions(1)"))
    by_colour = model.weight[1].reshape(12 * 16, -1) * image.reshape(12 * 16, -1) / 255
    np.testing.assert_allclose(said, by_colour.sum(1), rtol=0, atol=1e-9)


def painted(page: Page, name: str, width: int, height: int) -> np.ndarray:
    """The pixels of a canvas, [height, width, 3]."""
    levels = page.evaluate(
        f"[...document.getElementById('{name}').getContext('2d').getImageData(0, 0, {width}, {height}).data]"
    )
    return np.array(levels).reshape(height, width, 4)[..., :3]


def test_where_a_model_knows_pictures_one_may_draw_too(pictures: Page) -> None:
    draw(pictures, SEVEN)
    assert pictures.locator("#result").inner_text() != "No picture yet."
    beside, square = np.split(painted(pictures, "seen", 16, 12), [2], axis=1)
    assert (beside == 0).all() and (square[0, :12] == 255).all() and square[:, 2:10].min() < 50
    pictures.keyboard.press("Escape")
    assert pictures.locator("#result").inner_text() == "No picture yet."
    assert (painted(pictures, "seen", 16, 12) == 255).all()


def test_what_is_no_picture_is_told(page: Page, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    bring(page, tmp_path / "notes.txt", "choose")
    page.get_by_role("status").get_by_text("notes.txt is no picture that this browser can read.").wait_for()
    Image.new("L", (50, 50), 200).save(tmp_path / "empty.png")
    bring(page, tmp_path / "empty.png", "choose")
    page.get_by_role("status").get_by_text("Nothing is drawn on that picture.").wait_for()


def test_all_can_be_reached_by_keyboard_and_every_part_has_a_name(page: Page) -> None:
    reached = set()
    for _ in range(14):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.getAttribute('aria-label')"))
    assert {"clear", "file", *(f"{digit}: no answer yet" for digit in range(10))} <= reached
    for canvas in page.locator("canvas").all():
        assert canvas.get_attribute("aria-label")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    tracks = [track.bounding_box() for track in page.locator(".track").all()]
    assert (
        len({(box["x"], box["width"]) for box in tracks if box}) == 1 and len({box["y"] for box in tracks if box}) == 10
    )
    assert all(box and box["width"] > 150 for box in tracks)


def test_letters_stand_out_from_what_is_behind_them(page: Page) -> None:
    draw(page, SEVEN)
    for element in page.locator("h1, p:not(.hidden), button, label, figcaption span, footer, .share").all():
        front, behind = (np.array(colour[:3]) for colour in element.evaluate(COLOURS))
        assert contrast(front, behind) >= 4.5, element.inner_text()


COLOURS = """(element) => {
    const numbers = text => text.match(/[\\d.]+/g).map(Number);
    let ground = element;
    while (ground && numbers(getComputedStyle(ground).backgroundColor)[3] === 0) ground = ground.parentElement;
    return [numbers(getComputedStyle(element).color), numbers(getComputedStyle(ground).backgroundColor)];
}"""


def contrast(*colours: Any) -> float:
    """Contrast ratio by WCAG 2.1; 4.5 is what its level AA asks for."""
    shares = [colour / 255 for colour in colours]
    linear = [np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4) for share in shares]
    low, high = sorted(float(light @ (0.2126, 0.7152, 0.0722)) for light in linear)
    return (high + 0.05) / (low + 0.05)


def test_of_a_model_that_is_too_large_the_page_says_so() -> None:
    origin = Origin("large", ("a", "b"), (2048, 2049), Preparation(), "0" * 32)
    rendered = render(np.zeros((2, 2048 * 2049), np.float32), np.zeros(2, np.float32), origin, 0.75)
    assert "This model has 32 MiB of weights, and a page can hold 16 MiB." in rendered and len(rendered) < 500
