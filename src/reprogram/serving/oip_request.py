"""Requests of the Open Inference Protocol v2: JSON and the extension for binary tensors, taken apart and checked."""

import base64
import binascii
import math
import struct
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from pydantic_core import from_json
from torch import Tensor

from reprogram.hosts._oip import DATATYPES, float_datatypes
from reprogram.serving.answering import Served, checked_pixels
from reprogram.serving.bodies import RefusedError
from reprogram.serving.oip import HEAD_LENGTH, INPUT, Inference, Wish
from reprogram.utils.text import printable


def read(body: bytes, head_length: str | None, served: Served, names: Sequence[str], most_images: int) -> Inference:
    """Take an inference request apart.

    Args:
        body: the JSON, and behind it binary tensors.
        head_length: the bytes of the JSON, where binary tensors follow.
        served: what is asked.
        names: of the output tensors that there are.
        most_images: the most images of a request.

    Raises:
        RefusedError: it is no such request; one line says why.
        DataError: pixels aren't in [0, 1].
    """
    head, behind = _split(body, head_length)
    if not head and head_length is not None:  # Triton's raw binary request: the body is the tensor.
        count, rest = divmod(len(behind), size := math.prod(served.shape))
        if rest or not count:
            raise _wrong(f"the body has {len(behind):,} bytes and no JSON; images of {size:,} bytes are expected")
        shape = [count, *served.shape]
        document: Any = {"inputs": [{"name": INPUT, "shape": shape, "datatype": "UINT8",
                                     "parameters": {"binary_data_size": len(behind)}}],
                         "parameters": {"binary_data_output": True}}  # fmt: skip
    else:
        try:
            document = from_json(head, allow_inf_nan=False)
        except ValueError as error:
            raise _wrong(f"the request is no JSON ({printable(error)[:80]})") from None
    inputs = _get(document, "inputs", list, "the request")
    if len(inputs) != 1:
        raise _wrong(f"the request has {len(inputs)} inputs; one is expected, {INPUT!r}")
    (tensor,) = inputs
    if (name := _get(tensor, "name", str, "the input")) != INPUT:
        raise _wrong(f"the input is named {printable(name)[:60]!r}; {INPUT!r} is expected")
    identity = document.get("id")
    if not isinstance(identity, str | None):
        raise _wrong("'id' is no text")
    return Inference(
        id=identity,
        images=_images(tensor, behind, served, most_images),
        wishes=tuple(_wishes(document, names)),
    )


def _split(body: bytes, head_length: str | None) -> tuple[bytes, memoryview]:
    if head_length is None:
        return body, memoryview(b"")
    if not (head_length.isascii() and head_length.isdecimal()) or int(head_length[:12]) > len(body):
        raise _wrong(f"{HEAD_LENGTH} is no number of bytes of the body")
    end = int(head_length)
    return body[:end], memoryview(body)[end:]


def _wrong(reason: str) -> RefusedError:
    return RefusedError(400, reason)


def _get(document: Any, key: str, kind: type[Any], where: str) -> Any:
    """The value of a key in an object, of a kind."""
    value = document.get(key) if isinstance(document, dict) else None
    if not isinstance(value, kind):
        raise _wrong(f"{where} has no {key!r} that is {'a list' if kind is list else 'text'}")
    return value


def _parameters(document: Any, where: str) -> dict[str, Any]:
    parameters = document.get("parameters")
    if not isinstance(parameters, dict | None):
        raise _wrong(f"the parameters of {where} are no object")
    if parameters and any(name.startswith("shared_memory") for name in parameters):
        raise _wrong("shared memory isn't read; send the tensor in the request")
    return parameters or {}


def _images(tensor: Any, behind: memoryview, served: Served, most: int) -> Tensor | list[bytes]:
    """The images of an input tensor."""
    shape, datatype = _shape(tensor, most), _get(tensor, "datatype", str, "the input")
    size = _parameters(tensor, "the input").get("binary_data_size")
    if size is not None and (not isinstance(size, int) or isinstance(size, bool) or size != len(behind)):
        raise _wrong(f"binary_data_size is {printable(size)[:20]}, and {len(behind)} bytes follow the JSON")
    if size is None and len(behind):
        raise _wrong(f"{len(behind)} bytes follow the JSON, and the input has no binary_data_size")
    if datatype == "BYTES":
        if math.prod(shape) != shape[0]:
            raise _wrong(f"the input's shape is {shape}; [n] is expected for n image files")
        files = list(_elements(behind)) if size is not None else _decoded(tensor.get("data"))
        if len(files) != shape[0]:
            raise _wrong(f"the input holds {len(files)} elements, and its shape says {shape[0]}")
        return files
    if datatype != "UINT8" and datatype not in float_datatypes():
        raise _wrong(f"the input is of {printable(datatype)[:20]}; UINT8, FP32, FP16, FP64 or BYTES is expected")
    if shape[1:] != [*served.shape]:
        expected = ", ".join(map(str, served.shape))
        raise _wrong(f"the input's shape is {shape}; [n, {expected}] is expected (or files, as BYTES)")
    values = _binary(behind, datatype, shape) if size is not None else _listed(tensor.get("data"), datatype, shape)
    images = torch.from_numpy(values)
    return images if datatype == "UINT8" else checked_pixels(images)


def _shape(tensor: Any, most: int) -> list[int]:
    shape = _get(tensor, "shape", list, "the input")
    if not 1 <= len(shape) <= 4:
        raise _wrong(f"the input's shape has {len(shape)} numbers; [n, c, h, w] is expected, or [n] for files")
    if not all(type(side) is int and 0 < side < 2**31 for side in shape):
        raise _wrong("the input's shape isn't a list of positive whole numbers")
    if shape[0] > most:
        raise _wrong(f"{shape[0]:,} images; at most {most:,} are taken in a request, send fewer at a time")
    return list(shape)


def _binary(behind: memoryview, datatype: str, shape: list[int]) -> np.ndarray:
    dtype = np.dtype(DATATYPES[datatype])
    if len(behind) != math.prod(shape) * dtype.itemsize:
        raise _wrong(f"{len(behind)} bytes follow the JSON; the shape {shape} of {datatype} needs another number")
    return np.frombuffer(behind, dtype).reshape(shape).copy()


def _listed(data: Any, datatype: str, shape: list[int]) -> np.ndarray:
    """The numbers of a list, nested or flat, in row-major order."""
    if not isinstance(data, list):
        raise _wrong("the input has no 'data' that is a list, and no binary_data_size")
    data = _flat(data)
    kinds, wanted = set(map(type, data)), {int} if datatype == "UINT8" else {int, float}
    if not kinds <= wanted:
        raise _wrong(f"the input's data aren't all {'whole numbers' if datatype == 'UINT8' else 'numbers'}")
    if len(data) != math.prod(shape):
        raise _wrong(f"the input holds {len(data):,} numbers; its shape {shape} needs {math.prod(shape):,}")
    if datatype == "UINT8" and (min(data) < 0 or max(data) > 255):
        raise _wrong("the input's data aren't levels from 0 to 255")
    try:
        values = np.array(data, dtype=DATATYPES[datatype])
    except OverflowError:
        raise _wrong("the input's data hold a number that is too large") from None
    return values.reshape(shape)


def _flat(data: list[Any]) -> list[Any]:
    """The elements of a list of lists, row by row."""
    while data and isinstance(data[0], list):
        if not all(isinstance(inner, list) for inner in data):
            raise _wrong("the input's data are lists of different depths")
        data = [element for inner in data for element in inner]
    return data


def _elements(behind: memoryview) -> Iterator[bytes]:
    """The elements of a binary tensor of type BYTES: 4 bytes of length, little-endian, before each."""
    place = 0
    while place < len(behind):
        if place + 4 > len(behind):
            raise _wrong("the elements' lengths don't add up to the bytes behind the JSON")
        (length,) = struct.unpack_from("<I", behind, place)
        if (end := place + 4 + length) > len(behind):
            raise _wrong("the elements' lengths don't add up to the bytes behind the JSON")
        yield bytes(behind[place + 4 : end])
        place = end


def _decoded(data: Any) -> list[bytes]:
    """The files of a JSON list of base64 texts."""
    texts = _flat(data) if isinstance(data, list) else []
    if not texts or not all(isinstance(text, str) for text in texts):
        raise _wrong("the input's data aren't texts; send each image file as base64")
    try:
        return [base64.b64decode(text, validate=True) for text in texts]
    except (binascii.Error, ValueError):
        raise _wrong("the input's data aren't base64; send each image file so, or as binary data") from None


def _wishes(document: dict[str, Any], names: Sequence[str]) -> Iterator[Wish]:
    """The output tensors that a request names; all of them where it names none."""
    binary = _flag(_parameters(document, "the request"), "binary_data_output", False)
    asked = document.get("outputs")
    asked = [{"name": name} for name in names] if asked in (None, []) else asked
    if not isinstance(asked, list) or len(asked) > len(names):
        raise _wrong(f"'outputs' is no list of at most {len(names)} tensors")
    seen = set()
    for output in asked:
        name = _get(output, "name", str, "an output")
        if name not in names or name in seen:
            problem = "is asked for twice" if name in seen else f"isn't there; there is {', '.join(names)}"
            raise _wrong(f"the output {printable(name)[:60]!r} {problem}")
        seen.add(name)
        parameters = _parameters(output, "an output")
        count = parameters.get("classification", 0)
        if not isinstance(count, int) or isinstance(count, bool) or count < ("classification" in parameters):
            raise _wrong("classification is no positive number of labels")
        yield Wish(name=name, binary=_flag(parameters, "binary_data", binary), classification=count)


def _flag(parameters: dict[str, Any], name: str, default: bool) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise _wrong(f"{name} is neither true nor false")
    return value
