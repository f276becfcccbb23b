"""The Open Inference Protocol v2 on the server's side: what there is, and how answers are written.

Reference: KServe, Open Inference Protocol, inference_rest.md; Triton Inference Server, extension_binary_data.md and
extension_classification.md.
"""

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from reprogram.serving.answering import Answering, Seen, Served

INPUT, LABELS = "image", "labels"
"""The names of the input tensor, and of the output tensor that holds labels."""

EXTENSIONS = ["binary_tensor_data", "classification"]
"""Triton's names of what is understood beyond the protocol."""

HEAD_LENGTH = "Inference-Header-Content-Length"


@dataclass(frozen=True, kw_only=True)
class Wish:
    """An output tensor that a client asks for.

    Attributes:
        name: of the tensor.
        binary: whether its data stand behind the JSON.
        classification: how many labels are named instead of the tensor; 0 for the tensor.
    """

    name: str
    binary: bool
    classification: int


@dataclass(frozen=True, kw_only=True)
class Inference:
    """An inference request that was understood.

    Attributes:
        id: the client's, given back in the answer.
        images: b × c × h × w, uint8 or pixels in [0, 1]; or b image files.
        wishes: the output tensors.
    """

    id: str | None
    images: Tensor | list[bytes]
    wishes: tuple[Wish, ...]


def metadata(answering: Answering, served: Served) -> dict[str, Any]:
    """The metadata of what can be asked.

    Args:
        answering: all that is served.
        served: one of it.
    """
    return {
        "name": served.name,
        "versions": [served.version],
        "platform": "reprogram",
        "inputs": [{"name": INPUT, "datatype": "UINT8", "shape": [-1, *served.shape]}],
        "outputs": [
            {"name": name, "datatype": "BYTES" if name == LABELS else "FP32", "shape": [-1, width]}
            for name, width in outputs_of(answering, served).items()
        ],
    }


def outputs_of(answering: Answering, served: Served) -> dict[str, int]:
    """The output tensors, in order: the columns of each by its name.

    Args:
        answering: all that is served.
        served: one of it.
    """
    options, count = answering.options_of(served), len(served.labels)
    if not options.is_black_box:
        return {"logits": count, "probabilities": count, LABELS: 1}
    if options.answers == "label":
        return {LABELS: 1}
    some = options.num_shown(count)
    return {options.kind: some, LABELS: some if options.answers == "topk" else 1}


def write(inference: Inference, served: Served, seen: Seen, width: Mapping[str, int]) -> tuple[bytes, dict[str, str]]:
    """The answer to an inference request.

    Args:
        inference: the request.
        served: what was asked.
        seen: what the client sees of the scores.
        width: columns of each output tensor, by name.

    Returns:
        The body, and its headers.
    """
    outputs, behind = [], []
    for wish in inference.wishes:
        values = _values(wish, served, seen, width[wish.name])
        output: dict[str, Any] = {
            "name": wish.name,
            "datatype": "BYTES" if values.dtype == object else "FP32",
            "shape": list(values.shape),
        }
        if wish.binary:
            data = _bytes(values)
            behind.append(data)
            output["parameters"] = {"binary_data_size": len(data)}
        else:
            output["data"] = values.reshape(-1).tolist()
        outputs.append(output)
    answer = {"model_name": served.name, "model_version": served.version, "outputs": outputs}
    if inference.id is not None:
        answer["id"] = inference.id
    head = json.dumps(answer, allow_nan=False, separators=(",", ":")).encode()
    if not behind:
        return head, {"Content-Type": "application/json"}
    headers = {"Content-Type": "application/octet-stream", HEAD_LENGTH: str(len(head))}
    return head + b"".join(behind), headers


def _values(wish: Wish, served: Served, seen: Seen, width: int) -> np.ndarray:
    """An output tensor: b × m numbers, or texts."""
    numbers = seen.numbers.get(wish.name if wish.name != LABELS else next(iter(seen.numbers), ""))
    count = min(wish.classification or width, seen.order.shape[1])
    order = seen.order[:, :count]
    if wish.classification:
        rows = [[_classified(numbers, row, i, served.labels) for i in labels] for row, labels in enumerate(order)]
        return np.array(rows, dtype=object)
    if wish.name == LABELS:
        return np.array([[served.labels[i] for i in labels] for labels in order], dtype=object)
    assert numbers is not None
    return np.take_along_axis(numbers, order, axis=1) if seen.only_first else numbers


def _classified(numbers: np.ndarray | None, row: int, index: int, labels: Sequence[str]) -> str:
    """A label as the extension writes it, number:index:label; where no number is shown it is 1."""
    number = 1.0 if numbers is None else numbers[row, index]
    return f"{number:.9g}:{index}:{labels[index]}"


def _bytes(values: np.ndarray) -> bytes:
    if values.dtype != object:
        return values.astype("<f4").tobytes()
    texts = [str(text).encode() for text in values.reshape(-1)]
    return b"".join(struct.pack("<I", len(text)) + text for text in texts)
