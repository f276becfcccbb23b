"""What the files under results/ say, one row a file: the part of results_index.py that knows their kinds."""

import json
import math
import re
import tomllib
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
HOSTS = ROOT / "results" / "paper" / "preset.toml"
RECIPES = "recipes.toml"
Z = 1.959964
"""Of the 95 % interval: docs/evidence.md."""
PARTS = ("canvas", "program", "label_map", "learner", "augmentation", "loss")
"""The options that a result repeats."""
OWN_COLUMN = {"host", "task", "seed", "images", "seconds"}
MACHINERY = {
    "out",
    "data",
    "download",
    "skip_bad",
    "device",
    "engine",
    "checkpoint_every",
    "baselines",
    "parts",
    "track",
}
"""Options that say where and how a run was made, and not what it was."""
ABSENT = {"augmentation": "none"}
"""What a run did that is older than the option."""


@dataclass(frozen=True)
class Row:
    """A stored file.

    Attributes:
        options: What was asked for, by column.
        measured: What came out, by column.
        file: The file's path below the folder of the index.
    """

    options: dict[str, str]
    measured: dict[str, str]
    file: str

    @property
    def cells(self) -> dict[str, str]:
        """Every cell, by column."""
        return {**self.options, **self.measured, "file": self.file}


def rows(folder: Path) -> list[Row]:
    """A row for each result, benchmark or fact of a folder.

    Raises:
        ValueError: A JSON file is of no known kind, and would be missing from the index.
    """
    if folder.name == "facts":
        return [_fact(path, folder) for path in sorted(folder.glob("*/*.json"))]
    found = [_row(path, folder) for path in sorted(folder.glob("*.json"))]
    planned = _plans(folder)
    for path in sorted(folder.glob("runs/*/result.json")):
        row = _row(path, folder)
        found.append(Row({**row.options, **planned.get(path.parent.name, {})}, row.measured, row.file))
    return found


def _row(path: Path, folder: Path) -> Row:
    data = json.loads(path.read_text(encoding="utf-8"))
    name = path.relative_to(folder).as_posix()
    if "detector" in data:
        return _detector(data, name)
    if "verdict" in data and "estimates" in data:
        return _audit(data, name)
    if "arms" in data:
        return _benchmark(data, name)
    if str(data.get("command", "")).startswith("python benchmarks/serving.py"):
        return _load(data, name)
    if "images_to_accuracy" in data:
        return _timed(data, _configuration(path), name)
    if "test" in data and "baselines" in data:
        return _run(data, _configuration(path), _recipes(folder).get(path.stem, ""), name)
    raise ValueError(f"{path}: no kind of result that docs/_ext/results_rows.py knows; teach it this one")


def _configuration(path: Path) -> dict[str, Any]:
    """The options of a run, from the file beside its result; none for the demo."""
    beside = path.with_name("config.toml") if path.name == "result.json" else path.with_suffix(".toml")
    return dict(tomllib.loads(beside.read_text(encoding="utf-8"))["fit"]) if beside.is_file() else {}


def _run(data: dict[str, Any], config: dict[str, Any], recipe: str, name: str) -> Row:
    """What `reprogram fit` wrote."""
    baselines = {key: _share(one["accuracy"]) for key, one in data["baselines"].items()}
    measured = {
        **_accuracy(data["test"]),
        "seed": str(data["seed"]),
        "images": str(data["images_seen"]),
        "seconds": f"{data['seconds']:.0f}",
        "label map alone": baselines.pop("map_alone", ""),
        **_worth(data),
        **{key.replace("_", " "): value for key, value in baselines.items()},
    }
    options = {part: data[part] for part in PARTS if part in data} | config
    options |= {"batch_size": data["batch_size"]} if "batch_size" in data else {}
    return Row({**_options(data, options), "recipe": recipe}, measured, name)


def _worth(data: dict[str, Any]) -> dict[str, str]:
    """What the program is worth, and the accuracy by the host's top label alone; older results hold no interval."""
    cells, alone = {}, data["baselines"].get("map_alone")
    if "program_worth" in data:
        low, high = data["program_worth"]["interval"]
        values = {"worth": data["program_worth"]["difference"], "worth low": low, "worth high": high}
        cells = {name: _share(value) for name, value in values.items()}
    elif alone:
        cells = {"worth": _share(data["test"]["accuracy"] - alone["accuracy"])}
    top = data.get("host_shows", {}).get("top_label")
    return cells if top is None else {**cells, "top label": _share(top["accuracy"]), "outside": str(top["outside"])}


def _timed(data: dict[str, Any], config: dict[str, Any], name: str) -> Row:
    """What benchmarks/time_to_accuracy.py wrote."""
    reached = data["seconds_to_accuracy"]
    measured = {
        **_accuracy(data["test"]),
        "seed": str(data["seed"]),
        "images": str(data["budget_images"]),
        "seconds": f"{data['seconds_of_budget']:.0f}",
        "validation accuracy to reach": _share(data["accuracy"]),
        "images to it": str(data["images_to_accuracy"] or "not reached"),
        "seconds to it": f"{reached:.0f}" if reached else "not reached",
        "learning ms an image": f"{data['learning_ms']:.1f}",
        "peers ms an image": f"{data['peers_ms']:.1f}",
    }
    return Row({**_options(data, config), "recipe": data["recipe"] or ""}, measured, name)


def _benchmark(data: dict[str, Any], name: str) -> Row:
    """What benchmarks/step.py wrote: times, no accuracy."""
    options = {key: str(data[key]) for key in ("mode", "window", "batch", "channels", "classes", "threads")}
    options |= {"canvas pixels": " x ".join(map(str, data["canvas"])), "processor": data["machine"]["processor"]}
    ratios = {other: data[f"ratio_engine_over_{key}"] for key, other in _OTHERS.items()}
    measured = {f"times faster than {other}": f"{ratio:.2f}" if ratio else "" for other, ratio in ratios.items()}
    if (half := data.get("ratio_half_over_dense")) is not None:
        measured["half times faster than peers"] = f"{half:.2f}"
    if (exported := data.get("ratio_exported_over_dense")) is not None:
        measured["exported times faster than peers"] = f"{exported:.2f}"
    for arm in ("peers", "autocast", "unfrozen", "folded", "engine", "half", "exported"):
        one = data["arms"].get(arm, {})
        memory = one.get("peak_memory_bytes")
        measured[f"{arm} ms"] = f"{1000 * one['median_s']:.1f}" if one else ""
        measured[f"{arm} MiB"] = "" if memory is None else f"{memory / 2**20:.1f}"
    return Row({"host": host_name(data["host"]), **options}, measured, name)


def _audit(data: dict[str, Any], name: str) -> Row:
    """What `reprogram audit` wrote: the verdict, and what it stands on."""
    verdict, bill = data["verdict"], data["bill"]
    began, ended = (datetime.fromisoformat(data[key]) for key in ("began", "ended"))
    measured = {
        "verdict": verdict["level"],
        "gain": f"{verdict['gain']:.3f}",
        "interval": " to ".join(f"{end:.3f}" for end in verdict["interval"]),
        "rung": verdict["rung"],
        "budget": str(verdict["budget"]),
        "images asked": str(bill["images"]),
        "seconds": f"{(ended - began).total_seconds():.0f}",
    }
    return Row({"task": verdict["task"], "host": host_name(data["host"]["spec"])}, measured, name)


def _detector(data: dict[str, Any], name: str) -> Row:
    """What benchmarks/detectors.py wrote, at one false alarm in a thousand benign queries."""
    at = data["rates"]["0.001"]
    static = [(key, attack) for key, attack in at["attacks"].items() if key.startswith("static") and "mixed" not in key]
    others = [attack for key, attack in at["attacks"].items() if attack not in [one for _, one in static]]
    firsts = [f for _, attack in static for f in attack["first_alarm"]]
    options = {"detector": data["detector"], "host": data["host"] and host_name(data["host"])}
    measured = {
        "threshold": f"{at['threshold']:.4g}",
        "false positives": f"{at['false_positives']:.4f}",
        "first alarm, static, at the latest": "none" if None in firsts else str(max(firsts)),
        "attacks that escape": str(sum(attack["streams_found"] == 0 for attack in others)),
        "attacks": str(len(at["attacks"])),
        "us a query": f"{data['cost']['us_a_query']:.0f}",
        "bytes an account": str(data["cost"]["bytes_an_account"]),
    }
    return Row(options, measured, name)


def _load(data: dict[str, Any], name: str) -> Row:
    """What benchmarks/serving.py wrote: counts and times of a server under load, no accuracy."""
    options = {"mode": data["command"].split()[2], "threads": str(data["threads"])}
    counts = ("requests", "clients", "images", "status_5xx", "wrong_answers", "seconds", "minutes", "times")
    measured = {key.replace("_", " "): f"{data[key]:.0f}" for key in counts if key in data}
    for key in ("p99_s", "p99_to_bare_median", "growth_mib_per_minute_after_a_third"):
        if key in data:
            measured[key.replace("_", " ")] = f"{data[key]:.3g}"
    for row in data.get("rows", ()):
        if "ratio" in row:
            measured[f"ratio {row['model']} {row['batch']}"] = f"{row['ratio']:.2f}"
            measured[f"ratio of CPU {row['model']} {row['batch']}"] = f"{row['ratio_of_cpu']:.2f}"
    for outcome, count in data.get("outcomes", {}).items():
        measured[f"requests {outcome}"] = str(count)
    return Row(options, measured, name)


_OTHERS = {"dense": "peers", "unfrozen": "unfrozen", "folded": "folded"}


def _fact(path: Path, folder: Path) -> Row:
    """What an experiment of the paper measured beyond a run's result; of pictures and lists the names alone."""
    data = json.loads(path.read_text(encoding="utf-8"))
    fact, of = data["fact"], data["of"]
    ways: dict[str, Any] = {f"correct, {way}": count for way, count in fact.get("ways", {}).items()}
    plain: dict[str, Any] = {key: value for key, value in fact.items() if _short(value)} | ways
    drawn = of.get("drawn") if isinstance(of, dict) else None
    correct, n = plain.pop("correct", None), plain.pop("n", None)
    if drawn and "right" in plain:
        correct, n = plain.pop("right"), min(drawn, of["test"]["n"])
    measured = {} if correct is None else _accuracy({"accuracy": correct / n, "n": n, "interval": wilson(correct, n)})
    if correct is None and n is not None:
        measured["n"] = str(n)
    measured |= {_FACTS.get(key, key): f"{v:.4g}" if isinstance(v, float) else str(v) for key, v in plain.items()}
    measured["also holds"] = "; ".join(key for key, value in fact.items() if not _short(value) and key != "ways")
    return Row({"experiment": path.parent.name, "of": data["name"]}, measured, path.relative_to(folder).as_posix())


_FACTS = {"own": "correct with its own constant shift", "best": "correct with the best constant shift"}


def _short(value: Any) -> bool:
    return isinstance(value, int | float) or (isinstance(value, str) and not value.startswith("data:"))


def wilson(correct: int, n: int) -> tuple[float, float]:
    """The 95 % score interval of docs/evidence.md."""
    p, square = correct / n, Z * Z / n
    middle, half = p + square / 2, Z * math.sqrt(p * (1 - p) / n + square / (4 * n))
    return max(0.0, (middle - half) / (1 + square)), min(1.0, (middle + half) / (1 + square))


def _options(data: dict[str, Any], config: dict[str, Any]) -> dict[str, str]:
    """The columns of a run's options."""
    options = {**ABSENT, **{key: str(value) for key, value in config.items() if key not in OWN_COLUMN | MACHINERY}}
    for part in ("program", "label_map", "batch_size"):
        options.setdefault(part, str(data.get(part, "")))
    host = host_name(config.get("host", data["host"]))
    named = {key.replace("_", " "): value for key, value in options.items()}
    return {"task": data["task"].removeprefix("arrays:"), "host": host, **named}


def _accuracy(test: dict[str, Any]) -> dict[str, str]:
    low, high = test["interval"]
    found = {"accuracy": test["accuracy"], "interval low": low, "interval high": high}
    return {**{name: _share(value) for name, value in found.items()}, "n": str(test["n"])}


def _share(value: float) -> str:
    return f"{value:.4f}"


@cache
def _names() -> dict[str, str]:
    """The short names of hosts by their specs, as the paper's experiments call them."""
    hosts = tomllib.loads(HOSTS.read_text(encoding="utf-8"))["hosts"]
    return {spec: name for name, spec in hosts.items()}


def host_name(spec: str) -> str:
    """A host's short name, or its spec if it has none."""
    untrained = re.fullmatch(r"untrained\(host='([^']*)'.*\)", spec)
    if untrained:
        return f"untrained {host_name(untrained[1])}" + (" with conditioned BatchNorm" if "conditioned" in spec else "")
    return _names().get(spec, spec)


def _recipes(folder: Path) -> dict[str, str]:
    """The recipe of each file, where a file says it: configurations hold a recipe's options, not its name."""
    path = folder / RECIPES
    return dict(tomllib.loads(path.read_text(encoding="utf-8"))["files"]) if path.is_file() else {}


def _plans(folder: Path) -> dict[str, dict[str, str]]:
    """For each run of the paper, the experiments that read it and where it stands in them."""
    found: dict[str, dict[str, list[str]]] = {}
    for path in sorted(folder.glob("plans/*.json")):
        for planned in json.loads(path.read_text(encoding="utf-8")):
            here = found.setdefault(planned["run"], {})
            for key, value in {"experiments": path.stem, **planned["axis"]}.items():
                values = here.setdefault(key, [])
                if str(value) not in values:
                    values.append(str(value))
    return {run: {key: "; ".join(values) for key, values in cells.items()} for run, cells in found.items()}
