"""The losses that learning minimises."""

import functools
from collections.abc import Callable
from typing import cast

from torch import Tensor
from torch.nn import functional as F

from reprogram.errors import ReprogramError
from reprogram.labelmaps.base import LabelMap
from reprogram.model import Reprogrammed
from reprogram.registry import configure
from reprogram.types import LossKind

OVER_ALL: tuple[LossKind, ...] = ("host", "focal")
"""The losses whose softmax runs over all the host's labels."""

FOCUS = 2.0
"""The exponent γ of the loss "focal"."""

SMOOTHING = 0.1
"""The part of each label that the loss "smoothed" spreads evenly over all classes."""


def settled(kind: LossKind, label_map: LabelMap) -> LossKind:
    """The loss that a run minimises.

    Args:
        kind: the loss that was asked for.
        label_map: the run's label map.

    Returns:
        For "auto" the paper's, "host", where each task label has one host label that stays while the program is
        learned, else "task"; any other kind as it is.
    """
    if kind != "auto":
        return kind
    learned = any(parameter.requires_grad for parameter in label_map.parameters())
    stays = label_map.refit_schedule in ("never", "once") and not learned
    return "host" if stays and label_map.single_labels() is not None else "task"


@functools.cache
def settled_by_spec(kind: LossKind, label_map: str) -> LossKind:
    """The loss that a run minimises, before there is a host: whether "auto" and another kind are the same run.

    Args:
        kind: the loss that was asked for.
        label_map: the spec of the run's label map.

    Returns:
        As `settled`; the kind as it is where the spec can't be built.
    """
    if kind != "auto":
        return kind
    try:
        variant, options = configure("label-maps", label_map)
        # Which labels a map reads depends on host and task, and how it reads them on its options alone.
        return settled(kind, cast(LabelMap, variant(options, num_host_labels=1000, num_task_labels=2)))
    except (ReprogramError, ValueError):
        return kind


def losses_of(
    model: Reprogrammed,
    images: Tensor,
    labels: Tensor,
    kind: LossKind,
    listen: Callable[[Tensor], None] | None = None,
) -> Tensor:
    """The loss of each image, in nats.

    Args:
        model: the model that is learned.
        images: b × c × h × w, uint8 or floating point in [0, 1].
        labels: b class indices.
        kind: "task" is the cross-entropy of the task scores: the softmax runs over the task's labels, so the other
            host labels don't matter. "smoothed" is "task" with targets that give 0.9 to the right class and 0.1 / k to
            each of the k. "host" is the paper's −log P(h_g(y) | X_adv): the softmax runs over all the host's labels,
            so the host's own answer has to become "tench". "focal" is (1 − P)² times "host", with the same P: images
            that the host is already sure of count little. "auto" is one of these, see `settled`.
        listen: called with the b × K host scores that the loss is computed from.

    Returns:
        b losses.

    Reference: Elsayed, Goodfellow and Sohl-Dickstein, Adversarial Reprogramming of Neural Networks, 2019, equation 3.
    "focal": Lin et al., Focal Loss for Dense Object Detection, ICCV 2017, with the γ that BAR takes.
    """
    kind = settled(kind, model.label_map)
    host_labels = model.label_map.reads() if kind not in OVER_ALL and listen is None else None
    host_scores = model.host_scores(images, host_labels)
    if listen is not None:
        listen(host_scores.detach())
    task_scores: Tensor = model.label_map(host_scores)
    if kind not in OVER_ALL:
        # -log softmax(task scores)[y], the targets smoothed: b
        smoothing = SMOOTHING if kind == "smoothed" else 0.0
        return F.cross_entropy(task_scores, labels, reduction="none", label_smoothing=smoothing)
    # -log P = log sum_j exp(host score j) - task score y: b
    losses = host_scores.logsumexp(dim=1) - task_scores.gather(1, labels[:, None])[:, 0]
    # (1 - P)^γ · -log P
    return losses if kind == "host" else (1 - (-losses).exp()).clamp_min(0) ** FOCUS * losses


def loss_of(
    model: Reprogrammed,
    images: Tensor,
    labels: Tensor,
    kind: LossKind,
    listen: Callable[[Tensor], None] | None = None,
) -> Tensor:
    """The mean of `losses_of`, a scalar, in nats.

    Args:
        model: the model that is learned.
        images: b × c × h × w, uint8 or floating point in [0, 1].
        labels: b class indices.
        kind: which loss; see `losses_of`.
        listen: called with the b × K host scores that the loss is computed from.
    """
    return losses_of(model, images, labels, kind, listen).mean()
