"""What detectors of reprogramming see: benign traffic sets the threshold, other benign traffic and attackers meet it.

    python benchmarks/detectors.py --photos ../shared/data/imagenet_sample_100 --out results/detectors
    python benchmarks/detectors.py --photos CIFAR10.npz --host python:benchmarks/small_hosts.py:standard

Without a host the detectors that look at images alone are measured, against frames of random numbers (stand-ins for
learned ones: what repeats is the same) around squares, and against whole runs that learn (`attackers.py`). With a host
the detectors that read its answers are measured, against programs that are learned on it here: the plain one, and for
each detector one that has it in its loss, with its features and its threshold at one false alarm in a hundred. Each
detector gets one JSON file. Times are processor time of one thread.

An attacker's traffic is one account unless it says otherwise: `mixed` sends a benign photograph after each query.
"""

import argparse
import json
import os
import platform
import shlex
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from attackers import levels, mixed, of_images
from PIL import Image

import reprogram
from reprogram.detectors._checks import threshold_of
from reprogram.detectors._detect import host_answers, load_detector
from reprogram.detectors.base import Detector, Query
from reprogram.evaluation.traffic import as_photographs, benign, photographs
from reprogram.registry import configure, find, format_spec, names
from reprogram.runs.result import versions
from reprogram.utils.environment import processor
from reprogram.utils.files import write_atomic
from reprogram.utils.process import start_torch

RATES = (0.001, 0.01)
GOAL = 10_000
"""Queries that an attacker wants answered, for the number of accounts that he needs."""


def first_alarm(scores: np.ndarray, threshold: float) -> int | None:
    """The number of the query with the first alarm, from 1; None where there was none."""
    above = scores > threshold
    return int(above.argmax()) + 1 if above.any() else None


def met(scores: list[np.ndarray], threshold: float) -> dict[str, Any]:
    """How a threshold does against some streams."""
    first = [first_alarm(one, threshold) for one in scores]
    found = [f for f in first if f is not None]
    worst = min(found) if found else None
    return {
        "true_positives": float(np.mean([np.mean(one > threshold) for one in scores])),
        "first_alarm": first,
        "streams_found": len(found),
        # An account stops one query before the earliest alarm.
        "accounts_needed": 1 if worst is None else (None if worst == 1 else -(-GOAL // (worst - 1))),
    }


def measured(detector: Detector, streams: dict[str, list[list[Query]]], tested: Iterator[Query]) -> dict[str, Any]:
    """Scores of attackers, and of benign traffic by kind; with the time that a query takes."""
    attacks = {}
    for name, several in streams.items():
        attacks[name] = []
        for stream in several:
            detector.reset()
            attacks[name].append(np.array([detector._score(q.image, q.account, q.answer) for q in stream]))
    detector.reset()
    kinds, scores, spent = [], [], 0.0
    for query in tested:
        begun = time.process_time()
        scores.append(detector._score(query.image, query.account, query.answer))
        spent += time.process_time() - begun
        kinds.append(query.account.partition("-")[0])
    detector.reset()
    return {
        "attacks": attacks,
        "kinds": np.array(kinds),
        "scores": np.array(scores),
        "us": 1e6 * spent / max(len(scores), 1),
    }


def result(detector: Detector, calibrated: np.ndarray, found: dict[str, Any], circumstances: dict[str, Any]) -> Any:
    """One detector's JSON."""
    thresholds = {str(rate): threshold_of(calibrated, rate) for rate in RATES}
    usual = detector.usual_threshold
    if usual is not None:
        thresholds["usual"] = usual
    ordinary = found["kinds"] != "screens"
    rows = {}
    for key, threshold in thresholds.items():
        above = found["scores"] > threshold
        rows[key] = {
            "threshold": threshold,
            "false_positives": float(above[ordinary].mean()),
            "by_kind": {str(kind): float(above[found["kinds"] == kind].mean()) for kind in np.unique(found["kinds"])},
            "attacks": {name: met(scores, threshold) for name, scores in found["attacks"].items()},
        }
    accounts = detector.config.capacity if hasattr(detector.config, "capacity") else 0
    return {
        "schema": 1,
        "detector": format_spec(detector),
        "reads": detector.reads,
        **circumstances,
        "benign": {"calibrated": len(calibrated), "tested": int(ordinary.sum())},
        "cost": {
            "us_a_query": found["us"],
            "bytes_an_account": detector.bytes_per_account,
            "bytes_at_most": detector.bytes_per_account * accounts,
        },
        "rates": rows,
    }


def circumstances(arguments: argparse.Namespace) -> dict[str, Any]:
    """What a reader needs to repeat a measurement."""
    return {
        "command": shlex.join(["python", "benchmarks/detectors.py", *sys.argv[1:]]),
        "host": arguments.host,
        "size": arguments.size,
        "seeds": arguments.seeds,
        "queries_of_a_stream": arguments.stream,
        "queries_of_a_run": arguments.run,
        "goal": GOAL,
        "machine": {"processor": processor(), "cores": os.cpu_count(), "system": platform.platform()},
        "versions": versions(),
    }


def images_alone(arguments: argparse.Namespace, chosen: list[Detector]) -> None:
    """Measure detectors that look at images alone."""
    photos, size = photographs(arguments.photos), arguments.size

    def traffic(seed: int, number: int, **more: Any) -> Iterator[Query]:
        return benign(photos, queries=number, accounts=max(1, number // 100), size=size, seed=seed, **more)

    attacks: dict[str, dict[str, list[np.ndarray]]] = {one.name(): {} for one in chosen}
    makers = of_images(photos, size, arguments.stream, arguments.run)
    for name, make in {name: makers[name] for name in arguments.attacks or makers}.items():
        for seed in range(arguments.seeds):
            stream = make(seed)
            for one in chosen:
                one.reset()
                scores = np.array([one._score(image, "attacker", None) for image in stream])
                attacks[one.name()].setdefault(name, []).append(scores)
        say(f"{name} done")
    if arguments.attacks:
        for one in chosen:
            add(stored(arguments.out, one), attacks[one.name()], circumstances(arguments)["command"])
        return
    calibrating: dict[str, list[float]] = {one.name(): [] for one in chosen}
    for one in chosen:
        one.reset()
    for query in traffic(1000, arguments.queries):
        for one in chosen:
            score = one._score(query.image, query.account, None)
            if not one.is_new(query.account):
                calibrating[one.name()].append(score)
    say("calibrated")
    for one in chosen:
        one.reset()
    kinds, scores, spent = [], {n: [] for n in attacks}, dict.fromkeys(attacks, 0.0)
    screens = traffic(3000, arguments.queries // 8, shares={"screens": 1.0})
    for part in (traffic(2000, arguments.queries), screens):
        for query in part:
            kinds.append(query.account.partition("-")[0])
            for one in chosen:
                begun = time.process_time()
                scores[one.name()].append(one._score(query.image, query.account, None))
                spent[one.name()] += time.process_time() - begun
    for one in chosen:
        n = one.name()
        found = {"attacks": attacks[n], "kinds": np.array(kinds), "scores": np.array(scores[n])}
        found["us"] = 1e6 * spent[n] / len(kinds)
        keep(arguments.out, one, result(one, np.array(calibrating[n]), found, circumstances(arguments)))


def with_host(arguments: argparse.Namespace, chosen: list[Detector]) -> None:
    """Measure detectors that read a host's answers, against programs that are learned on the host here."""
    host = reprogram.load_host(arguments.host)
    photos, size = pictures(arguments.photos), min(host.info.shape[1:])
    arguments.size = size

    def sent(images: np.ndarray, accounts: list[str], reads: str) -> list[Query]:
        answers = host_answers(host, reads, images)
        return [Query(image=i, account=a, answer=v) for i, a, v in zip(images, accounts, answers, strict=True)]

    def traffic(seed: int, number: int, **more: Any) -> tuple[np.ndarray, list[str]]:
        stream = list(benign(photos, queries=number, accounts=max(1, number // 100), size=size, seed=seed, **more))
        return np.stack([q.image for q in stream]), [q.account for q in stream]

    first, second = traffic(1000, arguments.queries), traffic(2000, arguments.queries)
    screens = traffic(3000, arguments.queries // 8, shares={"screens": 1.0})
    calibrating = {reads: sent(*first, reads) for reads in ("scores", "features")}
    scores_of: dict[str, np.ndarray] = {}
    files: dict[str, Path] = {}
    arguments.kept.mkdir(parents=True, exist_ok=True)
    for one in chosen:
        scores_of[one.name()], _ = one._benign_scores(calibrating[one.reads])
        one.threshold = threshold_of(scores_of[one.name()], max(RATES))
        files[one.name()] = one.save(arguments.kept / f"{one.name()}.safetensors")
    attacks, reached = learned(arguments, host, files)
    attacks["static, mixed"] = [np.stack(mixed(list(a), photos, i, size)) for i, a in enumerate(attacks["static"])]
    for reads, queries in calibrating.items():
        own = [one for one in chosen if one.reads == reads]
        if not own or not queries:
            continue
        tested = sent(*second, reads) + sent(*screens, reads)
        streams = {
            name: [sent(images, ["attacker"] * len(images), reads) for images in several]
            for name, several in attacks.items()
        }
        for one in own:
            found = measured(one, streams, iter(tested))
            row = result(one, scores_of[one.name()], found, circumstances(arguments))
            keep(arguments.out, one, {**row, "learned": reached, "task": arguments.task, "images": arguments.images})


WEIGHTS = {
    "largest-softmax": (10.0, 40.0),
    "energy": (1.0, 4.0),
    "mahalanobis": (10.0,),
    "neighbours": (10.0,),
    "encoder-neighbours": (3.0, 10.0),
}
"""λ of the loss `evading` against each detector: guesses by the size of its score, all of which are shown."""


def learned(
    arguments: argparse.Namespace, host: reprogram.Host, files: dict[str, Path]
) -> tuple[dict[str, list[np.ndarray]], dict[str, Any]]:
    """Programs on a host: the 2018 frame, one that moves, and for each detector one that has it in the loss.

    Returns:
        The queries of each program and seed, and by program what was learned and the accuracy of each seed.
    """
    task = reprogram.load_task(arguments.task)
    wanted = {"static": ("frame", "host"), "jittered": ("jittered(pixels=2)", "host")}
    for name, weights in WEIGHTS.items():
        for weight in weights if name in files else ():
            loss = f"evading(loss='host', detector={str(files[name])!r}, weight={weight})"
            wanted[f"evading {name}, weight {weight:g}"] = "frame", loss
    every = "host"
    for name in (name for name in WEIGHTS if name in files):
        every = f"evading(loss={every!r}, detector={str(files[name])!r}, weight={WEIGHTS[name][0]})"
    wanted["evading all"] = "frame", every
    queries: dict[str, list[np.ndarray]] = {}
    reached: dict[str, Any] = {}
    for name, (program, loss) in wanted.items():
        reached[name] = {"program": program, "loss": loss, "accuracy": []}
        for seed in range(arguments.seeds):
            model = reprogram.Reprogrammed.build(host, task, program=program, label_map="first", seed=seed)
            options = {"images": arguments.images, "batch_size": 32, "num_microbatches": 1, "validations": 4}
            reprogram.fit(model, task, seed=seed, loss=loss, **options)
            with torch.no_grad():
                test = task.test.images[: arguments.stream]
                shown = [levels(model.program(model.canvas(image[None])).dense()) for image in test]
            queries.setdefault(name, []).append(np.concatenate(shown))
            reached[name]["accuracy"].append(reprogram.evaluate(model, task).accuracy)
            say(f"{name}: {reached[name]}")
    return queries, reached


def pictures(path: Path | None) -> list[Any]:
    """Photographs of a folder, or the test images of an `.npz` file that the task `cifar10` takes."""
    if path is None or path.suffix != ".npz":
        return photographs(path)
    return as_photographs([Image.fromarray(pixels) for pixels in np.load(path)["x_test"]])


def keep(folder: Path, detector: Detector, value: dict[str, Any]) -> None:
    """Write a result."""
    write_atomic(stored(folder, detector), (json.dumps(value, indent=1) + "\n").encode())
    say(f"{detector.name()}: {value['cost']['us_a_query']:.0f} us")


def stored(folder: Path, detector: Detector) -> Path:
    """Where a detector's result is."""
    stem = format_spec(detector).replace("(", ".").replace(")", "").replace("=", "-").replace(", ", ".")
    return folder / f"{stem}.json"


def add(path: Path, attacks: dict[str, list[np.ndarray]], command: str) -> None:
    """Hold more attacks against the thresholds of a result, and note the command."""
    value = json.loads(path.read_text(encoding="utf-8"))
    for at in value["rates"].values():
        at["attacks"] |= {name: met(scores, at["threshold"]) for name, scores in attacks.items()}
    value["added"] = [*value.get("added", []), command]
    write_atomic(path, (json.dumps(value, indent=1) + "\n").encode())


def say(text: str) -> None:
    """Progress."""
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("detectors", nargs="*", help="specs; by default all that apply")
    parser.add_argument(
        "--photos",
        type=Path,
        default=None,
        help="folder of photographs, or an .npz file of CIFAR-10; by default scikit-learn's two",
    )
    parser.add_argument("--host", default="", help="measure the detectors that read this host's answers")
    parser.add_argument("--task", default="digits")
    parser.add_argument("--images", type=int, default=6400, help="training images of each program")
    parser.add_argument("--queries", type=int, default=4000, help="benign queries to calibrate, and as many to test")
    parser.add_argument("--attacks", nargs="+", help="measure these alone, and add them to the results that are there")
    parser.add_argument("--seeds", type=int, default=3, help="streams of each attacker")
    parser.add_argument("--stream", type=int, default=120, help="queries of an attacker's stream")
    parser.add_argument("--run", type=int, default=600, help="queries of a whole run that learns")
    parser.add_argument("--size", type=int, default=224, help="of the images, in pixels")
    parser.add_argument(
        "--kept", type=Path, default=Path("runs/detectors"), help="folder of the detectors that attackers have"
    )
    parser.add_argument("--out", type=Path, default=Path("results/detectors"))
    arguments = parser.parse_args()
    start_torch(1)
    wants_answers = bool(arguments.host)
    specs = arguments.detectors or [
        n for n in names("detectors") if (find("detectors", n).reads != "image") == wants_answers
    ]
    chosen = [load_detector(spec) for spec in specs]
    for spec in specs:
        configure("detectors", spec)
    (with_host if wants_answers else images_alone)(arguments, chosen)
    return 0


if __name__ == "__main__":
    sys.exit(main())
