"""What detectors of reprogramming see: benign traffic sets the threshold, other benign traffic and attackers meet it.

    python benchmarks/detectors.py --photos ../shared/data/imagenet_sample_100 --out results/detectors
    python benchmarks/detectors.py --photos ... --host HOST --images 2000 --out results/detectors

Without a host the detectors that look at images alone are measured, against frames of random numbers (stand-ins for
learned ones: what repeats is the same) around squares. With a host the detectors that read its answers are measured,
against programs that are learned on it here. Each detector gets one JSON file. Times are processor time of one thread.

An attacker's traffic is one account unless it says otherwise: `mixed` sends a benign photograph after each query.
"""

import argparse
import json
import os
import platform
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

import reprogram
from reprogram.detectors._checks import threshold_of
from reprogram.detectors._detect import host_answers, load_detector
from reprogram.detectors.base import Detector, Query
from reprogram.evaluation.traffic import benign, photographs
from reprogram.registry import configure, find, format_spec, is_listed, names
from reprogram.runs.result import versions
from reprogram.utils.environment import processor
from reprogram.utils.files import write_atomic

RATES = (0.001, 0.01)
GOAL = 10_000
"""Queries that an attacker wants answered, for the number of accounts that he needs."""
STATIC = {f"static {w}": ("frame(init=1.0)", w) for w in (28, 64, 96, 128, 160, 192)}
ADAPTIVE = {
    "tiles 28": ("tiles(init=1.0)", 28),
    "ensemble of 4": ("ensemble(members=4, init=1.0)", 28),
    "dithered 0.03": ("dithered(eps=0.03, init=1.0)", 28),
    "dithered 0.1": ("dithered(eps=0.1, init=1.0)", 28),
    "swaying 0.2": ("dithered(eps=0.2, cell=24, init=1.0)", 28),
    "jittered 2": ("jittered(pixels=2, init=1.0)", 28),
    "jittered 8": ("jittered(pixels=8, init=1.0)", 28),
    "jittered 32": ("jittered(pixels=32, init=1.0)", 28),
    "jittered 8, window 128": ("jittered(pixels=8, init=1.0)", 128),
    "jittered tiles": ("jittered-tiles", 28),
    "disguised": ("disguised(init=1.0)", 28),
    "disguised, sway 0.35": ("disguised(sway=0.35, init=1.0)", 28),
}
MIXED = {"static 28, mixed": ("frame(init=1.0)", 28), "disguised, mixed": ("disguised(init=1.0)", 28)}
LEARNING = {"learning by spsa": "spsa", "learning by snes": "snes"}

Stream = list[np.ndarray]


def canvases(program: str, window: int, seed: int, size: int, count: int) -> Stream:
    """What a service gets: squares inside a program with random numbers, 3 × size × size, uint8."""
    if program == "jittered-tiles":
        return _jittered_tiles(window, seed, size, count)
    task = reprogram.load_task(f"squares(train=20, validation=20, test={count}, seed={seed})")
    host = reprogram.Host.wrap(_Nothing(), size=size, name="nothing")
    canvas = f"centre(size={window})"
    model = reprogram.Reprogrammed.build(host, task, canvas=canvas, program=program, seed=seed)
    with torch.no_grad():
        return [_levels(model.program(model.canvas(task.test.images[i : i + 1])).dense())[0] for i in range(count)]


def _jittered_tiles(window: int, seed: int, size: int, count: int) -> Stream:
    """Coarse tiles that move by up to 8 pixels with the task image."""
    large = canvases("tiles(init=1.0)", window, seed, size + 16, count)
    generator = np.random.default_rng(seed)
    places = generator.integers(0, 17, (count, 2))
    return [image[:, a : a + size, b : b + size] for image, (a, b) in zip(large, places, strict=True)]


class _Nothing(torch.nn.Module):
    """Ten scores of an image, quickly."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The first ten pixels."""
        return images.flatten(1)[:, :10]


def _levels(pixels: torch.Tensor) -> np.ndarray:
    return (pixels * 255).round().to(torch.uint8).numpy()


def learning(learner: str, seed: int, size: int, count: int) -> Stream:
    """What a service gets while a learner that only asks learns: the first queries of a run."""
    seen: Stream = []

    class Watched(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            seen.extend(_levels(images) if len(seen) < count else [])
            return images.flatten(1)[:, 100:110]

    host = reprogram.Host.wrap(Watched(), size=size, name="watched", mean=(0.0,) * 3, std=(1.0,) * 3)
    host.run_as_is()
    host.engine = "dense"
    task = reprogram.load_task(f"squares(train=200, validation=20, test=20, seed={seed})")
    model = reprogram.Reprogrammed.build(host, task, program="tiles(init=0.5)", seed=seed)
    seen.clear()
    reprogram.fit(model, task, learner=learner, images=64, batch_size=16, validations=1, seed=seed, loss="task")
    return seen[:count]


def mixed(stream: Stream, photos: Any, seed: int, size: int) -> Stream:
    """A benign photograph after each query."""
    others = benign(photos, queries=len(stream), accounts=1, size=size, seed=seed + 500, shares={"photos": 1.0})
    return [image for pair in zip(stream, (q.image for q in others), strict=True) for image in pair]


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


def result(detector: Detector, benign_scores: np.ndarray, found: dict[str, Any], circumstances: dict[str, Any]) -> Any:
    """One detector's JSON."""
    thresholds = {str(rate): threshold_of(benign_scores, rate) for rate in RATES}
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
        "benign": {"calibrated": len(benign_scores), "tested": int(ordinary.sum())},
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
        "goal": GOAL,
        "machine": {"processor": processor(), "cores": os.cpu_count(), "system": platform.platform()},
        "versions": versions(),
    }


def images_alone(arguments: argparse.Namespace, chosen: list[Detector]) -> None:
    """Measure detectors that look at images alone."""
    photos, size, count = photographs(arguments.photos), arguments.size, arguments.stream

    def traffic(seed: int, number: int, **more: Any) -> Iterator[Query]:
        return benign(photos, queries=number, accounts=max(1, number // 100), size=size, seed=seed, **more)

    def streams() -> Iterator[tuple[str, Callable[[int], Stream]]]:
        for name, (program, window) in {**STATIC, **ADAPTIVE}.items():
            yield name, lambda seed, p=program, w=window: canvases(p, w, seed, size, count)
        for name, (program, window) in MIXED.items():
            yield name, lambda seed, p=program, w=window: mixed(canvases(p, w, seed, size, count), photos, seed, size)
        for name, learner in LEARNING.items():
            yield name, lambda seed, k=learner: learning(k, seed, size, count)

    attacks: dict[str, dict[str, list[np.ndarray]]] = {one.name(): {} for one in chosen}
    for name, make in streams():
        for seed in range(arguments.seeds):
            stream = make(seed)
            for one in chosen:
                one.reset()
                scores = np.array([one._score(image, "attacker", None) for image in stream])
                attacks[one.name()].setdefault(name, []).append(scores)
        say(f"{name} done")
    calibrating: dict[str, list[float]] = {one.name(): [] for one in chosen}
    for one in chosen:
        one.reset()
    for query in traffic(1000, arguments.queries):
        for one in chosen:
            calibrating[one.name()].append(one._score(query.image, query.account, None))
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
    """Measure detectors that read a host's answers."""
    host = reprogram.load_host(arguments.host)
    photos, size = photographs(arguments.photos), min(host.info.shape[1:])
    arguments.size = size
    task = reprogram.load_task(arguments.task)
    reached, attacks = {}, {}
    for name, (program, loss) in learned_attacks().items():
        model = reprogram.Reprogrammed.build(host, task, program=program, seed=0)
        options = {"images": arguments.images, "batch_size": 16, "validations": 1, "loss": loss}
        reprogram.fit(model, task, **options)
        with torch.no_grad():
            test = task.test.images[: arguments.stream]
            attacks[name] = np.concatenate([_levels(model.program(model.canvas(i[None])).dense()) for i in test])
        reached[name] = {"program": program, "loss": loss, "accuracy": reprogram.evaluate(model, task.test).accuracy}
        say(f"{name}: {reached[name]}")
    attacks["static, mixed"] = np.stack(mixed(list(attacks["static"]), photos, 0, size))

    def sent(images: np.ndarray, accounts: list[str], reads: str) -> list[Query]:
        answers = host_answers(host, reads, images)
        return [Query(image=i, account=a, answer=v) for i, a, v in zip(images, accounts, answers, strict=True)]

    def traffic(seed: int, number: int, **more: Any) -> tuple[np.ndarray, list[str]]:
        stream = list(benign(photos, queries=number, accounts=max(1, number // 100), size=size, seed=seed, **more))
        return np.stack([q.image for q in stream]), [q.account for q in stream]

    first, second = traffic(1000, arguments.queries), traffic(2000, arguments.queries)
    screens = traffic(3000, arguments.queries // 8, shares={"screens": 1.0})
    for reads in ("scores", "features"):
        own = [one for one in chosen if one.reads == reads]
        if not own:
            continue
        calibrating = sent(*first, reads)
        tested = sent(*second, reads) + sent(*screens, reads)
        streams = {name: [sent(images, ["attacker"] * len(images), reads)] for name, images in attacks.items()}
        for one in own:
            kept = list(one._learned_from(calibrating)) if one.fits else calibrating
            one.reset()
            scores = np.array([one._score(q.image, q.account, q.answer) for q in kept])
            found = measured(one, streams, iter(tested))
            row = result(one, scores, found, circumstances(arguments))
            keep(arguments.out, one, {**row, "learned": reached, "task": arguments.task, "images": arguments.images})


def learned_attacks() -> dict[str, tuple[str, str]]:
    """Programs to learn: the 2018 frame, one that moves, and where the loss is there, one that knows the detector."""
    found = {"static": ("frame", "host"), "jittered": ("jittered(pixels=8)", "host")}
    if is_listed("losses", "evading"):
        found["evading softmax"] = ("frame", "evading(loss='host', weight=1.0)")
        found["evading energy"] = ("frame", "evading(loss='host', detector='energy', weight=0.1)")
    return found


def keep(folder: Path, detector: Detector, value: dict[str, Any]) -> None:
    """Write a result."""
    stem = format_spec(detector).replace("(", ".").replace(")", "").replace("=", "-").replace(", ", ".")
    write_atomic(folder / f"{stem}.json", (json.dumps(value, indent=1) + "\n").encode())
    say(f"{detector.name()}: {value['cost']['us_a_query']:.0f} us")


def say(text: str) -> None:
    """Progress."""
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("detectors", nargs="*", help="specs; by default all that apply")
    parser.add_argument(
        "--photos", type=Path, default=None, help="folder of photographs; by default scikit-learn's two"
    )
    parser.add_argument("--host", default="", help="measure the detectors that read this host's answers")
    parser.add_argument("--task", default="squares(train=4000, validation=60, test=400)")
    parser.add_argument("--images", type=int, default=2000, help="training images of each program")
    parser.add_argument("--queries", type=int, default=4000, help="benign queries to calibrate, and as many to test")
    parser.add_argument("--seeds", type=int, default=3, help="streams of each attacker")
    parser.add_argument("--stream", type=int, default=120, help="queries of an attacker's stream")
    parser.add_argument("--size", type=int, default=224, help="of the images, in pixels")
    parser.add_argument("--out", type=Path, default=Path("results/detectors"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
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
