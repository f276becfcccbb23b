"""The contract of a label map: it turns host scores into task scores."""

import math
from typing import Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from reprogram.errors import ConfigError
from reprogram.registry import Component
from reprogram.utils.contracts import Writes, breach

RefitSchedule = Literal["never", "once", "epochs", "steps"]


class LabelMap(Component, nn.Module):
    """Maps host scores to task scores; h_g in the paper (Methods).

    An author writes `run`, and `assignment`, which shows people the host labels that stand for each task label. A map
    with parameters that require grad is learned together with the program. A map that is fitted to statistics of the
    host's scores sets `refit_schedule` and writes `refit`.

    Attributes:
        reads_top_label: whether `run` reads nothing of the scores but which one is the largest.
        has_own_labels: whether each task label has host labels of its own, and its score is one of theirs, or a mean, a
            maximum or such of them. The host's softmax then gives it a probability, which the losses `host` and `focal`
            ask for; with other maps these are refused, unless the map has `single_labels`.
        refit_schedule: when `fit` calls `refit`; "never" by default. "once": before the first step, after one pass over
            training images with the program's start values; the host is called for it, and metered. "epochs":
            likewise, and before each later epoch, from the scores that the last epoch computed anyway. "steps": before
            the first step, and then whenever `on_step` calls it.
        fit_images: the most training images in that one pass.
        different_images: the number of different training images in a run, which `fit` sets; statistics of more images
            than these hold repetitions.
        statistics: the sums of `update`; None before the first update, and after a fit unless the schedule is "steps".

    Args:
        config: the variant's `Config`.
        num_host_labels: K.
        num_task_labels: k.

    Raises:
        ConfigError: the host or the task has too few labels.
    """

    reads_top_label: bool = False
    has_own_labels: bool = False
    refit_schedule: RefitSchedule = "never"
    fit_images: int = 2_000
    different_images: float = math.inf

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if cls.refit_schedule not in get_args(RefitSchedule):
            raise TypeError(
                f"{cls.__name__}.refit_schedule is {cls.refit_schedule!r}; "
                f"one of {', '.join(get_args(RefitSchedule))} is expected"
            )

    def __init__(self, config: object, *, num_host_labels: int, num_task_labels: int) -> None:
        super().__init__()
        self.config = config
        self.num_host_labels = num_host_labels
        self.num_task_labels = num_task_labels
        self.statistics: Tensor | None = None
        if num_task_labels < 2:
            raise ConfigError(f"a task of {num_task_labels} class(es) can't be learned; it needs two or more")

    @property
    def follows_steps(self) -> bool:
        """Whether `fit` calls `on_step` with the host scores of each step."""
        return self.refit_schedule in ("epochs", "steps")

    @property
    def fit_decides(self) -> bool:
        """Whether `refit` chooses what the map makes of host scores, so that the map is of use before it is learned."""
        return self.refit_schedule != "never"

    def run(self, scores: Float[Tensor, "b K"]) -> Float[Tensor, "b k"]:
        """Turn host scores into task scores.

        Args:
            scores: b × K, logits.

        Returns:
            b × k, logits of the task's classes.
        """
        raise NotImplementedError

    def assignment(self) -> list[list[int]]:
        """For each task label, the host labels that stand for it, the most important first."""
        raise NotImplementedError

    def weights(self) -> list[list[float]] | None:
        """The weight of each entry of `assignment`; None, the default, where all count alike."""
        return None

    def initialize(self, host_names: tuple[str, ...], task_names: tuple[str, ...]) -> None:
        """Choose host labels by name, if a map does; called once for a new model, never for one from a file.

        Args:
            host_names: the names of the K host labels, "host label 0" and so on where they have none.
            task_names: the names of the k task labels.
        """

    def empty_statistics(self) -> Float[Tensor, "*parts k K"]:
        """The statistics before the first update: k × K zeros by default; a map may keep several such matrices."""
        return torch.zeros(self.num_task_labels, self.num_host_labels, dtype=torch.float64)

    def contribution(self, scores: Float[Tensor, "b K"]) -> Float[Tensor, "*parts b K"]:
        """The numbers that each image adds to the statistics; by default 1 for the largest score.

        Args:
            scores: b × K, logits. Where all labels are alike, the host said nothing, and by default nothing is counted.

        Returns:
            b × K, row i for image i; or several such matrices, as many as `empty_statistics` has.
        """
        top = F.one_hot(scores.argmax(dim=1), self.num_host_labels).to(scores.dtype)
        return top * (scores.amax(dim=1, keepdim=True) > scores.amin(dim=1, keepdim=True))

    def refit(self, statistics: Float[Tensor, "*parts k K"]) -> None:
        """Fit the map to statistics of the host's scores.

        Args:
            statistics: k × K, float64, on the CPU: the results of `contribution`, summed over the images of each class.
                By default the number of images of class i whose largest score is host label j. The row of a class
                without images is 0.
        """
        raise NotImplementedError

    def update(
        self, scores: Float[Tensor, "b K"], labels: Int[Tensor, " b"], weights: Float[Tensor, " b"] | None = None
    ) -> None:
        """Add a batch to the statistics, which are sums: their size doesn't depend on the number of images.

        Args:
            scores: b × K host scores.
            labels: b task labels.
            weights: b numbers, how much each row counts; None for 1 each.
        """
        if self.statistics is None:
            self.statistics = self.empty_statistics()
        added = self.contribution(scores).to("cpu", self.statistics.dtype)
        if weights is not None:
            added = added * weights.to(added)[:, None]
        self.statistics.index_add_(-2, labels.cpu(), added)

    def on_step(
        self, scores: Float[Tensor, "b K"], labels: Int[Tensor, " b"], weights: Float[Tensor, " b"] | None = None
    ) -> None:
        """Follow a step of learning; `fit` calls this where `refit_schedule` is "epochs" or "steps".

        By default the map updates its statistics, and with "steps" it is fitted to them.

        Args:
            scores: b × K host scores of the step's batch. Where a step compares points, there is a row for each answer
                that was paid for: several for an image.
            labels: b task labels.
            weights: b numbers, 1 over the number of the image's rows; None where each image has one row.
        """
        self.update(scores, labels, *(() if weights is None else (weights,)))
        if self.refit_schedule == "steps":
            self.fit_from_statistics()

    def fit_from_statistics(self) -> None:
        """Fit the map to its statistics, if there are any, and clear them unless `refit_schedule` is "steps"."""
        if self.statistics is not None:
            self.refit(self.statistics)
        if self.refit_schedule != "steps":
            self.statistics = None

    def answer_counts(self) -> Float[Tensor, "k K"] | None:
        """How often each host label was the largest for images of each class; None where no such counts are kept."""
        return None

    def reads(self) -> Tensor | None:
        """The host labels whose scores `run` reads, all of them if None, the default. The other scores may be NaN."""
        return None

    def single_labels(self) -> Int[Tensor, " k"] | None:
        """The one host label of each task label, where its score is the task score; None, the default, for other maps.

        With such a map the host's top label alone is an answer, and the paper's loss can be minimised.
        """
        return None

    def validate(self) -> None:
        """Refuse loaded tensors that make no sense, with a `ConfigError`; the reader of program files calls it."""

    def require_host_labels(self, needed: int) -> None:
        """Refuse a host with too few labels.

        Args:
            needed: the least number of host labels.

        Raises:
            ConfigError: the host has fewer; the message says how many.
        """
        if needed > self.num_host_labels:
            fewer = " or fewer labels a class" if needed > self.num_task_labels else ""
            raise ConfigError(
                f"label map {self.name()}: {needed} host labels are needed for {self.num_task_labels} task labels, "
                f"the host has {self.num_host_labels}; use a host with more classes{fewer}"
            )

    def forward(self, scores: Float[Tensor, "b K"]) -> Float[Tensor, "b k"]:
        """Map a batch of host scores.

        Args:
            scores: b × K, logits.

        Returns:
            b × k, logits of the task's classes.

        Raises:
            ConfigError: the scores have another number of host labels, or `run` doesn't do what it says.
        """
        if scores.ndim != 2 or scores.shape[1] != self.num_host_labels:
            raise ConfigError(
                f"scores of shape {tuple(scores.shape)} for a label map of {self.num_host_labels} host labels"
            )
        written = Writes(scores)
        mapped = self.run(scores)
        if written:
            raise breach(self, "changes the host's scores in place; make a new tensor")
        if mapped.shape != (scores.shape[0], self.num_task_labels):
            raise breach(
                self,
                f"makes scores of shape {tuple(mapped.shape)} of those of {scores.shape[0]} images; one score for each "
                f"of {self.num_task_labels} task labels is expected",
            )
        return mapped


class GroupMap(LabelMap):
    """A map with a group of host labels for each task label: row i of `groups` stands for task label i.

    Attributes:
        groups: k × m host labels, int64; variants differ in how they choose them.
    """

    has_own_labels = True
    groups: Tensor

    def set_groups(self, groups: Int[Tensor, "k m"]) -> None:
        """Register the groups as a buffer, which is part of the saved program.

        Args:
            groups: k × m host labels, no two the same.
        """
        self.register_buffer("groups", groups.to(torch.int64))

    def assignment(self) -> list[list[int]]:
        """The rows of `groups`."""
        return [[int(label) for label in row] for row in self.groups.tolist()]

    def reads(self) -> Tensor:
        """The host labels of all groups."""
        return self.groups.flatten()

    def single_labels(self) -> Int[Tensor, " k"] | None:
        """The host label of each row, where rows have one."""
        return self.groups[:, 0] if self.groups.shape[1] == 1 else None

    def validate(self) -> None:
        """Refuse host labels that are out of range or occur twice."""
        labels = self.groups.flatten()
        if labels.min() < 0 or labels.max() >= self.num_host_labels or torch.unique(labels).numel() != labels.numel():
            raise ConfigError(
                f"label map {self.name()}: host labels repeat or lie outside 0..{self.num_host_labels - 1}"
            )

    def run(self, scores: Float[Tensor, "b K"]) -> Float[Tensor, "b k"]:
        """The score of the one host label of each row."""
        return scores[:, self.groups[:, 0]]
