"""The examples in a run's report: the program and some test images as pictures, with the host's own answers."""

import base64
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from reprogram.hosts._told import told
from reprogram.model import Reprogrammed
from reprogram.programfile.pictures import drawn
from reprogram.tasks.base import Task
from reprogram.utils.images import to_png

COUNT = 12
"""Test images that are shown, at the most."""
TOP = 3
"""Host labels that are shown for each image, at the most."""


@torch.no_grad()
def examples_of(model: Reprogrammed, task: Task, test_scores: Float[Tensor, "n k"]) -> dict[str, Any]:
    """The content of `examples.json`: pictures of the program and of test images, with the answers to them.

    Args:
        model: the model with the selected program.
        task: the task whose test images are shown: the first of each class, then the second of each, up to `COUNT`.
        test_scores: n × k task scores of the test split.

    Returns:
        The content, as JSON values.
    """
    indices = spread(task.test.labels, COUNT)
    images = task.test.images[indices].to(model.canvas.frame.device)
    framed = model.program(model.canvas(images))
    scores = model.program.combined(model.host(framed))
    single = model.label_map.single_labels()
    examples = []
    for index, pixels, host_answer, top in zip(
        indices.tolist(),
        framed.dense()[: len(images)].cpu(),
        host_answers(model, scores),
        scores.argmax(dim=1).tolist(),
        strict=True,
    ):
        probabilities = test_scores[index].softmax(dim=0)
        predicted = int(probabilities.argmax())
        label = None if single is None else int(single[predicted])
        examples.append(
            {
                "picture": picture(pixels),
                "label": task.class_names[int(task.test.labels[index])],
                "predicted": task.class_names[predicted],
                "probability": float(probabilities[predicted]),
                "host": host_answer,
                "read_by": None if label is None else _name(model, label),
                "is_top": label == top,
            }
        )
    weights = model.label_map.weights()
    return {
        "program": picture(drawn(model)[0].cpu()),
        "examples": examples,
        "classes": list(task.class_names),
        "assignment": [[_name(model, i) for i in row[:TOP]] for row in model.label_map.assignment()],
        "weights": None if weights is None else [row[:TOP] for row in weights],
        "spoken_for_by": [len(row) for row in model.label_map.assignment()],
    }


def _name(model: Reprogrammed, column: int) -> str:
    return model.host.info.column(column, apart=model.program.num_groups > 1)


def host_answers(model: Reprogrammed, scores: Float[Tensor, "b K"]) -> list[list[dict[str, Any]]]:
    """The host's own answers for people: the `TOP` most probable of its labels.

    Args:
        model: the model whose host gave the scores.
        scores: b × K host scores, or b × V · K where each of V views has columns of its own.

    Returns:
        For each image a list of `label` and `probability`, the most probable one first; None stands for a probability
        that isn't shown.
    """
    return told(model.host, model.program.host_answer(scores), TOP)


def picture(pixels: Float[Tensor, "C H W"]) -> str:
    """An image as a PNG in a data URL.

    Args:
        pixels: C × H × W pixels in [0, 1].
    """
    return "data:image/png;base64," + base64.b64encode(to_png(pixels)).decode("ascii")


def spread(labels: Tensor, count: int) -> Tensor:
    """The indices of items to show: the first of each class, in the order of the classes, then the second of each.

    Args:
        labels: n class indices.
        count: of the items that are shown, at the most.
    """
    counts: dict[int, int] = {}
    keys = []
    for index, label in enumerate(labels.tolist()):
        counts[label] = counts.get(label, 0) + 1
        keys.append((counts[label], label, index))
    return torch.tensor([index for _, _, index in sorted(keys)[:count]])
