"""The report of a run: one HTML file with everything in it, made from the run folder."""

import json
from pathlib import Path
from typing import Any

from reprogram.errors import DataError, ReprogramError
from reprogram.registry import configure, is_listed, summary
from reprogram.report.bill import bill_line
from reprogram.report.doubts import doubts
from reprogram.report.figures import BLUE, ORANGE, figure_of, svg
from reprogram.report.mapping import ROWS, mapping
from reprogram.utils.files import read_json, read_ordinary, write_atomic
from reprogram.utils.text import cut, printable_all


def baseline_title(key: str) -> str:
    """The title of a baseline in reports: the first line of its file.

    Args:
        key: the baseline's key in `result.json`, with underscores.
    """
    name = key.replace("_", "-")
    if not is_listed("baselines", name):
        return key
    title = summary("baselines", name).removesuffix(".")
    return title[:1].lower() + title[1:]


COUNTED = {"squares": ("square", "squares")}
"""Tasks whose classes are numbers of things: the word for one of them, and for several."""


def class_title(task: str, name: str) -> str:
    """The title of a class in reports: its name, with the word for what is counted, such as "1 square".

    Args:
        task: the task's name.
        name: the class's name.
    """
    return f"{name} {COUNTED[task][name != '1']}" if task in COUNTED else name


def needed(shows: dict[str, Any]) -> str:
    """What a host has to show for each image at run time, as text.

    Args:
        shows: the field `host_shows` of a result.
    """
    if shows["needed"] == "map_labels":
        return f"the scores of {shows['map_labels']['labels']} labels"
    return {"top_label": "its top label", "all_scores": "all of the scores that it shows"}[shows["needed"]]


def learned_by(result: dict[str, Any]) -> str:
    """What it took to learn the program, as text; empty where nothing could be learned, or nobody knows.

    Args:
        result: the content of `result.json`; older ones don't name the learner, and all of them followed gradients.
    """
    if not result["learned_numbers"]:
        return ""
    try:
        access = configure("learners", result.get("learner", "adam"))[0].access
    except ReprogramError:  # Somebody's own, which isn't here.
        return ""
    answers = "The program was learned from the host's answers alone"
    return "Gradients were needed to learn the program" if access == "gradient" else answers


def _share(value: float) -> str:
    """A probability with two digits, such as .93."""
    return f"{value:.2f}".removeprefix("0")


def write_report(folder: Path, *, result: dict[str, Any] | None = None) -> Path:
    """Write `report.html` into a finished run's folder.

    Args:
        folder: the run folder.
        result: the run's result; by default the content of `result.json`.

    Returns:
        The path of the page.

    Raises:
        DataError: the folder holds no finished run, or a damaged one.
    """
    from jinja2 import Environment, PackageLoader, TemplateError

    result = _read(folder / "result.json") if result is None else printable_all(result)
    examples = _read(folder / "examples.json")
    config_path = folder / "config.toml"
    environment = Environment(loader=PackageLoader("reprogram.report", "."), autoescape=True)
    try:
        shows = result.get("host_shows", {})
        page = environment.get_template("page.html.j2").render(
            result=result,
            examples=examples,
            worth=result.get("program_worth"),
            gain=result.get("net_gain"),
            top=shows.get("top_label"),
            needed=needed(shows) if shows else "",
            doubts=[*doubts(result).values()],
            bill=bill_line(result["bill"]) if "bill" in result else "",
            title=lambda name: class_title(result["task"], name),
            share=_share,
            learned_by=learned_by(result),
            mapping=mapping(examples),
            shown=ROWS,
            curve=_curve(examples["history"]),
            confusion=_confusion(examples["confusion"], examples["classes"]),
            bars=_bars(result),
            config=_text_of(config_path),
            result_json=json.dumps(result, indent=2, ensure_ascii=False),
        )
    except (KeyError, TypeError, ValueError, AttributeError, TemplateError) as error:
        raise DataError(
            f"{folder}: its result can't be shown ({type(error).__name__}: {error}); run it again"
        ) from error
    return write_atomic(folder / "report.html", page.encode())


def _text_of(path: Path) -> str:
    """The text in a file, empty where it can't be read; what isn't UTF-8 is replaced."""
    try:
        return read_ordinary(path).decode(errors="replace")
    except OSError:
        return ""


def _read(path: Path) -> Any:
    """The JSON in a file of a finished run, without characters that could steer a terminal."""
    try:
        return printable_all(read_json(path))
    except FileNotFoundError:
        raise DataError(f"{path.parent}: no finished run, {path.name} is missing; give the folder of one") from None
    except OSError as error:
        reason = error.strerror or error
        raise DataError(f"{path}: can't be read ({reason}); give the folder of a finished run") from None
    except ValueError as error:
        raise DataError(f"{path}: damaged ({error}); run it again") from None


def _curve(history: list[dict[str, float]]) -> str:
    """A figure of validation accuracy and training loss against the images seen."""
    figure = figure_of(4.8, 3)
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
    """A figure of the confusion matrix: k × k counts, a row for each label, a column for each answer."""
    size = min(2.5 + 0.35 * len(classes), 9)
    figure = figure_of(size, size)
    axes = figure.subplots()
    shares = [[n / max(sum(row), 1) for n in row] for row in confusion]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="answered", ylabel="label")
    if len(classes) <= 25:
        names = [cut(name, 14).replace("$", r"\$") for name in classes]
        axes.set_xticks(range(len(classes)), names, rotation=90 if max(map(len, names)) > 2 else 0)
        axes.set_yticks(range(len(classes)), names)
        for i, row in enumerate(confusion):
            for j, n in enumerate(row):
                if n:
                    axes.text(
                        j, i, n, ha="center", va="center", fontsize=7, color="white" if shares[i][j] > 0.5 else "black"
                    )
    return svg(figure)


def _bars(result: dict[str, Any]) -> list[dict[str, Any]]:
    """The test accuracy and the baselines as rows of a table, each with the ends of its bar in percent."""
    rows = [("this program", result["test"])]
    if "top_label" in result.get("host_shows", {}):
        rows += [("this program, by the host's top label alone", result["host_shows"]["top_label"])]
    own = len(rows)
    rows += [(baseline_title(key), value) for key, value in result["baselines"].items()]
    return [
        {
            "name": name,
            "own": index < own,
            "accuracy": float(value["accuracy"]),
            "interval": [float(end) for end in value.get("interval", ())],
            "n": value.get("n", ""),
        }
        for index, (name, value) in enumerate(rows)
    ]
