"""The tensors of the Open Inference Protocol v2: their records, and how they are written and read."""

import base64
import math
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from reprogram.errors import HostUnavailableError
from reprogram.hosts._json_path import kind_of
from reprogram.hosts._reading import tensor
from reprogram.hosts._vocabulary import Answer
from reprogram.hosts._wire import GarbledError, Response, WrongAnswerError
from reprogram.utils.text import printable

DATATYPES = {
    "BOOL": "?",
    "UINT8": "<u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "INT8": "<i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}
"""NumPy's names of the protocol's datatypes, as they lie in binary tensors."""

TEXT = {"BYTES", "STRING"}
"""The datatypes of texts and files; older servers write STRING."""

HEAD_LENGTH = "inference-header-content-length"


def float_datatypes() -> set[str]:
    """The datatypes of inputs that are (p - mean) / std."""
    return {"FP16", "FP32", "FP64"}


@dataclass(frozen=True, kw_only=True)
class TensorRecord:
    """A tensor in a model's metadata; -1 in its shape is any number."""

    name: str
    datatype: str
    shape: tuple[int, ...]

    @classmethod
    def all_of(cls, document: Any, side: str, host: str) -> "list[TensorRecord]":
        """The records of a model's inputs or outputs.

        Args:
            document: the metadata.
            side: `inputs` or `outputs`.
            host: its name, for the message.

        Raises:
            HostUnavailableError: the metadata have another shape.
        """
        try:
            return [
                cls(name=str(item["name"]), datatype=str(item["datatype"]), shape=tuple(map(int, item["shape"])))
                for item in document[side]
            ]
        except (KeyError, TypeError, ValueError, OverflowError):
            raise HostUnavailableError(
                f"host {host}: the metadata are {kind_of(document)}; {side!r} of name, datatype and shape is expected"
            ) from None

    def layout(self, channels: int) -> Literal["NCHW", "NHWC"]:
        """Where the channels stand: `NCHW` unless only the last number of the shape can be theirs.

        Args:
            channels: of the images.
        """
        axes = self.shape[-3:]
        first = len(axes) == 3 and axes[0] in (channels, -1)
        return "NHWC" if len(axes) == 3 and axes[2] == channels and not (first and axes[0] == channels) else "NCHW"

    def side(self, layout: str) -> int:
        """Height and width in pixels; 0 where they may be any, or differ.

        Args:
            layout: `NCHW` or `NHWC`.
        """
        axes = self.shape[-3:]
        if len(axes) != 3:
            return 0
        height, width = axes[1:] if layout == "NCHW" else axes[:2]
        return height if height == width > 0 else 0

    def is_single(self, format: str) -> bool:
        """Whether the tensor holds one image, no batch.

        Args:
            format: how images are sent.
        """
        if format in ("json", "binary"):
            return len(self.shape) == 3 or (len(self.shape) == 4 and self.shape[0] == 1)
        return bool(self.shape) and self.shape[0] == 1


def input_tensor(
    config: Any, images: np.ndarray | list[bytes], *, batched: bool
) -> tuple[dict[str, Any], bytes | None]:
    """The input of a request.

    Args:
        config: of the source `oip`.
        images: uint8, b × H × W × C, or b files.
        batched: whether the tensor has an axis for the images; without one, b is 1.

    Returns:
        The tensor's JSON object, and its bytes where they stand behind the JSON.
    """
    if isinstance(images, list):
        shape = [len(images)]
        head: dict[str, Any] = {"name": config.input, "shape": shape, "datatype": "BYTES"}
        if config.format == "base64":
            return {**head, "data": [base64.b64encode(file).decode() for file in images]}, None
        behind = b"".join(struct.pack("<I", len(file)) + file for file in images)
        return {**head, "parameters": {"binary_data_size": len(behind)}}, behind
    values = images if config.datatype == "UINT8" else _normalised(images, config)
    values = values if config.layout == "NHWC" else values.transpose(0, 3, 1, 2)
    values = values if batched else values[0]
    head = {"name": config.input, "shape": list(values.shape), "datatype": config.datatype}
    if config.format == "json":
        return {**head, "data": values.reshape(-1).tolist()}, None
    behind = np.ascontiguousarray(values, dtype=DATATYPES[config.datatype]).tobytes()
    return {**head, "parameters": {"binary_data_size": len(behind)}}, behind


def _normalised(images: np.ndarray, config: Any) -> np.ndarray:
    """(p - mean) / std in the input's own type, b × H × W × C; computed in float64 and rounded once."""
    mean = np.array(config.mean or (0.0,) * images.shape[3])
    std = np.array(config.std or (1.0,) * images.shape[3])
    values: np.ndarray = ((images / 255 - mean) / std).astype(DATATYPES[config.datatype])
    return values


@dataclass(frozen=True, kw_only=True)
class Answered:
    """An output tensor: numbers of its shape, or texts in order."""

    shape: tuple[int, ...]
    numbers: np.ndarray | None = None
    texts: tuple[str, ...] = ()

    @staticmethod
    def head_of(response: Response) -> Any:
        """The JSON part of a response.

        Args:
            response: what came back.

        Raises:
            GarbledError: there is none.
        """
        length = response.headers.get(HEAD_LENGTH)
        if length is None:
            return response.json()
        if not re.fullmatch(r"\d{1,10}", length) or int(length) > len(response.body):
            raise GarbledError(
                f"answers with {len(response.body)} bytes, of which {printable(length)[:20]} were to be JSON"
            )
        return replace(response, body=response.body[: int(length)]).json()

    def rows(self, count: int) -> list[Answer]:
        """The numbers of each image.

        Args:
            count: b, the images that were asked.

        Raises:
            WrongAnswerError: the tensor isn't b × K.
        """
        if self.numbers is None:
            raise WrongAnswerError("answers with texts where numbers are expected; say classification=N")
        shape = self.numbers.shape
        if not self.numbers.size or not shape or (shape[0] != count and not (count == 1 and len(shape) == 1)):
            raise WrongAnswerError(f"answers {count} images with a tensor of shape {list(shape)}")
        return list(self.numbers.reshape(count, -1).astype(np.float64))

    def classified(self, count: int, *, by_name: bool) -> list[Answer]:
        """The labels of each image with their numbers, from texts `number:index[:label]`.

        Args:
            count: b, the images that were asked.
            by_name: whether labels are known by their names, where they have any; else by their indices.

        Raises:
            WrongAnswerError: the tensor holds no such texts.
        """
        if self.numbers is not None or not count or len(self.texts) % count:
            raise WrongAnswerError(
                f"answers {count} images with a tensor of shape {list(self.shape)} that names no labels"
            )
        each = len(self.texts) // count
        return [[_label(text, by_name) for text in self.texts[i * each : (i + 1) * each]] for i in range(count)]


def _label(text: str, by_name: bool) -> tuple[str | int, float]:
    value, _, rest = text.partition(":")
    index, _, name = rest.partition(":")
    try:
        return (name if name and by_name else int(index)), float(value)
    except ValueError:
        raise WrongAnswerError(f"answers with {printable(text)[:40]!r}; number:index:label is expected") from None


def read_outputs(response: Response) -> dict[str, Answered]:
    """The output tensors of a response, by name.

    Args:
        response: what came back.

    Raises:
        GarbledError: it isn't whole.
        WrongAnswerError: it is no inference response.
    """
    document = Answered.head_of(response)
    outputs = document.get("outputs") if isinstance(document, dict) else None
    if not isinstance(outputs, list):
        raise WrongAnswerError(f"answers with {kind_of(document)}; 'outputs' are expected")
    place = int(response.headers.get(HEAD_LENGTH) or len(response.body))
    found = {}
    for output in outputs:
        try:
            name, datatype, shape = str(output["name"]), str(output["datatype"]), tuple(map(int, output["shape"]))
            size = (output.get("parameters") or {}).get("binary_data_size")
            size = None if size is None else int(size)
            if min(size or 0, *shape, 0) < 0:
                raise ValueError
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
            raise WrongAnswerError(f"answers with {kind_of(output)}; name, datatype and shape are expected") from None
        if size is None:
            found[name] = _from_json(output.get("data"), datatype, shape)
        else:
            raw = response.body[place : place + size]
            if len(raw) != size:
                raise GarbledError(f"answers with {len(raw)} of {size} bytes of the output {name!r}")
            found[name], place = _from_bytes(raw, datatype, shape), place + size
    return found


def _from_json(data: Any, datatype: str, shape: Sequence[int]) -> Answered:
    if datatype in TEXT:
        texts = np.array(data, dtype=object).reshape(-1).tolist()
        return Answered(shape=tuple(shape), texts=tuple(map(str, texts)))
    return Answered(shape=tuple(shape), numbers=tensor(data, shape))


def _from_bytes(raw: bytes, datatype: str, shape: Sequence[int]) -> Answered:
    if datatype in TEXT:
        texts, place = [], 0
        while place + 4 <= len(raw):
            (length,) = struct.unpack_from("<I", raw, place)
            texts.append(raw[place + 4 : place + 4 + length].decode("utf-8", "replace"))
            place += 4 + length
        if place != len(raw):
            raise GarbledError("answers with texts whose lengths don't add up")
        return Answered(shape=tuple(shape), texts=tuple(texts))
    if datatype not in DATATYPES:
        raise WrongAnswerError(f"answers with the datatype {printable(datatype)[:20]}")
    dtype = np.dtype(DATATYPES[datatype])
    if len(raw) != math.prod(shape) * dtype.itemsize:
        raise GarbledError(f"answers with {len(raw)} bytes where {list(shape)} numbers of {datatype} are expected")
    try:
        return Answered(shape=tuple(shape), numbers=np.frombuffer(raw, dtype).reshape([*shape]))
    except (ValueError, OverflowError):
        raise WrongAnswerError(f"answers with a tensor of {len(shape)} axes, {str([*shape])[:40]}") from None
