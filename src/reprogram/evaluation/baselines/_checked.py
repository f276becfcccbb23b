"""Measures a baseline, whose author may have got something wrong that would falsify the run's own numbers."""

import math
import zlib
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from reprogram.evaluation.baselines.base import Baseline, BaselineInput
from reprogram.utils.contracts import breach


def measured(baseline: Baseline, run: BaselineInput, before: list[int]) -> dict[str, Any]:
    """What `measure` returns.

    Args:
        baseline: the baseline.
        run: the run whose accuracy is compared.
        before: the `checksums` of the run as it was before its baselines.

    Returns:
        The fields that `result.json` gets.

    Raises:
        ConfigError: there is no accuracy from 0 to 1 among them, or the baseline has changed the run's test images or
            its model.
    """
    found = baseline.measure(run)
    if checksums(run) != before:
        raise breach(baseline, "changes the run's test images or its model in `measure`; work on copies")
    accuracy = found.get("accuracy") if isinstance(found, dict) else None
    if not 0 <= (float(accuracy) if isinstance(accuracy, Real) else math.nan) <= 1:
        raise breach(baseline, f"measures the accuracy {accuracy}; a dictionary with one from 0 to 1 is expected")
    return found


def checksums(run: BaselineInput) -> list[int]:
    """A checksum of each tensor that a baseline must not change.

    Args:
        run: the run; its test split and what its model has learned are read.
    """
    tensors = [run.task.test.images, run.task.test.labels, *run.model.learned_state().values()]
    return [_checksum(tensor) for tensor in tensors]


def _checksum(tensor: Tensor) -> int:
    return zlib.crc32(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
