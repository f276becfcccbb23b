"""Fewer images for the same comparison: what a table of paired losses says about the points it compares.

A table has a row for each point and a column for each image, p × m; NaN where a point wasn't asked any more. Rows
without NaN are the points that are still in the race: they were asked on the same images.
"""

import itertools

import torch
from torch import Tensor

LEAST_IMAGES = 4
"""The images on which all points are asked before one may leave."""

ROUNDS = 4
"""The most rounds of a batch; each doubles the images that were asked."""


def rounds(n: int) -> list[slice]:
    """The parts of a batch after which points may leave: an eighth of it at first, then as many again.

    Args:
        n: images of the batch.
    """
    ends = [n]
    while len(ends) < ROUNDS and ends[0] >= 2 * LEAST_IMAGES:
        ends.insert(0, ends[0] // 2)
    return [slice(start, end) for start, end in itertools.pairwise([0, *ends])]


def in_race(table: Tensor) -> Tensor:
    """Which points were asked on every image.

    Args:
        table: p × m losses.

    Returns:
        p, bool.
    """
    return ~table.isnan().any(dim=1)


def staying(table: Tensor, errors: float) -> Tensor:
    """Which points stay: all but those that clearly belong to the worse half.

    A point leaves when its mean loss is above that of the last point of the better half by more than `errors` standard
    errors of their difference, a paired t-test. Learners by ranks give the worse half no weight, or nearly none: its
    order hardly matters to them.

    Args:
        table: p × m losses.
        errors: the number of standard errors.

    Returns:
        p, bool; at least half of the points.
    """
    stay, images = in_race(table), table.shape[1]
    if images < LEAST_IMAGES:
        return stay
    order = table.mean(dim=1).nan_to_num(nan=torch.inf).argsort()
    better = order[: max(len(table) // 2, 1)]
    # mean(l - l_ref) <= z · std(l - l_ref) / √m
    distance = table - table[better[-1]]
    stay &= distance.mean(dim=1) <= errors * distance.std(dim=1) / images**0.5
    stay[better] = True
    return stay


def mean_losses(table: Tensor) -> Tensor:
    """The mean loss of each point, as if all had been asked on all images.

    A point that left has the mean loss of the others on all images, plus its mean distance from theirs on the images
    that it was asked on.

    Args:
        table: p × m losses, of which at least one row is whole.

    Returns:
        p.
    """
    # mean of l_ref + mean over its own images of (l - l_ref): l_ref is the mean over the points in the race
    rows = table.double()  # Equal means stay equal: they are rounded once, in the end.
    reference = rows[in_race(table)].mean(dim=0)
    return (reference.mean() + (rows - reference).nanmean(dim=1)).to(table)


def reliability(table: Tensor) -> float:
    """The part of the variance of the points' mean losses that isn't noise of the images: Cronbach's α.

    Points are compared on the same images, so that what makes an image hard for all of them is no noise. Of the points
    in the race; 1 where one alone is left, and 0 where all losses are equal.

    Reference: Cronbach, Coefficient Alpha and the Internal Structure of Tests, Psychometrika 1951; as 1 − 1 / F of a
    two-way analysis of variance: Hoyt, Psychometrika 1941.

    Args:
        table: p × m losses.

    Returns:
        A number up to 1; it may be negative.
    """
    rows = table[in_race(table)].double()
    points, images = rows.shape
    if points < 2 or images < 2:
        return float(points < 2)
    # F = m · var(means of the points) / mean square of what neither points nor images explain
    means = rows.mean(dim=1, keepdim=True)
    rest = rows - means - rows.mean(dim=0) + rows.mean()
    noise = rest.square().sum() / ((points - 1) * (images - 1))
    signal = images * means.var()
    return float(1 - noise / signal) if signal > 0 else 0.0
