"""Accounts that have sent too little to say anything of set no threshold."""

import math

import numpy as np
import pytest

import reprogram
from reprogram.detectors.base import Query

WARM_UP = {
    "still-cells(least=9)": 8,
    "coarse-neighbours(k=8)": 8,
    "persistent-detail(least=9)": 8,
    "encoder-neighbours(k=8, history=20)": 8,
    "concentration(least=9, history=20)": 8,
    "energy(over=9)": 8,
    "largest-softmax(over=9)": 8,
}
"""Detectors that say nothing of an account's first queries, and how many these are."""


def traffic(accounts, queries, seed=0):
    """Pictures and answers of several accounts in turn."""
    generator = np.random.default_rng(seed)
    return [
        Query(
            image=generator.integers(0, 256, (3, 24, 24), dtype=np.uint8),
            account=f"{i % accounts}",
            answer=generator.normal(size=6),
        )
        for i in range(accounts * queries)
    ]


@pytest.mark.parametrize("options", ["", ", pooled=True"])
@pytest.mark.parametrize("spec", WARM_UP)
def test_the_threshold_is_the_quantile_of_the_later_scores(spec, options):
    """Against NumPy's sort of the scores that come after each account's first ones."""
    detector, sent, rate = reprogram.load_detector(spec.replace(")", f"{options})")), traffic(30, 12), 0.1
    scores = np.array([detector._score(q.image, q.account, q.answer) for q in sent])
    later = scores[WARM_UP[spec] :] if options else scores.reshape(12, 30)[WARM_UP[spec] :].ravel()
    rank = math.floor(rate * (len(later) + 1))
    assert detector.calibrate(sent, rate) == np.sort(later)[-rank] > scores.min()
    assert detector.num_calibrated == len(later)
    assert sum(detector.observe(q.image, q.account, q.answer).alarm for q in sent) <= rate * (len(later) + 1)


@pytest.mark.parametrize("spec", [*WARM_UP, "mahalanobis(over=9)", "neighbours(over=9)"])
def test_accounts_that_are_too_short_are_refused(spec, one_line):
    """Their scores say nothing: with a threshold from them the alarm would ring for nearly all later queries."""
    detector = reprogram.load_detector(spec)
    with pytest.raises(reprogram.DataError) as error:
        detector.calibrate(traffic(301, 8), 0.01)
    new = "1,200" if detector.fits else "2,408"  # It learns from the other 151 accounts.
    one_line(error, detector.name(), "accounts are too short", new, "at least 99")
    assert detector.threshold == detector.usual_threshold and detector.accounts() == []


def test_detectors_that_look_at_each_answer_alone_know_all_accounts():
    """Against NumPy's sort of all energies."""
    sent = traffic(99, 1)
    energies = -np.log(np.exp([q.answer for q in sent]).sum(1))
    assert reprogram.load_detector("energy").calibrate(sent, 0.01) == pytest.approx(energies.max())
