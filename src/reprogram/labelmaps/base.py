"""The contract of a label map: host scores in, task scores out."""

import math
from typing import Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from reprogram.errors import ConfigError
from reprogram.registry import Component

Fitted = Literal["never", "once", "epochs", "steps"]


class LabelMap(Component, nn.Module):
    """From host labels to task labels; h_g in the paper (Methods).

    An author writes `run`, and `assignment` for people to see which host labels speak for which task label. A map
    with parameters that require grad is learned together with the program. A map that follows the host's own answers
    sets `fitted` and writes `refit`.

    Attributes:
        fitted: when `fit` calls `refit`. "once": before the first step, after one pass over training images with the
            program's start values; the host is called for it, and metered. "epochs": so too, and before each later
            epoch, from the scores that the last epoch computed anyway. "steps": before the first step, and then
            whenever `follow` does it.
        fit_images: training images of that one pass, at the most.
        different_images: that can be heard; `fit` says how many. What comes beyond was heard before.

    Args:
        config: the variant's `Config`.
        num_host_labels: K.
        num_task_labels: k.

    Raises:
        ConfigError: the host has too few labels.
    """

    fitted: Fitted = "never"
    fit_images: int = 2_000
    different_images: float = math.inf

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if cls.fitted not in get_args(Fitted):
            raise TypeError(
                f"{cls.__name__}.fitted is {cls.fitted!r}; one of {', '.join(get_args(Fitted))} is expected"
            )

    def __init__(self, config: object, *, num_host_labels: int, num_task_labels: int) -> None:
        super().__init__()
        self.config = config
        self.num_host_labels = num_host_labels
        self.num_task_labels = num_task_labels
        self.heard: Tensor | None = None
        if num_task_labels < 2:
            raise ConfigError(f"a task of {num_task_labels} class(es) can't be learned; it needs two or more")

    def run(self, scores: Float[Tensor, "b K"]) -> Float[Tensor, "b k"]:
        """Turn host scores into task scores."""
        raise NotImplementedError

    def assignment(self) -> list[list[int]]:
        """For each task label, the host labels that speak for it, the most important first."""
        raise NotImplementedError

    def weights(self) -> list[list[float]] | None:
        """How much each entry of `assignment` counts; None, the default, where all count alike."""
        return None

    def initialize(self, host_names: tuple[str, ...], task_names: tuple[str, ...]) -> None:
        """Choose by name, where a map does; called once for a new model, never for one from a file.

        Args:
            host_names: of the K host labels, "host label 0" and so on where they have none.
            task_names: of the k task labels.
        """

    def statistics(self) -> Float[Tensor, "*parts k K"]:
        """The statistics that `refit` gets, before anything is heard: k × K zeros; a map may keep several such."""
        return torch.zeros(self.num_task_labels, self.num_host_labels, dtype=torch.float64)

    def counted(self, scores: Float[Tensor, "b K"]) -> Float[Tensor, "*parts b K"]:
        """What each answer adds to the statistics; by default 1 for the largest score."""
        return F.one_hot(scores.argmax(dim=1), self.num_host_labels).to(scores.dtype)

    def refit(self, said: Float[Tensor, "*parts k K"]) -> None:
        """Fit the map to what the host says.

        Args:
            said: k × K, float64, on the CPU: what `counted` gave, summed over the images of each class. By default the
                number of images of class i that the host calls j. The row of a class without images is 0.
        """
        raise NotImplementedError

    def hear(self, scores: Float[Tensor, "b K"], labels: Int[Tensor, " b"]) -> None:
        """Add a batch to the statistics: sums are kept, however many images there are."""
        if self.heard is None:
            self.heard = self.statistics()
        self.heard.index_add_(-2, labels.cpu(), self.counted(scores).to("cpu", self.heard.dtype))

    def follow(self, scores: Float[Tensor, "b K"], labels: Int[Tensor, " b"]) -> None:
        """Called after each step with its scores, where `fitted` is "epochs" or "steps".

        By default it hears them, and with "steps" it fits.
        """
        self.hear(scores, labels)
        if self.fitted == "steps":
            self.refit_to_heard()

    def refit_to_heard(self) -> None:
        """Fit the map to the statistics, and forget them but with "steps"; without any the map stays."""
        if self.heard is not None:
            self.refit(self.heard)
        if self.fitted != "steps":
            self.heard = None

    def reads(self) -> Tensor | None:
        """The host labels whose scores `run` looks at; None, the default, stands for all. The others may be NaN."""
        return None

    def validate(self) -> None:
        """Refuse loaded tensors that make no sense, with a `ConfigError`; the reader of program files calls it."""

    def require_host_labels(self, needed: int) -> None:
        """Refuse a host with fewer than `needed` labels.

        Raises:
            ConfigError: says how many there are.
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
            ConfigError: another number of host labels.
        """
        if scores.ndim != 2 or scores.shape[1] != self.num_host_labels:
            raise ConfigError(
                f"scores of shape {tuple(scores.shape)} for a label map of {self.num_host_labels} host labels"
            )
        mapped = self.run(scores)
        assert mapped.shape == (scores.shape[0], self.num_task_labels), "a label map gives one score a task label"
        return mapped


class GroupMap(LabelMap):
    """A fixed map: task label i is spoken for by the host labels in row i of `groups`.

    `first`, `random` and `many-to-one` differ in how they choose the rows.
    """

    groups: Tensor

    def set_groups(self, groups: Int[Tensor, "k m"]) -> None:
        """Keep the chosen host labels; they are part of the saved program."""
        self.register_buffer("groups", groups.to(torch.int64))

    def assignment(self) -> list[list[int]]:
        """The rows."""
        return [[int(label) for label in row] for row in self.groups.tolist()]

    def reads(self) -> Tensor:
        """The chosen host labels."""
        return self.groups.flatten()

    def validate(self) -> None:
        """Host labels lie in range, and none speaks twice."""
        labels = self.groups.flatten()
        if labels.min() < 0 or labels.max() >= self.num_host_labels or torch.unique(labels).numel() != labels.numel():
            raise ConfigError(
                f"label map {self.name()}: host labels repeat or lie outside 0..{self.num_host_labels - 1}"
            )

    def run(self, scores: Float[Tensor, "b K"]) -> Float[Tensor, "b k"]:
        """The score of the one host label of each row."""
        return scores[:, self.groups[:, 0]]
