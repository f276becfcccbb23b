"""Measures a baseline, whose author may have got something wrong that would falsify the run's own numbers."""

import math
import zlib
from numbers import Real
from typing import Any

from torch import Tensor

from reprogram.evaluation.baselines.base import Baseline, BaselineInput
from reprogram.utils.contracts import breach


def measured(baseline: Baseline, run: BaselineInput) -> dict[str, Any]:
    """What `measure` returns.

    Args:
        baseline: the baseline.
        run: the run whose accuracy is compared.

    Returns:
        The fields that `result.json` gets.

    Raises:
        ConfigError: there is no accuracy from 0 to 1 among them, or the baseline has changed the run's test images or
            its model.
    """
    before = _digests(run)
    found = baseline.measure(run)
    if _digests(run) != before:
        raise breach(baseline, "changes the run's test images or its model in `measure`; work on copies")
    accuracy = found.get("accuracy") if isinstance(found, dict) else None
    if not 0 <= (float(accuracy) if isinstance(accuracy, Real) else math.nan) <= 1:
        raise breach(baseline, f"measures the accuracy {accuracy}; a dictionary with one from 0 to 1 is expected")
    return found


def _digests(run: BaselineInput) -> list[int]:
    """A checksum of each tensor that a baseline must not change."""
    tensors = [run.task.test.images, run.task.test.labels, *run.model.learned_state().values()]
    return [_checksum(tensor) for tensor in tensors]


def _checksum(tensor: Tensor) -> int:
    return zlib.crc32(tensor.detach().cpu().contiguous().numpy().data)
