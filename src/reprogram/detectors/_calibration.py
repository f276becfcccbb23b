"""Which benign queries a detector learns from, and which set its threshold."""

from collections import Counter
from collections.abc import Sequence

LEAST_SHARE = 0.25
"""The least part of all queries that either half is to have, where accounts are kept whole."""


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
