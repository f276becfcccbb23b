"""What an audit runs on: the host, the tasks, the rungs of access and how each is attacked."""

from dataclasses import dataclass
from typing import Literal

Rung = Literal["gradient", "scores", "rounded-scores", "top-5", "label"]
"""What an attacker sees of the host: a rung of access."""

RUNGS: tuple[Rung, ...] = ("gradient", "scores", "rounded-scores", "top-5", "label")
"""The rungs, the one with the most access first."""


@dataclass(frozen=True, kw_only=True)
class AuditedHost:
    """The host that was audited.

    Attributes:
        spec: the spec that was given; the name of a host that Python code passed.
        id: the host's own name.
        fingerprint: SHA-256 of weights and preprocessing, or unverified:NAME:HASH where no weights are to be seen.
        access: what it gives away: gradient, scores, top-k or label.
        num_classes: K, the number of its labels.
        input: channels, height and width in pixels.
        licence: of its weights.
        is_local: whether this machine computed its answers.
        file: the path of its weights or of its Python file, where the spec names one; else empty.
    """

    spec: str
    id: str
    fingerprint: str
    access: Literal["gradient", "scores", "top-k", "label"]
    num_classes: int
    input: tuple[int, int, int]
    licence: str
    is_local: bool
    file: str


@dataclass(frozen=True, kw_only=True)
class AuditedTask:
    """A task that the audit tried to get out of the host.

    Attributes:
        name: its short name in the tables.
        spec: the task's spec.
        difficulty: "easy", "medium" or "hard" for those of a battery, "own" for one that the user gave.
        fingerprint: SHA-256 of class names, images and labels; empty where no cell was finished.
        num_classes: k.
        train_images: labelled images that an attacker has, as the battery says; None for all.
    """

    name: str
    spec: str
    difficulty: Literal["easy", "medium", "hard", "own"]
    fingerprint: str
    num_classes: int
    train_images: int | None


@dataclass(frozen=True, kw_only=True)
class Attack:
    """How a rung is attacked: what each cell of the rung is configured with.

    Attributes:
        rung: the rung of access.
        host: the spec of the host as that rung shows it.
        canvas: where the task image goes.
        program: what is learned.
        label_map: from host labels to task labels.
        learner: what improves the program.
        loss: what is minimised.
        batch_size: images a step.
    """

    rung: Rung
    host: str
    canvas: str
    program: str
    label_map: str
    learner: str
    loss: str
    batch_size: int


@dataclass(frozen=True, kw_only=True)
class Grid:
    """What the audit ran.

    Attributes:
        battery: the battery's name.
        version: the battery's version.
        tasks: the tasks.
        attacks: one for each rung.
        budgets: images that the host may be asked for while a program is learned, the smallest first.
        seeds: of the cells.
        test_images: images of each task's test split that accuracies are measured on; None for all.
    """

    battery: str
    version: int
    tasks: tuple[AuditedTask, ...]
    attacks: tuple[Attack, ...]
    budgets: tuple[int, ...]
    seeds: tuple[int, ...]
    test_images: int | None
