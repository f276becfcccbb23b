"""The examples in a run's report: the program and some test images as pictures, with the host's own answers."""

import base64
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from reprogram.framed import Framed
from reprogram.model import Reprogrammed
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
    indices = _spread(task.test.labels, COUNT)
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
                "read_by": None if label is None else model.host_label(label),
                "is_top": label == top,
            }
        )
    weights = model.label_map.weights()
    return {
        "program": picture(drawn(model)[0].cpu()),
        "examples": examples,
        "classes": list(task.class_names),
        "assignment": [[model.host_label(i) for i in row[:TOP]] for row in model.label_map.assignment()],
        "weights": None if weights is None else [row[:TOP] for row in weights],
        "spoken_for_by": [len(row) for row in model.label_map.assignment()],
    }


def host_answers(model: Reprogrammed, scores: Float[Tensor, "b K"]) -> list[list[dict[str, Any]]]:
    """The host's own answers for people: the `TOP` most probable of its labels.

    Args:
        model: the model whose host gave the scores.
        scores: b × K host scores.

    Returns:
        For each image a list of `label` and `probability`, the most probable one first.
    """
    top = scores.softmax(dim=1).topk(min(TOP, scores.shape[1]))
    return [
        [{"label": model.host_label(i), "probability": p} for p, i in zip(values, indices, strict=True)]
        for values, indices in zip(top.values.tolist(), top.indices.tolist(), strict=True)
    ]


@torch.no_grad()
def drawn(model: Reprogrammed) -> Float[Tensor, "1 C H W"]:
    """The program on a canvas whose task image is mid-grey.

    Args:
        model: the model with the program.

    Returns:
        1 × C × H × W pixels in [0, 1].
    """
    frame = model.canvas.frame
    box = model.canvas.geometry.window
    window = torch.full((1, frame.shape[1], box.height, box.width), 0.5, device=frame.device, dtype=frame.dtype)
    pixels: Tensor = model.program(Framed(frame=frame, window=window, box=box)).dense()
    return pixels


def picture(pixels: Float[Tensor, "C H W"]) -> str:
    """An image as a PNG in a data URL.

    Args:
        pixels: C × H × W pixels in [0, 1].
    """
    return "data:image/png;base64," + base64.b64encode(to_png(pixels)).decode("ascii")


def _spread(labels: Tensor, count: int) -> Tensor:
    """The indices of `count` items: the first of each class, in the order of the classes, then the second of each."""
    counts: dict[int, int] = {}
    keys = []
    for index, label in enumerate(labels.tolist()):
        counts[label] = counts.get(label, 0) + 1
        keys.append((counts[label], label, index))
    return torch.tensor([index for _, _, index in sorted(keys)[:count]])
