"""What MLflow's table and charts show at first, as its pages keep a shared view in a tag of the experiment."""

import base64
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence

from mlflow.entities import Run

from softmax_regression.results import tables

FIGURES = ("final_valid_cost", "final_valid_accuracy", "test_accuracy")
FIGURES_OF_CHILDREN = ("valid_cost", "valid_accuracy")
CURVES = ("valid_cost", "train_cost", "valid_accuracy")
OF_CLASSES = [f"{name}{end}" for name in ("precision", "recall") for end in ("", "_low", "_high")]
CHARTS = "Model metrics"
"""MLflow's name for the section of all charts whose metric has no / in its name."""
ALWAYS = ("1", "attributes.`Run Name`", "runDateAndNestInfo", "duration")
"""MLflow's names for the columns that are there by themselves; the first holds the boxes to tick."""
SECTION = {"columns": 2, "cardHeight": 400}
LINE = {
    "lineSmoothness": 0,
    "scaleType": "linear",
    "xAxisKey": "step",
    "xAxisScaleType": "linear",
    "yAxisKey": "metric",
    "useGlobalXaxisKey": True,
    "useGlobalLineSmoothing": True,
}


def tag(view: str) -> str:
    """The experiment's tag for a view."""
    return f"mlflow.sharedViewState.{view}"


def address(experiment_id: str, view: str) -> str:
    """Where an experiment's runs are shown in a view, from the server's first page."""
    # By itself the page opens in its mode for language models, and shows no figure.
    return f"#/experiments/{experiment_id}/runs?workflowType=machine_learning&viewStateShareKey={view}"


def of_pipeline(found: Sequence[Run]) -> str:
    """The newest run first; as charts the curves, then all other metrics, and those of each class in closed sections.

    In the table figures, lr, and the parameters that are not all the same. Metrics of classes are named as precision/0.
    """
    varying = dict.fromkeys(["lr", *tables.varying(run.data.params for run in found)])
    columns = [*_columns("metrics", FIGURES), *_columns("params", varying)]
    return _encoded(columns, FIGURES, {"orderByKey": "attributes.start_time"}, (CHARTS, *OF_CLASSES))


def of_children(parent_id: str, parameters: Iterable[Mapping[str, object]], tags: Iterable[str]) -> str:
    """The children of one run alone, the lowest cost first, with their tags and the parameters that differ.

    By itself MLflow shows the first 100 in no order and without a figure, and no older search until all are loaded.
    """
    columns = [
        *_columns("metrics", FIGURES_OF_CHILDREN),
        *_columns("tags", tags),
        *_columns("params", tables.varying(parameters)),
    ]
    order = {"orderByKey": "metrics.`valid_cost`", "orderByAsc": True}
    only = {"searchFilter": f"tags.`mlflow.parentRunId` = '{parent_id}'"}
    return _encoded(columns, FIGURES_OF_CHILDREN, order | only, (CHARTS,))


def _columns(kind: str, names: Iterable[str]) -> list[str]:
    return [f"{kind}.`{name}`" for name in names]


def _encoded(columns: list[str], figures: Sequence[str], rows: Mapping[str, object], sections: Sequence[str]) -> str:
    """A view in MLflow's form: which columns, how its `rows` are chosen and ordered, and what sections have charts."""
    state = {
        "startTime": "ALL",
        **rows,
        "selectedColumns": columns,
        "columnOrder": [*ALWAYS, *columns],
        "columnWidths": dict.fromkeys(_columns("metrics", figures), 150),  # pixels: without it their names are cut
        "compareRunSections": [
            {"uuid": name, "name": name, "display": name == CHARTS, "isReordered": True} | SECTION for name in sections
        ],
        "compareRunCharts": [
            {"type": "LINE", "uuid": name, "metricKey": name, "metricSectionId": CHARTS, "isGenerated": True} | LINE
            for name in CURVES
        ],
        "isAccordionReordered": True,  # or the sections would be sorted by their names
    }
    return f"deflate;{base64.b64encode(zlib.compress(json.dumps(state).encode())).decode()}"
