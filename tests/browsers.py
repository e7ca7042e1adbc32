"""A browser, as users have one, for the tests of pages; and what one does on the page to draw on."""

import base64
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from clone import ROOT
from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
PATIENCE = 60_000
"""Milliseconds to wait for something to appear on a page, on a busy machine."""

needs_browser = pytest.mark.skipif(
    not CHROMIUM.exists() and not os.environ.get("CI"), reason="needs a browser: apt-get install chromium"
)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Chromium without a window."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


Point = tuple[float, float]
SEVEN: Sequence[Sequence[Point]] = [[(0.28, 0.2), (0.7, 0.2), (0.45, 0.85)]]
"""A line of a 7, in shares of the square to draw in."""
SIZES = {"wide": (1280, 800), "phone": (390, 844)}


def draw(page: Page, lines: Sequence[Sequence[Point]]) -> None:
    """Draw with the mouse."""
    page.locator("#drawing").scroll_into_view_if_needed()
    box = page.locator("#drawing").bounding_box()
    assert box
    for line in lines:
        points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in line]
        page.mouse.move(*points[0])
        page.mouse.down()
        for point in points[1:]:
            page.mouse.move(*point, steps=8)
        page.mouse.up()


def probabilities_on(page: Page, images: np.ndarray) -> list[list[float]]:
    """What the page to draw on computes for uint8 images [N, height, width], or int8 features [N, features]."""
    found: list[list[float]] = page.evaluate(
        """([count, values, signed]) => {
            const bytes = Uint8Array.from(atob(values), letter => letter.charCodeAt(0));
            const pixels = Float64Array.from(signed ? new Int8Array(bytes.buffer) : bytes);
            const size = pixels.length / count;
            return Array.from({ length: count }, (_, i) => probabilities(pixels.subarray(i * size, (i + 1) * size)));
        }""",
        [len(images), base64.b64encode(images.tobytes()).decode(), images.dtype == np.int8],
    )
    return found


def keep_screenshot(page: Page, name: str) -> None:
    """Save a picture for the README, in the folder that README_SCREENSHOTS names."""
    if folder := os.environ.get("README_SCREENSHOTS"):
        page.wait_for_timeout(1000)  # until nothing moves or fades any more
        page.screenshot(path=ROOT / folder / name)
