"""The benign scores that a threshold is set from, and which benign queries a detector learns from."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from reprogram.detectors._checks import Array, checked_answer
from reprogram.errors import DataError

if TYPE_CHECKING:
    from reprogram.detectors.base import Detector, Query

LEAST_SHARE = 0.25
"""The least part of all queries that either half is to have, where accounts are kept whole."""


def benign_scores(detector: "Detector", queries: "Iterable[Query]") -> tuple[Array, int]:
    """The scores of benign queries of accounts that enough is known of; the state of all accounts is forgotten.

    Args:
        detector: learns from half of the queries first, where it `fits`.
        queries: benign traffic, in its order.

    Returns:
        The scores, and how many others came when their account was new (`Detector.is_new`).

    Raises:
        DataError: there are too few queries to learn from, or a query isn't as `Detector.observe` wants it.
    """
    kept = _learn(detector, queries) if detector.fits else queries
    detector.reset()
    try:
        found = [(detector._score(q.image, q.account, q.answer), detector.is_new(q.account)) for q in kept]
    finally:
        detector.reset()
    scores = np.array([score for score, is_new in found if not is_new])
    return scores, len(found) - len(scores)


def learned_half(accounts: Sequence[str]) -> list[bool]:
    """Which queries are learned from: about half of them, and all of an account or none.

    Queries of one account are alike, so an account in both halves would make the second half look more ordinary than
    further accounts are. An account goes where there are fewer queries so far, in the order of the accounts' first
    queries. Where this leaves a part of less than `LEAST_SHARE`, as with a single account, it is the earlier half.

    Args:
        accounts: who sent each query.

    Returns:
        True for each query that is learned from.
    """
    half: dict[str, bool] = {}
    sizes = {True: 0, False: 0}
    for account, number in Counter(accounts).items():
        half[account] = sizes[True] <= sizes[False]
        sizes[half[account]] += number
    if min(sizes.values()) < LEAST_SHARE * len(accounts):
        return [i < (len(accounts) + 1) // 2 for i in range(len(accounts))]
    return [half[account] for account in accounts]


def _learn(detector: "Detector", queries: "Iterable[Query]") -> "list[Query]":
    """Fit a detector to half of the queries; the others, without their images, which it doesn't look at."""
    tiny = np.zeros((1, 1, 1), dtype=np.uint8)
    kept = [replace(query, image=tiny, answer=checked_answer(query.answer)) for query in queries]
    learned = learned_half([query.account for query in kept])
    answers = [query.answer for query, one in zip(kept, learned, strict=True) if one and query.answer is not None]
    if len(answers) < 2:
        raise DataError(f"{detector.name()}: {len(answers)} benign queries to learn from; give more")
    detector.fit(np.stack(answers))
    return [query for query, one in zip(kept, learned, strict=True) if not one]
