"""The contract of a loss: it turns a host's answers to a batch into a number for each image."""

from dataclasses import dataclass
from typing import Any, ClassVar

from jaxtyping import Float, Int
from torch import Tensor

from reprogram.registry import Component


@dataclass(frozen=True, kw_only=True)
class Answered:
    """What is known of a batch after the host has answered.

    Attributes:
        host: b × K host scores, logits or the evidence of an answer; what the label map doesn't read may be NaN,
            unless the loss says `reads_host`.
        task: b × k task scores, which the label map made of them.
        labels: b class indices.
        single_labels: the k host labels whose scores the task scores are; None for label maps of another kind.
        counts: k × K, how often each host label was the largest for images of each class, in earlier answers that the
            label map keeps; None where it keeps none.
        features: b × d, the input of the host's last layer; None unless the loss says `reads_features`.
    """

    host: Float[Tensor, "b K"]
    task: Float[Tensor, "b k"]
    labels: Int[Tensor, " b"]
    single_labels: Int[Tensor, " k"] | None = None
    counts: Float[Tensor, "k K"] | None = None
    features: Float[Tensor, "b d"] | None = None


class Loss(Component):
    """What learning minimises. An author writes `losses`.

    Attributes:
        differentiable: whether the loss has a gradient with respect to the scores that says where to go. One without is
            refused for learners that follow gradients.
        reads_host: whether all K host scores have to be computed, and not only those that the label map reads.
        reads_features: whether the features of the host's last layer have to be computed, in a second run of the host
            that gives its gradient.
        whole_batch: whether the loss of an image depends on the answers to the others, so that the batch isn't computed
            in microbatches.
        bounded: whether the loss has a lower bound with a label map that learns its scores' scale.
        needs_own_labels: whether the loss asks for the host's probability of a task label, so that label maps are
            refused whose task labels have no host labels of their own.

    Args:
        config: the variant's `Config`.
    """

    differentiable: ClassVar[bool] = True
    reads_host: ClassVar[bool] = False
    reads_features: bool = False
    whole_batch: ClassVar[bool] = False
    bounded: ClassVar[bool] = True
    needs_own_labels: ClassVar[bool] = False

    def __init__(self, config: Any) -> None:
        self.config = config

    def files_digest(self) -> str:
        """SHA-256 of what the files hold that the options name; by default they name none, and it is empty."""
        return ""

    def losses(self, answered: Answered) -> Float[Tensor, " b"]:
        """The loss of each image.

        Args:
            answered: the batch and what is known of it.

        Returns:
            b numbers, smaller ones for better answers; learning minimises their mean.
        """
        raise NotImplementedError
