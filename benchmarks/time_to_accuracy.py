"""Images and time to an accuracy: `python benchmarks/time_to_accuracy.py RUNS`, RUNS being a sweep's folder.

How accuracy rises with the images seen comes from the runs' histories, and doesn't depend on the machine. What an image
costs is measured here, in one process, arms interleaved: each run's own learning, and the peers' dense step on the same
host (see `arms`). Images that our label map is fitted to before the first step are charged like a step's. A peer's
recipe is charged that dense step for each image it learns from, and nothing for refitting its label map, which costs
the published code another pass over all training images an epoch.
"""

import argparse
import json
import shutil
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from reprogram import Reprogrammed, fit, load_host, load_task
from reprogram.runs import recipes
from reprogram.runs.config import RunConfig, from_values, read_toml
from reprogram.utils.process import start_torch

OUT = Path(__file__).parents[1] / "results" / "time-to-accuracy"
OURS = "best"
ROUNDS = 3
STEPS = 8


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Images and time that finished runs needed to an accuracy.")
    parser.add_argument("runs", type=Path, help="folder of a sweep")
    parser.add_argument("--accuracy", type=float, default=0.9, help="of the validation split, in (0, 1)")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(argv)
    start_torch(options.threads)
    folders = sorted(path.parent for path in options.runs.glob("*/result.json"))
    if not folders:
        parser.exit(2, f"{parser.prog}: {options.runs}: no finished run; sweep results/time-to-accuracy/grid.toml\n")
    OUT.mkdir(parents=True, exist_ok=True)
    configs = {folder.name: from_values(read_toml(folder / "config.toml")) for folder in folders}
    costs = {}
    for host in sorted({config.host for config in configs.values()}):
        costs |= measured({name: config for name, config in configs.items() if config.host == host}, host)
    for folder in folders:
        found = outcome(folder, configs[folder.name], options.accuracy, costs[folder.name], options.threads)
        (OUT / f"{folder.name}.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        shutil.copy(folder / "config.toml", OUT / f"{folder.name}.toml")
        print(folder.name, found["images_to_accuracy"], found["seconds_to_accuracy"])
    return 0


def measured(configs: dict[str, RunConfig], host: str) -> dict[str, dict[str, float]]:
    """Median milliseconds an image of each run's learning, and of the peers' step on that host."""
    from arms import build

    task = load_task(next(iter(configs.values())).task, data=next(iter(configs.values())).data)
    batch, window = 16, max(task.image_shape[1:])
    peers = build("peers", host=host, window=window, batch=batch, num_classes=task.num_classes, train=True)
    models = {name: composed(config, task) for name, config in configs.items()}
    arms: dict[str, Callable[[], float]] = {
        name: learning(models[name], config, task) for name, config in configs.items()
    }
    arms["peers"] = lambda: _timed(peers) / batch
    readings: dict[str, list[float]] = {name: [] for name in arms}
    for _ in range(ROUNDS):
        for name, arm in arms.items():
            readings[name].append(arm())
    median = {name: 1000 * statistics.median(values) for name, values in readings.items()}
    return {
        name: {"learning_ms": median[name], "peers_ms": median["peers"], "fit_images": looked_at(models[name])}
        for name in configs
    }


def composed(config: RunConfig, task: Any) -> Reprogrammed:
    """A run's model, at its start."""
    return Reprogrammed.build(
        load_host(config.host), task, canvas=config.canvas, program=config.program, label_map=config.label_map
    )


def looked_at(model: Reprogrammed) -> int:
    """Images that the label map is fitted to before the first step."""
    return 0 if model.label_map.fitted == "never" else model.label_map.fit_images


def learning(model: Reprogrammed, config: RunConfig, task: Any) -> Callable[[], float]:
    """Seconds an image, once the first steps are done; the validation between them is of one image a class."""
    short = replace(task, validation=task.few(1, seed=0).validation)

    def read() -> float:
        rows = fit(
            model,
            short,
            learner=config.learner,
            loss=config.loss,
            images=STEPS * config.batch_size,
            batch_size=config.batch_size,
            num_microbatches=config.num_microbatches,
            validations=2,
        ).history
        return float((rows[1]["seconds"] - rows[0]["seconds"]) / (rows[1]["images"] - rows[0]["images"]))

    return read


def _timed(step: Callable[[], object]) -> float:
    step()
    readings = []
    for _ in range(STEPS // 2):
        begun = time.perf_counter()
        step()
        readings.append(time.perf_counter() - begun)
    return statistics.median(readings)


def outcome(folder: Path, config: RunConfig, accuracy: float, cost: dict[str, float], threads: int) -> dict[str, Any]:
    """What a run needed; None where it didn't get there."""
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    rows = [json.loads(line) for line in (folder / "history.jsonl").read_text(encoding="utf-8").splitlines()]
    images = next((int(row["images"]) for row in rows if row["validation_accuracy"] >= accuracy), None)
    recipe = recipes.matching(asdict(config))
    ours = recipe in (OURS, None)
    ms, before = cost["learning_ms" if ours else "peers_ms"], cost["fit_images"] if ours else 0
    return {
        "recipe": recipe,
        "host": config.host,
        "task": config.task,
        "program": config.program,
        "label_map": config.label_map,
        "batch_size": config.batch_size,
        "budget_images": config.images,
        "seed": config.seed,
        "accuracy": accuracy,
        "history": [[int(row["images"]), row["validation_accuracy"]] for row in rows],
        "num_validation": result["splits"]["validation"],
        "test": result["test"],
        "images_to_accuracy": images,
        **cost,
        "seconds_to_accuracy": None if images is None else (images + before) * ms / 1000,
        "seconds_of_budget": (config.images + before) * ms / 1000 if config.images else None,
        "threads": threads,
        "machine": result["machine"],
        "versions": result["versions"],
        "command": "python benchmarks/time_to_accuracy.py runs/time",
    }


if __name__ == "__main__":
    sys.exit(main())
