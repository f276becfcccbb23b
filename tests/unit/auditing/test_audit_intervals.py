"""Intervals over test images and seeds: their formula against plain NumPy, and their coverage in simulation."""

import numpy as np
import pytest
from scipy.stats import norm, t

from reprogram.auditing.intervals import (
    accuracy_interval,
    difference_interval,
    gain_interval,
    lower_end,
    standard_error,
    two_way_interval,
)
from reprogram.evaluation.metrics import wilson_interval
from reprogram.evaluation.paired import tango_interval


def rows_of(values):
    return [(np.arange(values.shape[1]), row) for row in values]


def drawn(rng, seeds, n, spread, program=0.7, term=0.55):
    """Differences of two classifiers of which each is right about hard images less often, seeds being better or worse.

    A probit model: right where a + u_seed + v_image + noise is above 0, so that the mean accuracies are known.
    """
    image = rng.normal(0, 1, n)

    def right(accuracy, sd):
        level = norm.ppf(accuracy) * np.sqrt(2 + sd**2)
        return level + rng.normal(0, sd, (seeds, 1)) + image + rng.normal(0, 1, (seeds, n)) > 0

    return right(program, spread).astype(float) - right(term, spread / 3)


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("spread", [0.0, 0.8])
def test_95_percent_intervals_cover_at_least_93_percent(seeds, spread):
    rng, trials = np.random.default_rng(seeds), 400
    covered = 0
    for _ in range(trials):
        low, high = gain_interval(rows_of(drawn(rng, seeds, 100, spread)))
        covered += low <= 0.15 <= high
    assert covered / trials >= 0.93 - 2.6 * np.sqrt(0.93 * 0.07 / trials)  # By chance below in one of 200 simulations.


def test_the_interval_is_its_formula():
    values = drawn(np.random.default_rng(0), 4, 60, 0.5) + np.linspace(-1, 1, 60)
    r = values - values.mean()
    total = r.size
    a = 4 / 3 * (r.sum(axis=1) ** 2).sum() / total**2
    b = 60 / 59 * (r.sum(axis=0) ** 2).sum() / total**2
    c = (r**2).sum() / total**2
    half = np.sqrt(t.ppf(0.975, 3) ** 2 * a + norm.ppf(0.975) ** 2 * max(b - c, 0))
    assert two_way_interval(rows_of(values)) == pytest.approx((values.mean() - half, values.mean() + half))
    assert standard_error(rows_of(values)) == pytest.approx(np.sqrt(a + max(b - c, 0)))


def test_other_images_of_each_seed_are_told_apart_from_the_same_images():
    """The same image's answers of several seeds aren't independent: the interval knows which they are."""
    rng = np.random.default_rng(3)
    values = np.repeat(rng.integers(0, 2, (1, 200)).astype(float), 4, axis=0)
    same = two_way_interval(rows_of(values))
    other = two_way_interval([(np.arange(200) + 200 * i, rng.permutation(row)) for i, row in enumerate(values)])
    assert same[1] - same[0] > 1.5 * (other[1] - other[0])


def test_one_seed_has_the_interval_over_images():
    right = np.array([1.0] * 30 + [0.0] * 10)
    assert accuracy_interval([(np.arange(40), right)]) == wilson_interval(30, 40)
    minus = np.array([1.0] * 12 + [-1.0] * 5 + [0.0] * 23)
    assert gain_interval([(np.arange(40), minus)]) == tango_interval(12, 5, 40)
    low, high = wilson_interval(30, 40)
    assert gain_interval([(np.arange(40), right - 0.1)], chance=0.1) == pytest.approx((low - 0.1, high - 0.1))


def test_what_never_differed_still_has_a_width():
    low, high = gain_interval(rows_of(np.ones((3, 50))))
    assert (low, high) == pytest.approx((0.96, 1.0))
    low, high = accuracy_interval(rows_of(np.zeros((3, 50))))
    assert (low, high) == pytest.approx((0.0, 0.04))


def test_the_interval_of_a_difference_is_that_of_normal_estimates():
    low, high = difference_interval(0.5, (0.4, 0.6), 0.3, (0.25, 0.35))
    assert (low, high) == pytest.approx((0.2 - np.hypot(0.1, 0.05), 0.2 + np.hypot(0.1, 0.05)))


@pytest.mark.parametrize("seeds", [2, 3])
def test_a_budget_that_brings_nothing_seldom_seems_to_rise(seeds):
    rng, trials = np.random.default_rng(seeds), 300
    rings = sum(lower_end(rows_of(drawn(rng, seeds, 200, 0.4, program=0.6, term=0.6))) > 0 for _ in range(trials))
    assert rings / trials < 0.06  # Of one side of 95 %: 2.5 % are meant.


def test_the_lower_end_for_one_seed_is_the_normal_one():
    values = np.array([0, 1, 0, 0, -1, 1, 1, 0, 1, 0], float)
    error = np.sqrt(((values - values.mean()) ** 2).sum() / 100 * 10 / 9)
    assert lower_end([(np.arange(10), values)]) == pytest.approx(values.mean() - norm.ppf(0.975) * error)
