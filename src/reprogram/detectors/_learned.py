"""What detectors that learn what is ordinary share: the arrays that they learned go into their state."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from reprogram.detectors._answered import AnswerDetector
from reprogram.detectors.base import Array
from reprogram.errors import ConfigError, DataError

if TYPE_CHECKING:
    from torch import Tensor


class LearnedDetector(AnswerDetector):
    """A detector of unusual answers that learns arrays from ordinary ones. An author writes `fit`, `value` and a check.

    Attributes:
        learned: the names of the arrays.
        arrays: what `fit` learned; empty before it.
    """

    learned: ClassVar[tuple[str, ...]] = ()
    fits = True

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.arrays: dict[str, Array] = {}

    def vector_like(self, answer: Array, name: str) -> Array:
        """The answer, if it is as long as those that were learned from.

        Args:
            answer: a vector.
            name: the array whose rows are as long.

        Raises:
            ConfigError: nothing was learned yet.
            DataError: the answer has another length.
        """
        self._require_length(len(answer), name)
        return answer

    def _require_length(self, length: int, name: str) -> None:
        """Refuse answers of another length than those that were learned from."""
        if not self.arrays:
            raise ConfigError(f"{self.name()}: nothing was learned yet; call calibrate with benign queries")
        if length != (learned := self.arrays[name].shape[1]):
            raise DataError(f"{self.name()}: an answer of {length} {self.reads}; it learned from {learned}")

    def learned_like(self, answers: "Tensor", name: str) -> "Tensor":
        """A learned array as a tensor beside the answers.

        Args:
            answers: b vectors.
            name: the array, whose rows are as long.

        Raises:
            ConfigError: nothing was learned yet.
            DataError: the answers have another length.
        """
        import torch

        self._require_length(answers.shape[1], name)
        return torch.from_numpy(self.arrays[name]).to(answers)

    def check_learned(self, arrays: Mapping[str, Array]) -> bool:
        """Whether learned arrays fit each other.

        Args:
            arrays: all of `learned`, finite and floating point.
        """
        raise NotImplementedError

    def state_dict(self) -> dict[str, Array]:
        """What was learned, and what is remembered of accounts."""
        state: dict[str, Array] = super().state_dict()
        return {**state, **{name: array.copy() for name, array in self.arrays.items()}}

    def load_state_dict(self, state: Mapping[str, Array], accounts: list[str]) -> None:
        """Replace what was learned, and what is remembered of accounts."""
        arrays = {name: state[name] for name in self.learned if name in state}
        finite = all(a.dtype.kind == "f" and bool(np.isfinite(a).all()) for a in arrays.values())
        whole = not arrays or (len(arrays) == len(self.learned) and finite and self.check_learned(arrays))
        if not whole:
            raise DataError(f"arrays {', '.join(self.learned)} are missing, damaged, or don't fit each other")
        rest = {name: array for name, array in state.items() if name not in self.learned}
        super().load_state_dict(rest, accounts)
        self.arrays = {name: array.copy() for name, array in arrays.items()}
