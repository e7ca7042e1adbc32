"""Writes the measurements as JSON, as a table that ends in ratios, and as a picture."""

import os
import platform
from collections.abc import Mapping
from pathlib import Path

import growth
import torch
from matplotlib.figure import Figure

from softmax_regression.base import files
from softmax_regression.tools import markdown

SECTIONS = {
    "One epoch": {
        "epoch_s": "`scratch`, shuffled, with validation",
        "epoch_builtin_s": "`builtin`, shuffled, with validation",
        "epoch_matmul_s": "its two matrix products alone, in float32",
        "epoch_matmul_two_threads_s": "its two matrix products alone, in float32, two threads",
        "epoch_autograd_s": "autograd, images in one float tensor",
        "epoch_autograd_two_threads_s": "autograd, images in one float tensor, two threads",
        "epoch_dataloader_s": "torchvision's data set and `DataLoader`",
        "epoch_dataloader_two_threads_s": "torchvision's data set and `DataLoader`, two threads",
        "epoch_cuda_s": "`scratch` on a GPU, shuffled, with validation",
    },
    "The steps of an epoch, in turns": {
        "steps_exact_s": "`scratch`, whose sums are exact",
        "steps_float32_s": "the same in float32, whose sums are not",
        "steps_builtin_s": "`builtin`",
        "steps_stack_s": "`scratch`, 16 models in one stack",
    },
    "To 92.5 % test accuracy": {
        "reach_925_s": "`scratch`, 4 epochs, to 92.5 %",
        "reach_925_cuda_s": "`scratch` on a GPU, the same 4 epochs",
        "reach_925_sklearn_s": "scikit-learn's fastest setting, to 92.5 %",
    },
    "The pipeline": {
        "pipeline_s": "`dvc repro` of train, evaluate, visualize",
        "pipeline_start_s": "of which: until DVC starts train",
        "pipeline_train_s": "train, with DVC's own work for it",
        "pipeline_evaluate_s": "evaluate, likewise",
        "pipeline_visualize_s": "visualize, likewise",
        "pipeline_script_s": "the same in one process, without DVC",
        "pipeline_nothing_to_do_s": "`dvc repro` with nothing to do",
        "pipeline_empty_s": "`dvc repro` of a pipeline that does nothing",
        "import_torch_s": "Python and torch, as train imports it",
        "import_matplotlib_s": "Python and matplotlib, as visualize imports it",
        "import_mlflow_s": "Python and MLflow",
        "import_recorder_s": "the recorder beside the stages, which imports MLflow once for all of them",
        "python_start_s": "Python alone",
    },
    "Growth: an epoch without validation": {
        "epoch_60k_s": "60 thousand images",
        "epoch_600k_s": "600 thousand images",
        "epoch_6m_s": "6 million images",
        **{
            f"workers_{count}_epoch_{size}_s": f"6 million, batch size {size:,}, {count} worker{'s' * (count > 1)}"
            for size in growth.BATCHES
            for count in (1, 2)
        },
    },
}

RATIOS = {
    "exact steps / float32 steps (at most 1.8)": ("steps_exact_s", "steps_float32_s"),
    "exact steps / `builtin` steps (at most 1)": ("steps_exact_s", "steps_builtin_s"),
    "16 models in a stack / one (at most 9)": ("steps_stack_s", "steps_exact_s"),
    "`DataLoader` epoch / `scratch` epoch": ("epoch_dataloader_s", "epoch_s"),
    "`DataLoader` epoch / `builtin` epoch": ("epoch_dataloader_s", "epoch_builtin_s"),
    "autograd epoch / `scratch` epoch": ("epoch_autograd_s", "epoch_s"),
    "`scratch` epoch / its float32 products alone": ("epoch_s", "epoch_matmul_s"),
    "scikit-learn / `scratch`, to 92.5 % (at least 8)": ("reach_925_sklearn_s", "reach_925_s"),
    "pipeline / the same in one script": ("pipeline_s", "pipeline_script_s"),
}


def write(results: Mapping[str, float], folder: Path) -> None:
    """Write results.json, results.md and results.png."""
    files.write_json(folder / "results.json", results)
    lines = [
        "# Measured by `make bench`",
        f"On {os.cpu_count()} cores ({platform.machine()}, {torch.backends.cpu.get_cpu_capability()}), torch "
        f"{torch.__version__}, {results['threads']:.0f} thread where nothing else is said. Medians, all in one run.",
    ]
    for title, rows in SECTIONS.items():
        table = markdown.table(
            ("", "seconds"), ((text, f"{results[name]:.3f}") for name, text in rows.items() if name in results)
        )
        lines += [f"## {title}", table]
    lines += [
        f"At 92.5 % test accuracy: the median of ten seeds is {results['reach_925_accuracy_median']:.2%}, from "
        f"{results['reach_925_accuracy_smallest']:.2%} to {results['reach_925_accuracy_largest']:.2%}; "
        f"{results['reach_925_seeds_there']} of 10 get there.",
        f"Memory that is no file's: {results['rss_60k_mib']:.0f} MiB with 60 thousand images, "
        f"{results['rss_600k_mib']:.0f} with 600 thousand, {results['rss_6m_mib']:.0f} with 6 million, "
        f"{results['workers_2_rss_mib']:.0f} in each of two workers. Two workers add up a gradient in "
        f"{results['workers_2_sum_us']:.0f} µs. "
        f"Predicting 10,000 images, from the files to the probabilities: {results['predict_10k_ms']:.1f} ms.",
        "## Ratios",
        markdown.table(
            ("", "ratio"),
            [
                *((text, f"{results[above] / results[below]:.2f}") for text, (above, below) in RATIOS.items()),
                (
                    "pipeline / importing torch once and MLflow once (at most 3.5)",
                    f"{results['pipeline_s'] / (results['import_torch_s'] + results['import_mlflow_s']):.2f}",
                ),
                ("time an image, 600 thousand / 60 thousand (at most 1.15)", f"{results['growth_600k']:.2f}"),
                ("time an image, 6 million / 60 thousand (at most 1.15)", f"{results['growth_6m']:.2f}"),
                *(
                    (f"two workers / one, batch size {size:,} (at least 1.8)", f"{results[name]:.2f}")
                    for size in growth.BATCHES
                    for name in [f"workers_2_speedup_{size}"]
                ),
            ],
        ),
    ]
    with files.replacing(folder / "results.md") as temporary:
        temporary.write_text("\n\n".join(lines) + "\n", encoding="utf-8")
    with files.replacing(folder / "results.png") as temporary:
        picture(results).savefig(temporary, dpi=100, metadata={"Software": None})


def picture(results: Mapping[str, float]) -> Figure:
    """The seconds of an epoch, and to the goal, as dots on logarithmic scales, the project's in black."""
    groups = (("One epoch", list(SECTIONS)[:2]), ("To 92.5 % test accuracy", list(SECTIONS)[2:3]))
    panels = [
        (label, [(name, text) for title in titles for name, text in SECTIONS[title].items() if name in results][::-1])
        for label, titles in groups
    ]
    figure = Figure(figsize=(8, 4.4), layout="constrained")
    all_axes = figure.subplots(2, 1, sharex=True, height_ratios=[len(rows) for _, rows in panels])
    for axes, (label, rows) in zip(all_axes, panels, strict=True):
        for place, (name, text) in enumerate(rows):
            own = text.startswith("`")
            axes.plot(results[name], place, "o", color="#222222" if own else "#999999")
            axes.annotate(
                f"{results[name]:.3g} s", (results[name], place), (7, -3), textcoords="offset points", fontsize=9
            )
        axes.set_yticks(range(len(rows)), [text.replace("`", "") for _, text in rows])
        axes.set_ylim(-0.6, len(rows) - 0.4)
        axes.set_xscale("log")
        axes.margins(x=0.18)
        axes.set_title(label, loc="left", fontsize=10)
        axes.grid(alpha=0.3)
    all_axes[-1].set_xlabel("seconds")
    return figure
