"""What learning minimises, and the order in which it sees the images."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from reprogram.model import Reprogrammed
from reprogram.settings import LossKind

SMOOTHING = 0.1
"""Of labels, in the loss "smoothed"."""


def losses_of(
    model: Reprogrammed,
    images: Tensor,
    labels: Tensor,
    kind: LossKind,
    listen: Callable[[Tensor], None] | None = None,
) -> Tensor:
    """The loss of each image, in nats.

    Args:
        model: what is learned.
        images: b × c × h × w.
        labels: b.
        kind: "host" is the paper's −log P(h_g(y) | X_adv) (equation 3): the softmax runs over all the host's
            labels, so the host itself must come to say "tench". "task" is the cross-entropy of the task scores: the
            softmax runs over the task's labels, the other host labels may say what they like. "smoothed" is "task"
            with labels that are right with 0.9 and any of the k with 0.1.
        listen: given the b × K host scores that the loss is made of.

    Returns:
        b losses.
    """
    wanted_labels = model.label_map.reads() if kind != "host" and listen is None else None
    host_scores = model.host_scores(images, wanted_labels)
    if listen is not None:
        listen(host_scores.detach())
    task_scores: Tensor = model.label_map(host_scores)
    if kind != "host":
        smoothing = SMOOTHING if kind == "smoothed" else 0.0
        return F.cross_entropy(task_scores, labels, reduction="none", label_smoothing=smoothing)
    return host_scores.logsumexp(dim=1) - task_scores.gather(1, labels[:, None])[:, 0]


def loss_of(
    model: Reprogrammed,
    images: Tensor,
    labels: Tensor,
    kind: LossKind,
    listen: Callable[[Tensor], None] | None = None,
) -> Tensor:
    """The mean of `losses_of`, a scalar."""
    return losses_of(model, images, labels, kind, listen).mean()


def epoch_order(n: int, seed: int, epoch: int) -> Tensor:
    """The order of n images in an epoch: a permutation, a function of (seed, epoch) alone."""
    generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)
    return torch.randperm(n, generator=generator)
