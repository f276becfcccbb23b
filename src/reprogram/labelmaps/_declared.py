"""Whether what a label map says of itself is so: an author's own map may say anything."""

import copy
from typing import Any

import torch
from torch import Tensor

from reprogram.errors import ReprogramError
from reprogram.labelmaps.base import LabelMap
from reprogram.utils.contracts import breach


def check_declared(label_map: LabelMap) -> None:
    """Hold what a label map says of itself against its answers to scores of noise, and refuse what isn't so.

    Args:
        label_map: the label map, with start values or learned.

    Raises:
        ConfigError: `assignment`, `weights`, `reads` or `single_labels` isn't of the shape that `LabelMap` asks for,
            names labels that the host doesn't have, or isn't what `run` does; or `update` or `run` fails.
    """
    own = next(iter([*label_map.parameters(), *label_map.buffers()]), torch.zeros(0))
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(3, label_map.num_host_labels, generator=generator).to(own.device)
    mapped = _called(label_map, "__call__", scores)
    assignment = _called(label_map, "assignment")
    if not _is_assignment(assignment, label_map):
        raise breach(
            label_map,
            f"gives {str(assignment)[:80]!r} by `assignment`; a list of numbers of host labels for each of "
            f"{label_map.num_task_labels} task labels is expected, below {label_map.num_host_labels}",
        )
    weights = _called(label_map, "weights")
    if weights is not None and [len(row) for row in weights] != [len(row) for row in assignment]:
        raise breach(label_map, "doesn't give a number for each label of `assignment` by `weights`")
    _check_labels(label_map, "reads", _called(label_map, "reads"))
    single = _called(label_map, "single_labels")
    _check_labels(label_map, "single_labels", single)
    if single is not None and not (
        len(single) == label_map.num_task_labels and torch.allclose(mapped, scores[:, single], rtol=1e-4, atol=1e-5)
    ):
        raise breach(label_map, "doesn't give by `single_labels` the host labels whose scores its scores are")
    if label_map.refit_schedule != "never":
        if all(getattr(type(label_map), name) is getattr(LabelMap, name) for name in ("refit", "fit_from_statistics")):
            raise breach(label_map, f"says `refit_schedule = {label_map.refit_schedule!r}`; write `refit`")
        _called(copy.deepcopy(label_map), "update", scores, torch.arange(len(scores)) % label_map.num_task_labels)


@torch.no_grad()
def _called(label_map: LabelMap, method: str, *arguments: Any) -> Any:
    """What a method gives; where it fails, a line that names it."""
    try:
        return getattr(label_map, method)(*arguments)
    except ReprogramError:
        raise
    except Exception as error:  # An author's own method may do anything.
        what = "run" if method == "__call__" else method
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise breach(label_map, f"fails on scores of noise, in `{what}` ({reason})") from error


def _is_assignment(assignment: Any, label_map: LabelMap) -> bool:
    return (
        isinstance(assignment, list)
        and len(assignment) == label_map.num_task_labels
        and all(isinstance(row, list) for row in assignment)
        and all(isinstance(j, int) and 0 <= j < label_map.num_host_labels for row in assignment for j in row)
    )


def _check_labels(label_map: LabelMap, name: str, labels: Any) -> None:
    """Refuse labels that aren't a tensor of whole numbers, or that the host doesn't have."""
    if labels is None:
        return
    is_whole = isinstance(labels, Tensor) and labels.ndim == 1 and not labels.is_floating_point()
    if not (is_whole and all(0 <= j < label_map.num_host_labels for j in labels.tolist())):
        raise breach(
            label_map,
            f"gives {str(labels)[:80]!r} by `{name}`; a tensor of whole numbers below {label_map.num_host_labels} is "
            "expected",
        )
