"""What a host's answers tell people: its first labels, with the numbers that it shows."""

from typing import Any

from torch import Tensor

from reprogram.hosts._shown import Shown
from reprogram.hosts.base import Host


def told(host: Host, scores: Tensor, most: int = 3) -> list[list[dict[str, Any]]]:
    """The host's own answers for people.

    A host that shows less than its scores gives evidence in their place (`hosts/_shown.py`): of that, people are told
    the labels and numbers that were shown, and not what the rest is taken for.

    Args:
        host: the host.
        scores: b × K, its scores.
        most: how many labels are named for each image, at most.

    Returns:
        For each image a list of `label` and `probability`, the most probable one first; the probability is None where
        a label is shown without a number.
    """
    shown, info = shown_by(host), host.info
    if shown is None:
        return info.top_labels(scores, most)
    most = min(most, shown.labels or most, scores.shape[1])
    if shown.numbers and shown.kind == "logits":
        return info.top_labels(scores, most)
    top = scores.topk(most)
    percent = 2 if shown.kind == "percent" else 0
    floor = -1.0 if shown.floor is None else shown.floor / 10**percent
    rows = []
    for values, indices in zip(top.values.exp().tolist(), top.indices.tolist(), strict=True):
        if shown.round is not None:
            values = [round(value, shown.round + percent) for value in values]
        named = [(value, i) for value, i in zip(values, indices, strict=True) if value >= floor]
        rows.append([{"label": info.label(i), "probability": value if shown.numbers else None} for value, i in named])
    return rows


def shown_by(host: Host) -> Shown | None:
    """What a host shows of its scores; None where these are what it gives, or a mean of several answers.

    Args:
        host: the host.
    """
    if host.asks_per_image > 1:
        return None
    if host.guard is not None:
        return host.guard.shown
    own = getattr(host, "shown", None)
    return own if isinstance(own, Shown) else None
