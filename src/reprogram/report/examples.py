"""What a run keeps for its report: the program and some test images as pictures, with the host's own answers."""

import base64
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from reprogram.framed import Framed
from reprogram.images import to_png
from reprogram.model import Reprogrammed
from reprogram.tasks.base import Task

COUNT = 12
TOP = 3


@torch.no_grad()
def answers(model: Reprogrammed, task: Task, test_scores: Float[Tensor, "n k"]) -> dict[str, Any]:
    """Pictures and answers for up to `COUNT` test images: the first of each class, then the next of each.

    Args:
        model: with the selected program.
        task: whose test images are shown.
        test_scores: of the test split.
    """
    chosen = _spread(task.test.labels, COUNT)
    images = task.test.images[chosen].to(model.canvas.frame.device)
    framed = model.program(model.canvas(images))
    probabilities = model.host(framed).softmax(dim=1).cpu()
    canvases = framed.dense().cpu()
    shown = []
    for place, index in enumerate(chosen.tolist()):
        top = probabilities[place].topk(min(TOP, probabilities.shape[1]))
        task_probability = test_scores[index].softmax(dim=0)
        predicted = int(task_probability.argmax())
        shown.append(
            {
                "picture": picture(canvases[place]),
                "label": task.class_names[int(task.test.labels[index])],
                "predicted": task.class_names[predicted],
                "probability": float(task_probability[predicted]),
                "host": [
                    {"label": model.host.info.label(int(i)), "probability": float(p)}
                    for p, i in zip(top.values, top.indices, strict=True)
                ],
            }
        )
    weights = model.label_map.weights()
    return {
        "program": picture(drawn(model)[0].cpu()),
        "examples": shown,
        "classes": list(task.class_names),
        "assignment": [[model.host.info.label(i) for i in row[:TOP]] for row in model.label_map.assignment()],
        "weights": None if weights is None else [row[:TOP] for row in weights],
        "spoken_for_by": [len(row) for row in model.label_map.assignment()],
    }


@torch.no_grad()
def drawn(model: Reprogrammed) -> Float[Tensor, "1 C H W"]:
    """The program on a canvas whose task image is mid-grey."""
    frame = model.canvas.frame
    box = model.canvas.geometry.window
    window = torch.full((1, frame.shape[1], box.height, box.width), 0.5, device=frame.device, dtype=frame.dtype)
    pixels: Tensor = model.program(Framed(frame=frame, window=window, box=box)).dense()
    return pixels


def picture(pixels: Float[Tensor, "C H W"]) -> str:
    """A PNG as the address that HTML can hold in itself."""
    return "data:image/png;base64," + base64.b64encode(to_png(pixels)).decode("ascii")


def _spread(labels: Tensor, count: int) -> Tensor:
    """Places of `count` items that take turns among the classes, in the order of the classes."""
    turns: dict[int, int] = {}
    keys = []
    for place, label in enumerate(labels.tolist()):
        turns[label] = turns.get(label, 0) + 1
        keys.append((turns[label], label, place))
    return torch.tensor([place for _, _, place in sorted(keys)[:count]])
