"""What a host has to show for its answers to be read: all its scores, those of the map's labels, or its top label."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from reprogram.evaluation.metrics import Evaluation, score
from reprogram.evaluation.predict import BATCH_SIZE, batches, in_eval_mode
from reprogram.labelmaps.base import LabelMap
from reprogram.model import Reprogrammed
from reprogram.tasks._split import Split
from reprogram.utils.contracts import breach


@dataclass(frozen=True, kw_only=True)
class Answers:
    """A model's answers to every image of a split, on the CPU.

    Attributes:
        scores: n × k task scores (logits).
        top_labels: n host labels, each with the highest of the host's K scores; where the views of an image have
            columns of their own, by the mean of the views' probabilities.
        num_groups: how many groups of K columns the label map reads: the views, where each has its own.
    """

    scores: Float[Tensor, "n k"]
    top_labels: Int[Tensor, " n"]
    num_groups: int = 1


@torch.no_grad()
def read_answers(model: Reprogrammed, split: Split, *, batch_size: int | None = None) -> Answers:
    """A model's answers to every image of a split; all K scores of the host are computed.

    Args:
        model: the model.
        split: the images, at least one.
        batch_size: images of a call; the answers don't depend on it. None for as many as suit the device.

    Raises:
        ConfigError: the label map reads more of the host's scores than it says.
    """
    device = model.canvas.frame.device
    scores: list[Tensor] = []
    top_labels: list[Tensor] = []
    with in_eval_mode(model):
        for images in batches(split, batch_size or BATCH_SIZE.get(device.type, BATCH_SIZE["cpu"]), device):
            host_scores = model.host_scores(images)
            mapped = model.label_map(host_scores)
            if not scores:
                _require_declared(model.label_map, host_scores, mapped)
            scores.append(mapped.float())
            top_labels.append(model.program.host_answer(host_scores).argmax(dim=1))
    return Answers(
        scores=torch.cat(scores).cpu(), top_labels=torch.cat(top_labels).cpu(), num_groups=model.program.num_groups
    )


def _require_declared(label_map: LabelMap, scores: Float[Tensor, "b K"], mapped: Float[Tensor, "b k"]) -> None:
    """Refuse a label map that reads more of the host's scores than it says; `host_shows` takes its word for that."""
    same = partial(torch.allclose, rtol=0, atol=0, equal_nan=True)
    if (read := label_map.reads()) is not None:
        only = torch.full_like(scores, float("nan"))
        only[:, read] = scores[:, read]
        if not same(label_map(only), mapped):
            raise breach(label_map, "reads other scores than those of the labels in `reads`; name all that it reads")
    if label_map.reads_top_label:
        top = F.one_hot(scores.argmax(dim=1), scores.shape[1]).to(scores)
        told = scores.amax(dim=1) > scores.amin(dim=1)  # Where all labels are alike, none is the largest.
        if not same(label_map(top)[told], mapped[told]):
            raise breach(label_map, "says `reads_top_label`, but reads more than which score is the largest")


def host_shows(label_map: LabelMap, answers: Answers, labels: Int[Tensor, " n"]) -> dict[str, Any]:
    """The accuracy by what is read of the host's answers, and the least that has to be read.

    Args:
        label_map: the map that turned the host's scores into the task scores.
        answers: the answers to n images.
        labels: n true classes.

    Returns:
        The value of a result's field `host_shows`: `needed`, and the accuracies `all_scores`; `map_labels` where the
        map reads the scores of some labels only; and `top_label`, with `outside`, where each task label has one host
        label of its own, or where the map reads nothing else. An answer whose top label isn't the map's is wrong;
        `outside` counts these.
    """
    accuracy = score(answers.scores, labels).to_json()
    shown: dict[str, Any] = {"needed": "all_scores", "all_scores": accuracy}
    read = label_map.reads()
    if read is not None:
        # The map reads nothing but these scores, so its answers are the same.
        shown |= {"needed": "map_labels", "map_labels": {**accuracy, "labels": len(read)}}
    if label_map.reads_top_label:
        shown |= {"needed": "top_label", "top_label": {**accuracy, "outside": 0}}
    single = label_map.single_labels()
    if single is not None and answers.num_groups == 1:  # Which view is surer isn't seen by their top labels.
        top = by_top_label(answers.top_labels, single.cpu())
        correct, outside = int((top == labels).sum()), int((top < 0).sum())
        result = Evaluation(n=len(labels), correct=correct, loss=float("nan"))
        shown |= {"needed": "top_label", "top_label": {**result.to_json(), "outside": outside}}
    return shown


def by_top_label(top_labels: Int[Tensor, " n"], single_labels: Int[Tensor, " k"]) -> Int[Tensor, " n"]:
    """The task label that each of the host's top labels stands for.

    Args:
        top_labels: n host labels.
        single_labels: the host label of each of the k task labels, no two the same.

    Returns:
        n task labels; -1 for a host label that stands for none.
    """
    # n x k, at most one true value a row
    matches = top_labels[:, None] == single_labels
    return torch.where(matches.any(dim=1), matches.int().argmax(dim=1), -1)
