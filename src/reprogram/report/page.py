"""The report of a run: reads a run folder, writes one HTML file with everything in it."""

import json
from pathlib import Path
from typing import Any

from reprogram.checkpoint import write_atomic
from reprogram.errors import DataError
from reprogram.report.figures import BLUE, GREY, ORANGE, figure_of, svg
from reprogram.report.mapping import label_map
from reprogram.text import printable_all

BASELINE_NAMES = {
    "chance": "chance",
    "majority": "always the most frequent class",
    "map_alone": "label map alone, no program",
    "linear_probe": "linear probe on the host's features (not reprogramming)",
    "direct_training": "a small net trained on the task itself, no host",
    "untrained": "the same program on the untrained host",
}


def write_report(folder: Path, *, result: dict[str, Any] | None = None) -> Path:
    """Write `report.html` into a finished run's folder.

    Args:
        folder: of the run.
        result: by default what `result.json` holds.

    Raises:
        DataError: the folder holds no finished run, or a damaged one.
    """
    from jinja2 import Environment, PackageLoader

    result = _read(folder / "result.json") if result is None else printable_all(result)
    examples = _read(folder / "examples.json")
    config_path = folder / "config.toml"
    environment = Environment(loader=PackageLoader("reprogram.report", "."), autoescape=True)
    try:
        page = environment.get_template("page.html.j2").render(
            result=result,
            examples=examples,
            baselines=[(BASELINE_NAMES.get(k, k), v) for k, v in result["baselines"].items()],
            label_map=label_map(examples),
            curve=_curve(examples["history"]),
            confusion=_confusion(examples["confusion"], examples["classes"]),
            bars=_bars(result),
            config=config_path.read_text(encoding="utf-8") if config_path.exists() else "",
            result_json=json.dumps(result, indent=2, ensure_ascii=False),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{folder}: its result can't be shown ({type(error).__name__}: {error}); run it again"
        ) from error
    return write_atomic(folder / "report.html", page.encode())


def _read(path: Path) -> Any:
    try:
        return printable_all(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise DataError(f"{path.parent}: no finished run, {path.name} is missing; give the folder of one") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: damaged ({error}); run it again") from None


def _curve(history: list[dict[str, float]]) -> str:
    figure = figure_of(6, 3.2)
    axes = figure.subplots()
    images = [row["images"] for row in history]
    axes.plot(images, [row["validation_accuracy"] for row in history], "o-", color=BLUE, label="validation accuracy")
    axes.set(xlabel="training images seen", ylabel="validation accuracy", ylim=(0, 1))
    loss = axes.twinx()
    loss.plot(images, [row["loss"] for row in history], "s--", color=ORANGE, label="training loss")
    loss.set(ylabel="training loss (nats)", ylim=(0, None))
    axes.legend(
        *(a + b for a, b in zip(axes.get_legend_handles_labels(), loss.get_legend_handles_labels(), strict=True)),
        loc="center right",
    )
    return svg(figure)


def _confusion(confusion: list[list[int]], classes: list[str]) -> str:
    size = min(2.5 + 0.35 * len(classes), 9)
    figure = figure_of(size, size)
    axes = figure.subplots()
    shares = [[n / max(sum(row), 1) for n in row] for row in confusion]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="answered", ylabel="label")
    if len(classes) <= 25:
        names = [name.replace("$", r"\$")[:14] for name in classes]
        axes.set_xticks(range(len(classes)), names, rotation=90 if max(map(len, names)) > 2 else 0)
        axes.set_yticks(range(len(classes)), names)
        for i, row in enumerate(confusion):
            for j, n in enumerate(row):
                if n:
                    axes.text(
                        j, i, n, ha="center", va="center", fontsize=7, color="white" if shares[i][j] > 0.5 else "black"
                    )
    return svg(figure)


def _bars(result: dict[str, Any]) -> str:
    rows = [("this program", result["test"])]
    rows += [(BASELINE_NAMES.get(key, key), value) for key, value in result["baselines"].items()]
    figure = figure_of(6.5, 0.6 + 0.42 * len(rows))
    axes = figure.subplots()
    for place, (name, value) in enumerate(reversed(rows)):
        accuracy = value["accuracy"]
        low, high = value.get("interval", (accuracy, accuracy))
        axes.barh(place, accuracy, color=BLUE if name == "this program" else GREY)
        axes.errorbar(
            accuracy, place, xerr=[[max(accuracy - low, 0)], [max(high - accuracy, 0)]], color="black", capsize=3
        )
    axes.set_yticks(range(len(rows)), [name for name, _ in reversed(rows)])
    axes.set(xlabel="test accuracy", xlim=(0, 1))
    return svg(figure)
