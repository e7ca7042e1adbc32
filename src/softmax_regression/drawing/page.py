"""The drawing page as one file, with a model inside: no server, no network, no library."""

import base64
import html
import json
import re
from importlib.resources import files

import numpy as np

from softmax_regression.data.weights import Origin
from softmax_regression.features import filters
from softmax_regression.features.standardisation import STEPS

PARTS = files(__package__)
MOST_WEIGHT_BYTES = 16 * 2**20
"""As float32; the page is a third larger, and browsers take seconds to open a larger one."""
TOO_LARGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Too large to draw</title>
<p>This model has {} of weights, and a page can hold {}. Use softmax predict, or train on smaller images.</p>
</html>
"""
DRAWN = {
    "heading": "Draw, drop or paste a picture",
    "square": "A white square to draw on with mouse, pen or finger",
    "nothing": "Nothing drawn yet.",
    "unknown": "a letter or to two digits",
}
"""What the page says where the model knows drawings."""
PICTURES = {
    "heading": "Choose, drop or paste a picture, or draw one",
    "square": "A square that shows the picture, and to draw on with mouse, pen or finger",
    "nothing": "No picture yet.",
    "unknown": "a picture of something else",
}
"""Where it knows pictures."""


def render(weight: np.ndarray, bias: np.ndarray, origin: Origin, unsure: float) -> str:
    """The page for a model: weight [classes, pixels(·3)] and bias [classes], which it holds as float32.

    Below the probability `unsure` an answer is called that. Of a model that is too large for a page it says so.
    """
    if weight.size * 4 > MOST_WEIGHT_BYTES:
        return TOO_LARGE.format(*(f"{count / 2**20:,.0f} MiB" for count in (weight.size * 4, MOST_WEIGHT_BYTES)))
    arrays = {"weight": weight, "bias": bias}
    encoded = {name: base64.b64encode(array.astype("<f4").tobytes()).decode() for name, array in arrays.items()}
    scripts, known = ["preparation.js", "page.js"], {**origin.description, **encoded, "unsure": unsure}
    if origin.standardisation is not None:
        scripts.insert(1, "scattering.js")
        known["filters"] = {
            "wavelets": [filters.wavelets(scale).astype(int).tolist() for scale in range(filters.SCALES)],
            "gaussian": [filters.gaussian(spacing).astype(int).tolist() for spacing in (1, 2)],
            "steps": STEPS,
        }
    # A class may be called "</script>".
    model = json.dumps(known).replace("<", "\\u003c")
    parts = [f"const MODEL = {model};", *map(_read, scripts)]
    words = PICTURES if origin.preparation.shows == "picture" else DRAWN
    put_in = {name: html.escape(getattr(origin, name)) for name in ("dataset", "code", "data")}
    put_in |= {**words, "script": "\n".join(parts)}
    return re.sub(rf"\{{({'|'.join(put_in)})\}}", lambda found: put_in[found[1]], _read("page.html"))


def _read(name: str) -> str:
    return (PARTS / name).read_text(encoding="utf-8")
