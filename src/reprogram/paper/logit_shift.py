"""The constant shift of the scores with which most answers are right."""

from typing import Any


def best_shift(scores: Any, labels: Any) -> Any:
    """The constant vector that, added to every image's scores, makes most answers right; found by coordinate ascent.

    Args:
        scores: n × k task scores.
        labels: n task labels in 0 to k − 1.

    Returns:
        k numbers, no single one of which can be changed for the better.
    """
    shifted, most = scores.clone(), -1
    while (right := int((shifted.argmax(dim=1) == labels).sum())) > most:
        most = right
        # scores + shift, one class j at a time: the number of right answers never falls
        for j in range(scores.shape[1]):
            shifted[:, j] += _best_of_class(shifted, labels, j)
    return (shifted - scores)[0]


def _best_of_class(scores: Any, labels: Any, j: int) -> Any:
    """The best shift of one class's score: class j is an image's answer if its shift exceeds the image's threshold."""
    import torch

    others = scores.clone()
    others[:, j] = -torch.inf
    best, rival = others.max(dim=1)  # n: the best score of the other classes, and its class
    # n thresholds, ascending: max of the other classes' scores − score j
    threshold, order = (best - scores[:, j]).sort()
    # n: +1 where the answer j is right, −1 where it replaces a right answer
    gains = (labels == j).long() - (rival == labels).long()
    # n + 1 sums: the right answers that are gained by a shift between two thresholds
    total = torch.cat([torch.zeros(1, dtype=torch.long), gains[order].cumsum(0)])
    index = int(total.argmax())
    # the middle of the best interval; the outer two are one wide
    ends = torch.cat([threshold[:1] - 1, threshold, threshold[-1:] + 1])
    return (ends[index] + ends[index + 1]) / 2
