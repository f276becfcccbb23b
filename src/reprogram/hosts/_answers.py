"""Classifiers that answer with labels, as people write and services give them, as evidence for every host label."""

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from reprogram.errors import ConfigError
from reprogram.hosts._shown import Kind, Shown

ROUNDING = 1e-3
"""How far above 1 rounding may carry a probability; more than that is percent."""

FEW = 20
"""So many answers that are no labels of the host's at the beginning are a mistake in its names."""

SLACK = 0.02
"""How far above 1 rounded probabilities of an image may sum."""


class Answers(nn.Module):
    """A classifier whose answer for an image is its top label, or its first labels with their numbers.

    An image's numbers are percent where one is above 1. Where they sum to 1 or less they are probabilities that share 1
    with the labels that aren't shown; else those of independent labels. A name that isn't among the host's labels is no
    evidence for any of them; of a label that is there twice the larger number counts.

    Args:
        net: a callable as a module; it gives a sequence of answers, one for each image.
        labels: the names of the K host labels; an answer may also give their indices.
        numbers: whether answers are (label, number) pairs, or a mapping; else they are labels.
        name: the host's, for errors.
    """

    def __init__(self, net: nn.Module, labels: tuple[str, ...], *, numbers: bool, name: str) -> None:
        super().__init__()
        self.net, self.numbers, self.name = net, numbers, name
        self.index = {label: i for i, label in enumerate(labels)}
        self.num_labels = len(labels)
        self._watched, self._is_known = 0, False

    def forward(self, pixels: Tensor) -> Tensor:
        """Ask the classifier.

        Args:
            pixels: b × C × H × W.

        Returns:
            b × K scores, the evidence of the answers (`Shown.evidence`).

        Raises:
            ConfigError: an answer isn't what was stated.
        """
        answers = self.net(pixels)
        answers = answers.tolist() if hasattr(answers, "tolist") else answers
        is_list = isinstance(answers, Sequence) and not isinstance(answers, str)
        if not is_list or len(answers) != len(pixels):
            count = f"{len(answers)} of them" if is_list else type(answers).__name__
            raise ConfigError(f"host {self.name}: one answer for each of {len(pixels)} images is expected, not {count}")
        rows = [self._evidence(answer) for answer in answers]
        self._watch(answers)
        return torch.stack(rows).to(pixels) if rows else pixels.new_empty(0, self.num_labels)

    def _evidence(self, answer: Any) -> Tensor:
        pairs = self._pairs(answer) if self.numbers else [(answer, 1.0)]
        numbers, shown = torch.zeros(1, self.num_labels), torch.zeros(1, self.num_labels, dtype=torch.bool)
        highest = max((number for _, number in pairs), default=0.0)
        scale = 100.0 if highest > 1 + ROUNDING else 1.0
        for label, number in pairs:
            index = self._index_of(label)
            if index is not None:
                self._is_known = True
                numbers[0, index], shown[0, index] = max(number / scale, float(numbers[0, index])), True
        total = sum(number for _, number in pairs) / scale
        kind: Kind = "probabilities" if total <= 1 + SLACK else "independent"
        return Shown(numbers=self.numbers, kind=kind).evidence(numbers, shown)[0]

    def _watch(self, answers: Sequence[Any]) -> None:
        """Warn, once, where the first answers all name labels that the host doesn't have."""
        if self._watched >= FEW or self._is_known:
            return
        self._watched += len(answers)
        if self._watched >= FEW:
            warnings.warn(
                f"host {self.name}: none of its first {self._watched} answers names one of its class_names; the last "
                f"is {str(answers[-1])[:60]!r}, give the names as the classifier says them",
                UserWarning,
                stacklevel=2,
            )

    def _pairs(self, answer: Any) -> list[tuple[Any, float]]:
        try:
            items = answer.items() if isinstance(answer, Mapping) else answer
            pairs = [(label, float(number)) for label, number in items]
        except (TypeError, ValueError):
            raise ConfigError(
                f"host {self.name}: an answer {str(answer)[:60]!r}; (label, number) pairs are expected"
            ) from None
        for label, number in pairs:
            if not (0 <= number <= 100 and math.isfinite(number)):
                raise ConfigError(
                    f"host {self.name}: {label!s:.40} has {number}; 0 to 1, or to 100 percent, is expected"
                )
        return pairs

    def _index_of(self, label: Any) -> int | None:
        """The number of a label; None for a name that isn't among the host's."""
        label = label.item() if hasattr(label, "item") else label
        if isinstance(label, str):
            return self.index.get(label)
        if isinstance(label, int) and not isinstance(label, bool) and 0 <= label < self.num_labels:
            return label
        raise ConfigError(
            f"host {self.name}: a label {str(label)[:60]!r}; a name, or an index from 0 to {self.num_labels - 1}, is "
            "expected"
        )
