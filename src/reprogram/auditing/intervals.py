"""95 % intervals of a mean over test images and seeds, of which both are drawn by chance.

Every seed classifies test images, so that a number belongs to a seed and to an image. Neither the images nor the seeds
may be counted as if there were as many as numbers: the images that are hard are hard for all seeds, and a seed that
begins badly is bad on all images.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from reprogram.evaluation.metrics import Z_95, wilson_interval
from reprogram.evaluation.paired import tango_interval

NEVER = 2.0
"""Half of an interval is at least this over the number of images: what never happened on n images may still happen.

What happens at this rate stays unseen on n images with a chance of e⁻² = 13.5 %, so that the floor alone misses more
often than 2.5 %; docs/audit.md says where that counts."""

Rows = list[tuple[NDArray[np.int64], NDArray[np.float64]]]
"""For each seed the numbers of its test images, and a value for each of them."""


def two_way_interval(rows: Rows, low: float = -1.0, high: float = 1.0) -> tuple[float, float]:
    """The 95 % interval of the mean of values that depend on their seed and on their image.

    With the deviations r from the mean of N values, the variances of the mean are estimated by sums over clusters, as
    of two-way clusters (Cameron, Gelbach and Miller, Journal of Business & Economic Statistics 29, 2011):

        seeds      A = S / (S − 1) · Σ_seeds (Σ r)² / N²
        images     B = n / (n − 1) · Σ_images (Σ r)² / N²
        residuals  C = Σ r² / N²

    A holds the residuals' part, so that B − C is added to it. The few seeds get Student's quantile with S − 1 degrees
    of freedom, and the many images the normal one: half = √(t² A + z² max(B − C, 0)).

    Args:
        rows: for each of S ≥ 2 seeds, the image numbers and the values.
        low: the lowest value that the mean can have.
        high: the highest.

    Returns:
        The interval's ends.
    """
    mean, seeds, images, num_images = _parts(rows)
    quantile = float(student.ppf(0.975, len(rows) - 1))
    half = max(float(np.sqrt(quantile**2 * seeds + Z_95**2 * images)), NEVER / num_images)
    return max(mean - half, low), min(mean + half, high)


def _parts(rows: Rows) -> tuple[float, float, float, int]:
    """The mean, its variance by seeds (A), the rest of that by images (B - C, at least 0), and the number of images."""
    values = np.concatenate([v for _, v in rows]).astype(np.float64)
    mean, total, num_seeds = float(values.mean()), len(values), len(rows)
    _, columns = np.unique(np.concatenate([numbers for numbers, _ in rows]), return_inverse=True)
    by_image = np.bincount(columns, weights=values - mean)
    by_seed = np.array([(v - mean).sum() for _, v in rows])
    # A, B and C, as above
    seeds = (by_seed**2).sum() / total**2 * num_seeds / max(num_seeds - 1, 1)
    images = (by_image**2).sum() / total**2 * len(by_image) / max(len(by_image) - 1, 1)
    residuals = ((values - mean) ** 2).sum() / total**2 if num_seeds > 1 else 0.0
    return mean, float(seeds), float(max(images - residuals, 0.0)), len(by_image)


def accuracy_interval(rows: Rows) -> tuple[float, float]:
    """The interval of an accuracy; of one seed it is Wilson's, over test images alone.

    Args:
        rows: for each seed the image numbers, and 1 where the image was classified rightly, else 0.
    """
    if len(rows) > 1:
        return two_way_interval(rows, 0.0, 1.0)
    ((_, right),) = rows
    return wilson_interval(int(right.sum()), len(right))


def gain_interval(rows: Rows, chance: float | None = None) -> tuple[float, float]:
    """The interval of a net gain; of one seed it is Tango's, or Wilson's minus the chance, over test images alone.

    Args:
        rows: for each seed the image numbers, and the program's answer (1 right, 0 wrong) minus the term's.
        chance: the accuracy of guessing where that is the term, so that the values aren't whole numbers.
    """
    if len(rows) > 1:
        return two_way_interval(rows)
    ((_, values),) = rows
    if chance is not None:
        low, high = wilson_interval(round(float((values + chance).sum())), len(values))
        return low - chance, high - chance
    return tango_interval(int((values > 0).sum()), int((values < 0).sum()), len(values))


def difference_interval(
    new: float, new_interval: tuple[float, float], old: float, old_interval: tuple[float, float]
) -> tuple[float, float]:
    """The interval of the difference of two independent estimates, from theirs: d ± √(half_new² + half_old²).

    Each end takes the halves that point there (the square-and-add method; Newcombe, Statistics in Medicine 17, 1998).

    Args:
        new: an estimate.
        new_interval: its interval.
        old: the estimate that is subtracted.
        old_interval: its interval.
    """
    d = new - old
    low = d - np.hypot(new - new_interval[0], old_interval[1] - old)
    high = d + np.hypot(new_interval[1] - new, old - old_interval[0])
    return float(low), float(high)


def standard_error(rows: Rows) -> float:
    """The standard error of the mean over images, and over seeds where there are several; at least 1 / images.

    Args:
        rows: as in `two_way_interval`, of one seed or more.
    """
    _, seeds, images, num_images = _parts(rows)
    return float(max(np.sqrt(seeds + images), 1 / num_images))


def lower_end(rows: Rows) -> float:
    """The lower end of the mean's 95 % interval.

    For several seeds it is that of `two_way_interval`, for one seed mean - z · standard error, which says nothing of
    other seeds.

    Args:
        rows: as in `two_way_interval`, of one seed or more.
    """
    return two_way_interval(rows)[0] if len(rows) > 1 else float(_parts(rows)[0] - Z_95 * standard_error(rows))
