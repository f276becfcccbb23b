"""What a run will ask of its host, counted before the start, and how long it may take, by timing a few images."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from reprogram.evaluation.baselines.base import Asks, BaselineInput
from reprogram.evaluation.effect import num_asked
from reprogram.evaluation.predict import BATCH_SIZE
from reprogram.labelmaps._calibration import num_fit_images
from reprogram.model import Reprogrammed
from reprogram.registry import configure
from reprogram.report.examples import COUNT
from reprogram.runs.config import RunConfig
from reprogram.tasks.base import Task
from reprogram.training.budget import images_of
from reprogram.training.compatibility import settled_learner
from reprogram.training.losses import loss_of
from reprogram.training.microbatch import usual_number
from reprogram.training.validation import num_validation_images
from reprogram.utils.forks import one_thread
from reprogram.utils.seeding import seeded
from reprogram.utils.text import duration

LIMIT_S = 1.0
"""About how long each kind of work is timed, at the most; a few images are enough where they take longer."""

LEARNING, VALIDATIONS, MAP, TEST, REPORT = "learning", "validations", "label map", "test", "report"


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of a run.

    Attributes:
        name: `LEARNING`, `VALIDATIONS`, `MAP`, `TEST`, `REPORT`, or a baseline's name.
        images: images that the host is asked for; None where that isn't known, such as under a limit of seconds.
        seconds_per_image: as timed; None where it wasn't.
        seconds_apart: the time of what asks the run's host nothing; None where that isn't known.
    """

    name: str
    images: int | None
    seconds_per_image: float | None = None
    seconds_apart: float | None = 0.0

    @property
    def seconds(self) -> float | None:
        """The time of all its images, and of what it does apart; None where it isn't known."""
        if self.images == 0 or self.seconds_apart is None:
            return self.seconds_apart
        if self.images is None or self.seconds_per_image is None:
            return None
        return self.images * self.seconds_per_image + self.seconds_apart


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What a run will ask of its host.

    Attributes:
        parts: the parts of the run by name, in their order.
        seconds: the limit of seconds for learning, validations included; None where there is none.
        num_validations: how often the validation images are looked at.
        queries: the budget of images that the host is asked for while the program is learned; None for no limit.
        requests: the budget of requests that it is sent in that time; None for no limit.
        price: of 1,000 images; None where it isn't known.
        num_losses: how often a step asks for each image that is learned from, at the most.
    """

    parts: dict[str, Part]
    seconds: float | None
    num_validations: int
    queries: int | None = None
    requests: int | None = None
    price: float | None = None
    num_losses: int = 1

    @property
    def most_images(self) -> int:
        """The images of the host that the parts ask for at the most, those left out of which that isn't known."""
        return sum(images or 0 for images, _ in self._counted)

    @property
    def _baselines(self) -> list[Part]:
        own = (LEARNING, VALIDATIONS, MAP, TEST, REPORT)
        return [part for name, part in self.parts.items() if name not in own]

    @property
    def _counted(self) -> list[tuple[int | None, str]]:
        """Images of the host, and what they are for."""
        learning_images = [
            (
                self.num_losses * (self.parts[LEARNING].images or 0),
                "to learn from" if self.num_losses == 1 else "at the most to learn from",
            ),
            (self.parts[MAP].images, "to fit the label map"),
            (self.parts[VALIDATIONS].images, f"in {self.num_validations} validations"),
        ]
        if self.queries is not None:
            learning_images = [(self.queries, "at the most while it learns")]
        return [
            *learning_images,
            (self.parts[TEST].images, "for the test"),
            (sum(part.images or 0 for part in self._baselines), "for baselines"),
            (self.parts[REPORT].images, "for the report"),
        ]

    def line(self) -> str:
        """The forecast for people, in one line."""
        baselines, total = self._baselines, self.most_images
        numbers = ", ".join(f"{images:,} {what}" for images, what in self._counted if images)
        learns = "" if self.seconds is None else f"learns for {duration(self.seconds)} at the most; then "
        learns = learns if self.requests is None else f"learns with {self.requests:,} requests at the most; then "
        cost = "" if self.price is None else f", which cost {self.price * total / 1000:,.4g}"
        left_out = [part.name for part in baselines if part.images is None or part.seconds is None]
        without = f", without {' and '.join(left_out)}" if left_out else ""
        learning = [self.parts[LEARNING].seconds, self.parts[VALIDATIONS].seconds] if self.seconds is None else []
        known = [self.parts[MAP].seconds, self.parts[TEST].seconds, self.parts[REPORT].seconds, *learning]
        if any(seconds is None for seconds in known):
            how_long = "how long it takes shows as it goes on"
        else:
            seconds = sum(s or 0.0 for s in [*known, *(part.seconds for part in baselines)]) + (self.seconds or 0.0)
            how_long = f"about {duration(seconds)} in all{without}, by a few images of each kind that were just timed"
        return f"{learns}asks the host for {total:,} images{cost}: {numbers}; {how_long}"

    def seconds_after(self, name: str) -> float | None:
        """The time of all parts after one of them; None where one isn't known.

        Args:
            name: the part's name.
        """
        names = list(self.parts)
        later = [self.parts[other].seconds for other in names[names.index(name) + 1 :]]
        return None if None in later else sum(seconds or 0.0 for seconds in later)


def forecast(config: RunConfig, model: Reprogrammed, whole_task: Task, *, processes: int) -> Forecast:
    """Count what a run will ask of its host, and time a few images of each kind; nothing of the run changes by it.

    The images that are timed aren't counted by the host's meter: they are no part of the run.

    Args:
        config: the run's configuration.
        model: the model with its start values.
        whole_task: the run's task.
        processes: of one thread that learn together, this one and its forks; 0 to time nothing. A host without weights
            of its own, such as a function that asks a server, is never asked for it.
    """
    task, budget = whole_task.with_test_sample(config.test_images, seed=config.seed), config.budget
    batch_size = min(config.settled_batch_size(len(task.class_names)), len(task.train))
    views = model.program.num_views
    steps = None if budget.seconds is not None else budget.steps(batch_size, len(task.train))
    if settled_learner(config.learner, configure("learners", config.learner)[0].access, model) == "none":
        steps = 0
    learned = num_validations = looked_at = None
    if steps is not None:
        learned = images_of(steps, batch_size, len(task.train))
        num_validations = min(config.validations, steps) or 1
        looked_at = num_validations * num_validation_images(
            config, learned=learned, available=len(task.validation), views=views
        )
    same: dict[str, Any] = {"queries": budget.host_images, "seed": config.seed, "augmentation": config.augmentation}
    run = BaselineInput(model=model, task=task, images_seen=learned or 0, **same)
    asks = {
        LEARNING: Asks(images=learned, ask=_learning(config, model, task, batch_size, processes), views=views),
        MAP: Asks(images=num_fit_images(model.label_map, len(task.train)), ask=model.host_scores, views=views),
        VALIDATIONS: Asks(images=looked_at, ask=model, views=views),
        TEST: Asks(images=len(task.test), ask=model.host_scores, views=views),
    }
    for name in config.baselines:
        variant, options = configure("baselines", name)
        asks[name] = variant(options).asks(run)
    shown = min(COUNT, len(task.test)) + num_asked(model, len(task.test))
    asks[REPORT] = Asks(images=shown, ask=model.host_scores, views=views)
    times = model.host.asks_per_image  # Whatever is asked, each answer is the mean of so many.
    asks = {name: replace(value, views=value.views * times) for name, value in asks.items()}
    parts = {
        name: Part(name=name, images=value.host_images, seconds_apart=None if value.apart or value.repeats_run else 0.0)
        for name, value in asks.items()
    }
    if processes and next(model.host.net.parameters(), None) is not None:
        batch = task.train.images[: BATCH_SIZE.get(model.canvas.frame.device.type, BATCH_SIZE["cpu"])]
        parts = _timed_parts(parts, asks, model, batch, budget.seconds, processes)
    return Forecast(
        parts=parts,
        seconds=budget.seconds,
        num_validations=num_validations or config.validations,
        queries=budget.host_images,
        requests=budget.requests,
        price=budget.price,
        num_losses=_num_losses(config, model),
    )


def _timed_parts(
    parts: dict[str, Part],
    asks: dict[str, Asks],
    model: Reprogrammed,
    batch: Tensor,
    limit: float | None,
    processes: int,
) -> dict[str, Part]:
    """The parts with their times: each kind of work is done with some images, where learning has a limit of seconds."""

    def per_image(name: str) -> float | None:
        if processes == 1 or name not in (LEARNING, VALIDATIONS, MAP):
            return _timed(asks[name], model, batch)
        with one_thread():  # Each process has one, and its share of the images.
            seconds = _timed(asks[name], model, batch)
        return None if seconds is None else seconds / processes

    parts = {name: replace(part, seconds_per_image=per_image(name)) for name, part in parts.items()}
    parts |= {name: replace(parts[name], seconds_apart=value.apart()) for name, value in asks.items() if value.apart}
    learning = [parts[LEARNING].seconds, parts[VALIDATIONS].seconds] if limit is None else [limit]
    again = [*learning, parts[MAP].seconds, parts[TEST].seconds]
    whole = None if None in again else sum(seconds or 0.0 for seconds in again)
    repeated = [name for name, value in asks.items() if value.repeats_run]
    return parts | {name: replace(parts[name], seconds_apart=whole) for name in repeated}


def _num_losses(config: RunConfig, model: Reprogrammed) -> int:
    """How often a step asks for each image at the most: once where there is nothing to improve."""
    if not model.learned_parameters():
        return 1
    variant, options = configure("learners", config.learner)
    learner = variant(options)
    if variant.access != "gradient":
        learner.start(model.learned_parameters())  # The points it compares may depend on how many numbers there are.
    return int(learner.num_losses)


def _learning(
    config: RunConfig, model: Reprogrammed, task: Task, batch_size: int, processes: int
) -> Callable[[Tensor], Any] | None:
    """A function that computes loss and gradient of images as a step does, in microbatches, and changes nothing.

    None for a learner that only asks: how long its steps take isn't known.
    """
    if configure("learners", config.learner)[0].access != "gradient":
        return None
    device = model.canvas.frame.device
    microbatch = -(-batch_size // (config.num_microbatches or usual_number(batch_size, max(processes, 1), device)))

    def learn(images: Tensor) -> None:
        labels = task.train.labels[: len(images)].to(device)
        with torch.enable_grad(), model.host.in_precision(config.precision):
            for some, their_labels in zip(
                torch.split(images, microbatch), torch.split(labels, microbatch), strict=True
            ):
                loss = loss_of(model, some, their_labels, config.loss)
                torch.autograd.grad(loss, model.learned_parameters(), allow_unused=True)

    return learn


@torch.no_grad()
def _timed(asks: Asks, model: Reprogrammed, images: Tensor) -> float | None:
    """The seconds that an image takes; None where that can't be measured: the run itself will say why."""
    if asks.ask is None:
        return None
    device = model.canvas.frame.device

    def seconds(count: int) -> float:
        assert asks.ask is not None
        start = time.monotonic()
        asks.ask(images[:count].to(device))
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.monotonic() - start

    try:
        with model.host.uncounted(), seeded(None, device):
            seconds(2)  # What is prepared once is prepared here.
            few = min(8, len(images))
            count = min(len(images), max(few, round(few * LIMIT_S / max(seconds(few), 1e-6))))
            return seconds(count) / (count * asks.views)
    except Exception:
        return None
