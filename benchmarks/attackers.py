"""What attackers send: programs of random numbers around squares, and whole runs of learners that only ask."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

import reprogram
from reprogram.evaluation.traffic import benign

Stream = list[np.ndarray]
"""Images, 3 × size × size, uint8."""

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
    "lit": ("lit(init=1.0)", 28),
    "lit, jittered 8": ("lit(pixels=8, init=1.0)", 28),
}
MIXED = {"static 28, mixed": ("frame(init=1.0)", 28), "disguised, mixed": ("disguised(init=1.0)", 28)}


@dataclass(frozen=True)
class Run:
    """A run of which the service sees all queries, validations included.

    Attributes:
        program: what is learned, from random numbers; where it is refitted they stand for what was learned elsewhere.
        learner: by what.
        parts: other components, such as the label map.
        labels: whether the host shows labels alone.
        task: what the host is learned to do; by default squares.
    """

    program: str
    learner: str
    parts: dict[str, str]
    labels: bool = False
    task: str = ""


MAP = {"label_map": "label-bayes"}
LEARNING = {
    "learning by spsa": Run("tiles(init=0.5)", "spsa", {}),
    "learning by snes": Run("tiles(init=0.5)", "snes", {}),
    "learning by cma": Run("tiles(side=4, init=0.5)", "cma", {}),
    "learning by rgf": Run("frame(init=1.0)", "rgf", {}),
    "learning by snes, disguised": Run("disguised(init=1.0)", "snes", {}),
    "refit by spsa": Run("frame(init=1.0)", "spsa(radius=0.01)", {}),
    "label map alone, framed": Run("none", "none", MAP, labels=True),
    "label map alone, enlarged": Run("none", "none", MAP | {"canvas": "resize"}, labels=True),
    "label map alone, digits framed": Run("none", "none", MAP, labels=True, task="digits"),
    "label map alone, digits enlarged": Run("none", "none", MAP | {"canvas": "resize"}, labels=True, task="digits"),
}


def canvases(program: str, window: int, seed: int, size: int, count: int) -> Stream:
    """What a service gets: squares inside a program with random numbers."""
    if program == "jittered-tiles":
        return _jittered_tiles(window, seed, size, count)
    task = reprogram.load_task(f"squares(train=20, validation=20, test={count}, seed={seed})")
    host = reprogram.Host.wrap(_Nothing(), size=size, name="nothing")
    canvas = f"centre(size={window})"
    model = reprogram.Reprogrammed.build(host, task, canvas=canvas, program=program, seed=seed)
    with torch.no_grad():
        return [levels(model.program(model.canvas(task.test.images[i : i + 1])).dense())[0] for i in range(count)]


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


def levels(pixels: torch.Tensor) -> np.ndarray:
    """Pixels in [0, 1] as uint8."""
    return (pixels * 255).round().to(torch.uint8).numpy()


def learning(run: Run, seed: int, size: int, count: int) -> Stream:
    """What a service gets while a learner that only asks learns, until its budget of queries is spent."""
    seen: Stream = []

    class Watched(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            seen.extend(levels(images))
            return images.flatten(1)[:, 100:110]

    access: Any = "label" if run.labels else None
    host = reprogram.Host.wrap(Watched(), size=size, name="watched", mean=(0.0,) * 3, std=(1.0,) * 3, access=access)
    host.run_as_is()
    host.engine = "dense"
    task = reprogram.load_task(run.task or f"squares(train={count}, validation=20, test=20, seed={seed})")
    model = reprogram.Reprogrammed.build(host, task, program=run.program, seed=seed, **run.parts)
    seen.clear()
    options: dict[str, Any] = {"batch_size": 8, "validations": 2, "validation_images": 20, "queries": count}
    reprogram.fit(model, task, learner=run.learner, seed=seed, loss="task", **options)
    return seen[:count]


def mixed(stream: Stream, photos: Any, seed: int, size: int) -> Stream:
    """A benign photograph after each query."""
    others = benign(photos, queries=len(stream), accounts=1, size=size, seed=seed + 500, shares={"photos": 1.0})
    return [image for pair in zip(stream, (q.image for q in others), strict=True) for image in pair]


def of_images(photos: Any, size: int, count: int, run_length: int) -> dict[str, Callable[[int], Stream]]:
    """Makers of all streams that detectors of images meet, by name; each takes a seed."""
    makers: dict[str, Callable[[int], Stream]] = {}
    for name, (program, window) in {**STATIC, **ADAPTIVE}.items():
        makers[name] = lambda seed, p=program, w=window: canvases(p, w, seed, size, count)
    for name, (program, window) in MIXED.items():
        makers[name] = lambda seed, p=program, w=window: mixed(canvases(p, w, seed, size, count), photos, seed, size)
    for name, run in LEARNING.items():
        makers[name] = lambda seed, r=run: learning(r, seed, size, run_length)
    return makers
