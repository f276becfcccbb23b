"""The difference of paired accuracies: Tango's interval against SciPy's inversion of its test, and its coverage."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.optimize import brentq, minimize_scalar
from scipy.stats import multinomial, norm

from reprogram.errors import DataError
from reprogram.evaluation.metrics import Z_95, wilson_interval
from reprogram.evaluation.paired import Paired, paired, tango_interval

CASES = [(12, 2, 50), (7, 1, 21), (6, 16, 161), (40, 20, 160), (25, 28, 618), (941, 3, 1000), (5, 5, 10)]


def score_statistic(d, b, c, n):
    """(b - c - n d) / sd, sd at the maximum of the multinomial likelihood over probabilities whose difference is d."""

    def log_likelihood(q):  # q: only the second succeeds; q + d: only the first.
        counts, cells = np.array([b, c, n - b - c]), np.array([q + d, q, 1 - 2 * q - d])
        return float((counts[counts > 0] * np.log(cells[counts > 0])).sum())

    low, high = max(0.0, -d), (1 - d) / 2
    q = minimize_scalar(lambda q: -log_likelihood(q), bounds=(low, high), method="bounded", options={"xatol": 1e-13}).x
    return (b - c - n * d) / math.sqrt(n * (2 * q + d - d * d))


@pytest.mark.parametrize(("b", "c", "n"), CASES)
def test_the_ends_are_where_scipy_inverts_the_score_test(b, c, n):
    low, high = tango_interval(b, c, n)
    d, far = (b - c) / n, 1 - 1e-6
    assert low == pytest.approx(brentq(lambda x: score_statistic(x, b, c, n) - Z_95, -far, d - 1e-9), abs=2e-6)
    assert high == pytest.approx(brentq(lambda x: score_statistic(x, b, c, n) + Z_95, d + 1e-9, far), abs=2e-6)
    assert low < d < high


def test_published_examples():
    """Fagerland, Lydersen and Laake, Statistical Analysis of Contingency Tables, chapter 8: stem cell transplantation.

    And R: PropCIs::scoreci.mp(25, 28, 618, conf.level = 0.90), which subtracts the other way round.
    """
    assert tango_interval(1, 7, 21) == pytest.approx((-0.517, -0.026), abs=5e-4)
    assert tango_interval(28, 25, 618, z=norm.ppf(0.95)) == pytest.approx((-0.0148, 0.0247), abs=5e-5)


def test_where_no_pair_differs_the_ends_are_z2_over_n_plus_z2():
    """The score test of (0 - n d)² <= z² n d (1 - d), solved for d by hand; as wide as Wilson's for 0 of n."""
    for n in (1, 20, 1000):
        low, high = tango_interval(0, 0, n)
        assert -low == high == pytest.approx(Z_95**2 / (n + Z_95**2)) == pytest.approx(wilson_interval(0, n)[1])


def test_it_mirrors_narrows_and_stays_in_range():
    for n in (1, 2, 7, 12):
        for b, c in ((b, c) for b, c in itertools.product(range(n + 1), repeat=2) if b + c <= n):
            low, high = tango_interval(b, c, n)
            assert -1 <= low <= (b - c) / n <= high <= 1
            assert tango_interval(c, b, n) == (-high, -low)
    assert tango_interval(7, 0, 7)[1] == 1.0 and tango_interval(0, 7, 7)[0] == -1.0
    widths = [np.diff(tango_interval(30 * k, 10 * k, 100 * k))[0] for k in (1, 4, 16)]
    assert widths[0] > 1.9 * widths[1] > 1.9**2 * widths[2]


@pytest.mark.parametrize("cells", [(0.05, 0.05), (0.3, 0.1), (0.02, 0.2), (0.85, 0.02), (0.4, 0.4)])
def test_it_covers_the_true_difference_in_95_of_100_draws(cells):
    """Exactly, by the probability of each table of 100 pairs: nearly, as the counts are whole numbers."""
    n, coverage = 100, 0.0
    tables = [(b, c) for b in range(n + 1) for c in range(n + 1 - b)]
    odds = multinomial.pmf([(b, c, n - b - c) for b, c in tables], n, [*cells, 1 - sum(cells)])
    for (b, c), probability in zip(tables, odds, strict=True):
        low, high = tango_interval(b, c, n)
        coverage += probability * (low <= cells[0] - cells[1] <= high)
    assert 0.94 < coverage < 0.965


def test_pairs_are_counted_image_by_image():
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    program, alone = torch.tensor([0, 1, 2, 1, 0, 0]), torch.tensor([0, 0, 0, 0, 0, 1])
    counted = paired(program, alone, labels)
    assert counted == Paired(both=1, only_program=2, only_map=1, neither=2)
    assert counted.n == 6 and counted.difference == pytest.approx(1 / 6)
    stored = counted.to_json()
    assert tuple(stored["interval"]) == tango_interval(2, 1, 6) and stored["method"] == "Tango score"
    assert {key: stored[key] for key in ("both", "only_program", "only_map", "neither", "n")} == {
        "both": 1, "only_program": 2, "only_map": 1, "neither": 2, "n": 6,
    }  # fmt: skip


@pytest.mark.parametrize(("b", "c", "n"), [(1, 1, 0), (-1, 1, 5), (1, -1, 5), (3, 3, 5)])
def test_counts_that_are_none_are_refused(b, c, n, one_line):
    with pytest.raises(DataError) as error:
        tango_interval(b, c, n)
    one_line(error, f"{n} pairs")


def test_other_images_are_refused(one_line):
    with pytest.raises(DataError) as error:
        paired(torch.zeros(3), torch.zeros(3), torch.zeros(4))
    one_line(error, "3, 3 and 4 images")
