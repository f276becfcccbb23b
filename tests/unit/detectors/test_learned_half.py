"""Detectors that learn from benign queries learn from other accounts than those that set the threshold."""

from collections import Counter

import numpy as np
import pytest

import reprogram
from reprogram.detectors._calibration import LEAST_SHARE, learned_half
from reprogram.detectors.base import Query

IMAGE = np.zeros((3, 8, 8), dtype=np.uint8)


def of_accounts(generator, accounts, queries, begin=0):
    """Features that differ more from account to account than within one."""
    for i in range(accounts):
        centre = generator.normal(size=12)
        for _ in range(queries):
            answer = centre + 0.1 * generator.normal(size=12)
            yield Query(image=IMAGE, account=f"{begin + i}", answer=answer)


@pytest.mark.parametrize("spec", ["mahalanobis", "neighbours"])
def test_further_accounts_ring_about_as_often_as_was_allowed(spec):
    """Every second query of the same accounts to either half gave .26 and 1.0 where .05 was allowed."""
    generator, rates = np.random.default_rng(0), []
    for _ in range(5):
        detector = reprogram.load_detector(spec)
        detector.calibrate(list(of_accounts(generator, 60, 20)), 0.05)
        assert detector.num_calibrated == 600
        further = of_accounts(generator, 200, 3, begin=1000)
        rates.append(np.mean([detector.observe(q.image, q.account, q.answer).alarm for q in further]))
    assert np.mean(rates) < 0.1


@pytest.mark.parametrize("seed", range(5))
def test_accounts_are_kept_whole_in_halves_of_about_the_same_size(seed):
    generator = np.random.default_rng(seed)
    accounts = [f"a{i}" for i in generator.integers(0, 3 + 10 * seed, size=400)]
    learned = learned_half(accounts)
    assert not {a for a, one in zip(accounts, learned, strict=True) if one} & {
        a for a, one in zip(accounts, learned, strict=True) if not one
    }
    assert abs(sum(learned) - 200) <= max(Counter(accounts).values())
    assert learned == learned_half(accounts)


@pytest.mark.parametrize("accounts", [[""] * 7, ["a"] * 90 + ["b"] * 10, ["b", *["a"] * 50], []])
def test_one_account_that_is_nearly_all_is_cut_in_the_middle(accounts):
    learned = learned_half(accounts)
    assert learned == sorted(learned, reverse=True)
    assert 0 <= sum(learned) - (len(accounts) - sum(learned)) <= 1


def test_no_part_is_smaller_than_a_quarter():
    for large in range(1, 100):
        learned = learned_half(["a"] * large + ["b"] * (100 - large))
        assert LEAST_SHARE * 100 <= sum(learned) <= 100 - LEAST_SHARE * 100
