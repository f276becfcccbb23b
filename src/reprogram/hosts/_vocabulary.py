"""The labels of a service that says them by name: which column of the scores each has, known or found as it appears."""

import threading
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from reprogram.errors import HostUnavailableError
from reprogram.hosts._shown import Kind, Shown
from reprogram.utils.text import MAX_CLASS_NAME, printable

Pairs = Sequence[tuple[str | int, float | None]]
"""Some labels of an image, by name or by index, with their numbers; None for a label without a number. Where none has a
number, the first one is the best."""

Answer = Pairs | np.ndarray
"""What a service says of an image: all its K numbers in the order of its labels, or some labels with theirs."""


class Vocabulary:
    """The columns of labels. A label that has none gets the next one that is free, while there is one.

    Args:
        names: the labels that are known from the start.
        capacity: K, the number of columns.
        name: the host's, for messages.
    """

    def __init__(self, names: Iterable[str], capacity: int, name: str) -> None:
        self.columns = {label: column for column, label in enumerate(names)}
        self.capacity, self.name = capacity, name
        self.open = True
        self._all_at_once: frozenset[str] | None = None
        self._lock = threading.Lock()

    @property
    def names(self) -> tuple[str, ...]:
        """The labels that have a column, in the order of the columns."""
        return tuple(self.columns)

    @property
    def grows(self) -> bool:
        """Whether a new label would get a column."""
        return self.open and len(self.columns) < self.capacity

    def restart(self, labels: Iterable[str], *, grows: bool) -> None:
        """Forget all labels but these.

        Args:
            labels: in the order of their columns.
            grows: whether others get a column too, as long as there is one.
        """
        with self._lock:
            self.columns = {label: column for column, label in enumerate(labels)}
            self.open, self._all_at_once = grows, None

    def learn(self, labels: Iterable[str]) -> None:
        """Give labels their columns, in their order; those beyond the capacity get none.

        Args:
            labels: printable names.
        """
        with self._lock:
            for label in labels:
                if self.grows:
                    self.columns.setdefault(label, len(self.columns))

    def evidence(self, answers: Sequence[Answer], *, kind: Kind, decimals: int | None, whole: bool) -> Tensor:
        """The scores that answers stand for; labels are learned in the order of the images.

        Args:
            answers: of b images.
            kind: of the numbers.
            decimals: that the service rounds its numbers to; None for all.
            whole: whether each answer shows all labels.

        Returns:
            b × K scores, the evidence (`Shown.evidence`). A label without a column is no evidence for any; one
            without a number beside others that have one counts as not shown; of one that is there twice the larger
            number counts.

        Raises:
            HostUnavailableError: an answer can't be one; says what is wrong with it.
        """
        numbers = np.zeros((len(answers), self.capacity))
        shown = np.zeros((len(answers), self.capacity), dtype=bool)
        numbered = np.ones(len(answers), dtype=bool)
        for row, answer in enumerate(answers):
            if isinstance(answer, np.ndarray):
                numbers[row], shown[row] = self._checked(answer), True
                continue
            pairs = [(self._text(label), number) for label, number in answer]
            if whole:
                self._check_whole(pairs)
            self.learn(label for label, _ in pairs if isinstance(label, str))
            self._check_numbers(np.array([number for _, number in pairs if number is not None]), kind)
            numbered[row] = not pairs or any(number is not None for _, number in pairs)
            for place, (label, number) in enumerate(pairs):
                column = self.columns.get(label) if isinstance(label, str) else self._index(label)
                value = number if numbered[row] else -float(place)
                if (
                    column is not None
                    and value is not None
                    and not (shown[row, column] and numbers[row, column] > value)
                ):
                    numbers[row, column], shown[row, column] = value, True
        self._check_numbers(numbers[numbered], kind)
        values, mask, by_number = torch.from_numpy(numbers), torch.from_numpy(shown), torch.from_numpy(numbered)
        evidence = Shown(kind=kind, round=decimals).evidence(values, mask)
        in_order = Shown(numbers=False).evidence(values, mask, ranks=-values)
        return torch.where(by_number[:, None], evidence, in_order).float()

    def _text(self, label: str | int) -> str | int:
        return printable(label)[:MAX_CLASS_NAME] if isinstance(label, str) else label

    def _index(self, label: int) -> int:
        if not 0 <= label < self.capacity:
            raise HostUnavailableError(
                f"host {self.name}: answers with label number {label}, and has {self.capacity} labels; is num_classes "
                "right?"
            )
        return label

    def _checked(self, answer: np.ndarray) -> np.ndarray:
        if answer.shape != (self.capacity,):
            raise HostUnavailableError(
                f"host {self.name}: answers with numbers of shape {'x'.join(map(str, answer.shape)) or 'none'} an "
                f"image; {self.capacity} labels are expected, is num_classes right?"
            )
        return answer

    def _check_whole(self, pairs: Sequence[tuple[str | int, float | None]]) -> None:
        """Where a service shows all labels, they are the same each time."""
        labels = frozenset(str(label) for label, _ in pairs)
        with self._lock:
            first = self._all_at_once = labels if self._all_at_once is None else self._all_at_once
        if odd := sorted(first ^ labels):
            does = "no longer" if odd[0] in first else "suddenly"
            raise HostUnavailableError(
                f"host {self.name}: its labels come and go: it {does} shows {odd[0]!r}; say access=topk if it doesn't "
                "show all labels"
            )

    def _check_numbers(self, numbers: np.ndarray, kind: Kind) -> None:
        """Numbers that can't be of their kind are refused, whatever a service says."""
        if not np.isfinite(numbers).all():
            raise HostUnavailableError(f"host {self.name}: answers with numbers that aren't finite (NaN or infinity)")
        low, high = {"logits": (-np.inf, np.inf), "percent": (0, 100)}.get(kind, (0, 1))
        if numbers.size and not (low - SLACK <= numbers.min() and numbers.max() <= high + SLACK * max(1, high)):
            extreme = numbers.min() if numbers.min() < low - SLACK else numbers.max()
            raise HostUnavailableError(
                f"host {self.name}: answers with the number {extreme:.6g}; {kind} from {low} to {high} are expected, "
                "is kind right?"
            )


SLACK = 1e-3
"""How far beyond its range rounding may carry a number, as a part of the range."""
