"""What learning minimises, and the order in which it sees the images."""

import torch
from torch import Tensor
from torch.nn import functional as F

from reprogram.model import Reprogrammed
from reprogram.settings import LossKind


def losses_of(model: Reprogrammed, images: Tensor, labels: Tensor, kind: LossKind) -> Tensor:
    """The loss of each image, in nats.

    Args:
        model: what is learned.
        images: b × c × h × w.
        labels: b.
        kind: "host" is the paper's −log P(h_g(y) | X_adv) (equation 3): the softmax runs over all the host's
            labels, so the host itself must come to say "tench". "task" is the cross-entropy of the task scores: the
            softmax runs over the task's labels, the other host labels may say what they like.

    Returns:
        b losses.
    """
    if kind == "task":
        return F.cross_entropy(model(images), labels, reduction="none")
    host_scores = model.host_scores(images)
    wanted: Tensor = model.label_map(host_scores).gather(1, labels[:, None])[:, 0]
    return host_scores.logsumexp(dim=1) - wanted


def loss_of(model: Reprogrammed, images: Tensor, labels: Tensor, kind: LossKind) -> Tensor:
    """The mean of `losses_of`, a scalar."""
    return losses_of(model, images, labels, kind).mean()


def epoch_order(n: int, seed: int, epoch: int) -> Tensor:
    """The order of n images in an epoch: a permutation, a function of (seed, epoch) alone."""
    generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)
    return torch.randperm(n, generator=generator)
