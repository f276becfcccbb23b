"""What the host says of training images, for label maps that are fitted to it."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor

from reprogram.distributed import Group
from reprogram.labelmaps.base import LabelMap
from reprogram.losses import epoch_order
from reprogram.tasks.base import Split

BATCH = 64


@torch.no_grad()
def hear(
    label_map: LabelMap,
    host_scores: Callable[[Tensor], Tensor],
    split: Split,
    *,
    group: Group | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> None:
    """Show images to a host and have a label map hear its answers.

    Several processes take a batch each, in turn, and every one of them hears all: the same scores in the same order,
    whatever their number.

    Args:
        label_map: keeps the statistics.
        host_scores: b × c × h × w images to b × K scores.
        split: the images, the same in all processes.
        group: the processes; this one alone by default.
        stop: asked before each call; from then on the host isn't asked, and what is heard is worth nothing.
    """
    group = group or Group()
    batches = torch.split(torch.arange(len(split), device=split.labels.device), BATCH)
    for first in range(0, len(batches), group.size):
        turn = batches[first : first + group.size]
        scores = torch.zeros(len(turn), BATCH, label_map.num_host_labels, dtype=torch.float64)
        if group.rank < len(turn) and not stop():
            own = turn[group.rank]
            scores[group.rank, : len(own)] = host_scores(split.images[own]).cpu().double()
        for place, heard in zip(turn, group.total(scores), strict=True):
            label_map.hear(heard[: len(place)], split.labels[place])


def first_images(train: Split, seed: int, count: int) -> Split:
    """The training images that a map is fitted to before the first step: those that the first epoch begins with."""
    return train.take(epoch_order(len(train), seed, 0)[:count].to(train.labels.device))


def fitted_alone(
    label_map: LabelMap, host_scores: Callable[[Tensor], Tensor], train: Split, *, images: int = 0
) -> LabelMap:
    """A copy of a label map that is fitted to other answers, if it is one that is fitted at all.

    Args:
        label_map: stays as it is.
        host_scores: b × c × h × w images to b × K scores.
        train: the images; as many are taken as before the first step.
        images: that are taken at least, by a map that otherwise hears the steps' scores too.
    """
    if label_map.fitted == "never":
        return label_map
    label_map = copy.deepcopy(label_map)
    label_map.heard = None
    count = max(images, label_map.fit_images) if label_map.fitted == "steps" else label_map.fit_images
    hear(label_map, host_scores, first_images(train, 0, count))
    label_map.refit_to_heard()
    return label_map
