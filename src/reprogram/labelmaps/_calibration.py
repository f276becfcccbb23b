"""Collect the statistics that label maps are fitted to, from the host's scores of training images."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor

from reprogram.labelmaps.base import LabelMap
from reprogram.tasks._split import Split
from reprogram.utils.distributed import ProcessGroup
from reprogram.utils.seeding import epoch_order

BATCH = 64


@torch.no_grad()
def collect_statistics(
    label_map: LabelMap,
    host_scores: Callable[[Tensor], Tensor],
    split: Split,
    *,
    group: ProcessGroup | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> None:
    """Update a label map's statistics with the host's scores of images.

    Several processes compute a batch each, in turn, and each process updates its map with all batches: the same scores
    in the same order, whatever the number of processes.

    Args:
        label_map: the map, whose statistics change.
        host_scores: a function from b × c × h × w images to b × K scores.
        split: the images, the same in all processes.
        group: the processes; this one alone by default.
        stop: asked before each call of the host. Once it is true the host isn't called, and the statistics are useless.
    """
    group = group or ProcessGroup()
    batches = torch.split(torch.arange(len(split), device=split.labels.device), BATCH)
    for first in range(0, len(batches), group.size):
        turn = batches[first : first + group.size]
        # A batch for each process: 0 but for its own, so the sum over processes holds all.
        scores = torch.zeros(len(turn), BATCH, label_map.num_host_labels, dtype=torch.float64)
        if group.rank < len(turn) and not stop():
            shard = turn[group.rank]
            scores[group.rank, : len(shard)] = host_scores(split.images[shard]).cpu().double()
        for indices, batch in zip(turn, group.all_reduce(scores), strict=True):
            label_map.update(batch[: len(indices)], split.labels[indices])


def calibration_images(train: Split, seed: int, count: int) -> Split:
    """The training images that a map is fitted to before the first step: a random choice that the seed decides.

    It is drawn from all images alike, whatever classes they have, so that of few images a class may have none. With the
    sampling `shuffled` it is the beginning of the first epoch; a `stratified` epoch begins with other images.

    Args:
        train: the training images.
        seed: the run's.
        count: the number of images, at the most.
    """
    return train.take(epoch_order(len(train), seed, 0)[:count].to(train.labels.device))


def num_fit_images(label_map: LabelMap, available: int, least: int = 0, *, queries: int | None = None) -> int:
    """The number of images whose host scores a label map is fitted to in one pass.

    Args:
        label_map: the map.
        available: training images.
        least: the least number of images for a map that otherwise follows the scores of the steps too.
        queries: a budget that is all there for the map; None for no budget.

    Returns:
        0 for a map that is never fitted, else the budget, or the map's `fit_images`, or `least`, as far as there are so
        many.
    """
    if label_map.refit_schedule == "never":
        return 0
    if queries is not None:
        return min(queries, available)
    steps = label_map.refit_schedule == "steps"
    return min(max(least, label_map.fit_images) if steps else label_map.fit_images, available)


def fit_without_program(
    label_map: LabelMap,
    host_scores: Callable[[Tensor], Tensor],
    train: Split,
    *,
    images: int = 0,
    queries: int | None = None,
) -> LabelMap:
    """A copy of a label map, fitted anew to the host's scores of images without a program.

    Args:
        label_map: the map, which stays as it is; one that is never fitted is returned itself.
        host_scores: a function from b × c × h × w images to b × K scores.
        train: the training images; the copy is fitted to as many as the map before the first step.
        images: the least number of images for a map that otherwise follows the scores of the steps too.
        queries: a budget that is all there for the map; None for no budget.

    Returns:
        The fitted copy.
    """
    count = num_fit_images(label_map, len(train), images, queries=queries)
    return fit_to_answers(label_map, host_scores, train, count=count)


def fit_to_answers(
    label_map: LabelMap, host_scores: Callable[[Tensor], Tensor], train: Split, *, count: int, learned: bool = True
) -> LabelMap:
    """A copy of a label map, fitted anew to the host's scores of images.

    Args:
        label_map: the map, which stays as it is; one that is never fitted is returned itself.
        host_scores: a function from b × c × h × w images to b × K scores.
        train: the training images.
        count: how many of them the copy is fitted to.
        learned: whether gradients learned the map's parameters, which the copy keeps; else a fit may choose their
            start values.

    Returns:
        The fitted copy.
    """
    if label_map.refit_schedule == "never":
        return label_map
    label_map = copy.deepcopy(label_map)
    label_map.statistics = None
    collect_statistics(label_map, host_scores, calibration_images(train, 0, count))
    kept = {name: parameter.detach().clone() for name, parameter in label_map.named_parameters()} if learned else {}
    label_map.fit_from_statistics()
    label_map.load_state_dict(kept, strict=False)
    return label_map
