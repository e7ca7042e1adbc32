"""The drawing page as one file, with a model inside: no server, no network, no library."""

import base64
import dataclasses
import html
import json
import re
from importlib.resources import files

import numpy as np

from softmax_regression.data.weights import Origin

PARTS = files(__package__)


def render(weight: np.ndarray, bias: np.ndarray, origin: Origin, unsure: float) -> str:
    """The page for a model: weight [classes, pixels] and bias [classes], which it holds as float32.

    Below the probability `unsure` an answer is called that.
    """
    arrays = {"weight": weight, "bias": bias}
    encoded = {name: base64.b64encode(array.astype("<f4").tobytes()).decode() for name, array in arrays.items()}
    model = json.dumps({**dataclasses.asdict(origin), **encoded, "unsure": unsure})
    # A class may be called "</script>".
    parts = [f"const MODEL = {model.replace('<', chr(92) + 'u003c')};", _read("preparation.js"), _read("page.js")]
    put_in = {name: html.escape(getattr(origin, name)) for name in ("dataset", "code", "data")}
    put_in["script"] = "\n".join(parts)
    return re.sub(r"\{(dataset|code|data|script)\}", lambda found: put_in[found[1]], _read("page.html"))


def _read(name: str) -> str:
    return (PARTS / name).read_text(encoding="utf-8")
