"""The constant shift of scores that makes most answers right."""

from typing import Any


def best_shift(scores: Any, labels: Any) -> Any:
    """The constant that, added to all scores, makes most of them right, as far as one class at a time can be bettered.

    Args:
        scores: n × k.
        labels: n.

    Returns:
        k numbers.
    """
    shifted, most = scores.clone(), -1
    while (right := int((shifted.argmax(dim=1) == labels).sum())) > most:
        most = right
        for j in range(scores.shape[1]):
            shifted[:, j] += _best_of_class(shifted, labels, j)
    return (shifted - scores)[0]


def _best_of_class(scores: Any, labels: Any, j: int) -> Any:
    """The best shift of one class's score: exact, for it is the answer where its shift exceeds an image's threshold."""
    import torch

    others = scores.clone()
    others[:, j] = -torch.inf
    best, rival = others.max(dim=1)
    threshold, order = (best - scores[:, j]).sort()
    gained = (labels == j).long() - (rival == labels).long()
    total = torch.cat([torch.zeros(1, dtype=torch.long), gained[order].cumsum(0)])
    place = int(total.argmax())
    ends = torch.cat([threshold[:1] - 1, threshold, threshold[-1:] + 1])
    return (ends[place] + ends[place + 1]) / 2
