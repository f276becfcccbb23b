"""The bytes of a program file: schema, limits and the one canonical form (docs/file-format.md).

This module builds no component and opens no path: a header and tensors become bytes, and a stream of bytes becomes a
header and tensors or is refused. Sizes are checked before parsing, and no more is read than the checked head announces.
"""

import hashlib
import json
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, BinaryIO, NoReturn

import numpy as np
import torch
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from reprogram.errors import ProgramFileError
from reprogram.utils.text import MAX_CLASS_NAME
from reprogram.utils.validation import without_repeats

FORMAT = "reprogram-program"
VERSION = 1
MAX_FILE = 256 * 2**20
MAX_HEADER = 2**20
MAX_BRACKETS = 2**12
MAX_TENSORS = 64
MAX_DIMENSIONS = 8
MAX_LABELS = 10**6
MAX_CLASSES = 2**15
MAX_COMMAS = MAX_CLASSES + 2**12
MAX_METRICS = 100
MAX_INTEGER = 2**63 - 1
DTYPES = {"F32": torch.float32, "I64": torch.int64, "I32": torch.int32, "U8": torch.uint8, "BOOL": torch.bool}
DTYPE_NAMES = {dtype: name for name, dtype in DTYPES.items()}
ZERO_DIGEST = "0" * 64

Text = Annotated[str, Field(max_length=4096)]
ClassName = Annotated[str, Field(max_length=MAX_CLASS_NAME)]

Names = Annotated[tuple[ClassName, ...], Field(max_length=MAX_CLASSES), AfterValidator(without_repeats)]
Count = Annotated[int, Field(ge=1, le=MAX_LABELS)]
Integer = Annotated[int, Field(ge=-MAX_INTEGER, le=MAX_INTEGER)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class ComponentHeader(_Strict):
    """A component's listed name and its options."""

    name: Text
    config: dict[str, Any]


class HostHeader(_Strict):
    """The host that the program was learned for; `labels` are those that a service was seen to say."""

    id: Text
    fingerprint: Text
    channels: Count
    size: tuple[Count, Count]
    num_classes: Count
    labels: Names = ()


class TaskHeader(_Strict):
    """The task that the program was learned for."""

    name: Text
    classes: Names
    fingerprint: Text
    shape: tuple[Count, Count, Count]


class Header(_Strict):
    """The JSON header of a program file, version 1."""

    format: Text
    version: int
    components: Annotated[dict[str, ComponentHeader], Field(max_length=3)]
    host: HostHeader
    task: TaskHeader
    digest: Text
    created_by: Text
    metrics: Annotated[dict[Text, float | Integer | Text], Field(max_length=MAX_METRICS)]


@dataclass(frozen=True, kw_only=True)
class Slot:
    """The type and the shape of a tensor in the body."""

    dtype: torch.dtype
    shape: tuple[int, ...]

    @property
    def num_bytes(self) -> int:
        """The tensor's size in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True, kw_only=True)
class Head:
    """Everything before the body, checked without it.

    Attributes:
        header: the parsed JSON header.
        plain: the same header as JSON values.
        slots: the type and the shape of each tensor in the body, by name.
        num_bytes: the head's size, with the 8 bytes of its length.
    """

    header: Header
    plain: dict[str, Any]
    slots: dict[str, Slot]
    num_bytes: int

    @property
    def num_body_bytes(self) -> int:
        """The body's size in bytes."""
        return sum(slot.num_bytes for slot in self.slots.values())


def _refuse(why: str) -> NoReturn:
    """Refuse the file for a reason that can only be damage or malice."""
    raise ProgramFileError(f"refused: {why}; get the file again from its source")


def encode(header: dict[str, Any], tensors: dict[str, Tensor]) -> bytes:
    """The bytes of a program file, digest included; equal arguments give equal bytes.

    Args:
        header: the header as JSON values, without the digest.
        tensors: the tensors of program and label map, by name, on the CPU.
    """
    slots = {name: Slot(dtype=value.dtype, shape=tuple(value.shape)) for name, value in tensors.items()}
    body = b"".join(
        tensors[name].contiguous().view(-1).view(torch.uint8).numpy().tobytes()
        for name in _order(slots)
        if tensors[name].numel()
    )
    return _encode_head({**header, "digest": _digest(header, slots, body)}, slots) + body


def _digest(header: dict[str, Any], slots: dict[str, Slot], body: bytes | memoryview) -> str:
    digest = hashlib.sha256(_encode_head({**header, "digest": ZERO_DIGEST}, slots))
    digest.update(body)
    return digest.hexdigest()


def _order(slots: dict[str, Slot]) -> list[str]:
    """The order of the tensors in the body: wide types first, so that each is aligned, then by name."""
    return sorted(slots, key=lambda name: (-slots[name].dtype.itemsize, name))


def _encode_head(header: dict[str, Any], slots: dict[str, Slot]) -> bytes:
    entries: dict[str, Any] = {"__metadata__": {"reprogram": _json(header)}}
    end = 0
    for name in _order(slots):
        slot, start = slots[name], end
        end += slot.num_bytes
        entries[name] = {"dtype": DTYPE_NAMES[slot.dtype], "shape": list(slot.shape), "data_offsets": [start, end]}
    head = _json(entries).encode()
    head += b" " * (-len(head) % 8)
    return struct.pack("<Q", len(head)) + head


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def read_head(file: BinaryIO) -> Head:
    """Read and check a file up to its body.

    Args:
        file: the file's bytes, from the beginning.

    Raises:
        ProgramFileError: the file is refused; says why, without the file's name.
    """
    start = file.read(8)
    length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
    if not 2 <= length <= MAX_HEADER:
        _refuse("not a program file: its first bytes announce no header of at most 1 MiB")
    raw = file.read(length)
    if len(raw) < length:
        _refuse("truncated: it ends within its header")
    entries, plain = _parse_head(raw)
    header = _validate(plain, entries.pop("__metadata__")["reprogram"])
    if len(entries) > MAX_TENSORS:
        _refuse(f"{len(entries)} tensors; at most {MAX_TENSORS} are read")
    slots = {name: _slot(name, entry) for name, entry in entries.items()}
    if _encode_head(plain, slots) != start + raw:
        _refuse("altered: its header isn't in canonical form")
    return Head(header=header, plain=plain, slots=slots, num_bytes=len(start) + length)


def _parse_head(raw: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """The head's entries and the header in its metadata, as JSON values."""
    if raw.count(b"{") + raw.count(b"[") > MAX_BRACKETS or raw.count(b",") > MAX_COMMAS:
        _refuse(f"its header holds more than {MAX_BRACKETS} brackets or {MAX_COMMAS} commas")
    try:
        entries = _parse(raw.decode("utf-8"))
        metadata = entries["__metadata__"]
        if not isinstance(metadata, dict) or list(metadata) != ["reprogram"]:
            raise ValueError("metadata")
        return entries, _parse(metadata["reprogram"])
    except KeyError:
        _refuse("not a program file: it has no header of reprogram")
    except (ValueError, TypeError, RecursionError) as error:
        _refuse(f"not a program file: its header can't be read ({str(error)[:80]})")


def _validate(plain: dict[str, Any], text: str) -> Header:
    if plain.get("format") != FORMAT:
        _refuse("not a program file: its header names another format")
    version = plain.get("version")
    if version != VERSION:
        raise ProgramFileError(f"format version {str(version)[:20]!r}, this release reads {VERSION}; update reprogram")
    try:
        return Header.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        _refuse(f"header field {'.'.join(map(str, first['loc']))[:80]!r}: {first['msg'][:80]}")


def _parse(text: str) -> dict[str, Any]:
    """JSON with unique keys, finite numbers and integers of 64 bits."""

    def unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
        values = dict(pairs)
        if len(values) != len(pairs):
            raise ValueError("a key occurs twice")
        return values

    def refused(constant: str) -> NoReturn:
        raise ValueError(f"{constant[:20]} is no number of 64 bits")

    def real(digits: str) -> float:
        value = float(digits)
        return value if math.isfinite(value) else refused(digits)

    def whole(digits: str) -> int:
        value = int(digits) if len(digits) <= 20 else refused(digits)
        return value if abs(value) <= MAX_INTEGER else refused(digits)

    parsed = json.loads(text, object_pairs_hook=unique, parse_constant=refused, parse_float=real, parse_int=whole)
    if not isinstance(parsed, dict):
        raise ValueError("not an object")
    return parsed


def _slot(name: str, entry: Any) -> Slot:
    """The tensor that an entry of the head announces; its offsets are checked by encoding the head again."""
    if isinstance(entry, dict) and isinstance(entry.get("dtype"), str):
        dtype, shape = DTYPES.get(entry["dtype"]), entry.get("shape")
        if dtype is not None and isinstance(shape, list) and len(shape) <= MAX_DIMENSIONS:
            slot = Slot(dtype=dtype, shape=tuple(shape))
            if all(type(size) is int and 0 <= size <= MAX_FILE for size in shape) and slot.num_bytes <= MAX_FILE:
                return slot
    _refuse(f"tensor {name[:80]!r} has no valid type and shape")


def read_body(file: BinaryIO, head: Head) -> dict[str, Tensor]:
    """Read and check the body's tensors, by name: exactly the announced ones, with finite values and the right digest.

    Args:
        file: the file's bytes, from the end of the head.
        head: the checked head.

    Raises:
        ProgramFileError: the file is refused; says why, without the file's name.
    """
    body = np.empty(head.num_body_bytes, dtype=np.uint8).data  # A bytearray would be filled with zeros first.
    if file.readinto(body) != len(body) or file.read(1):  # type: ignore[attr-defined]
        _refuse("truncated, or longer than its header announces")
    if _digest(head.plain, head.slots, body) != head.header.digest:
        _refuse("damaged or altered: its digest doesn't hold")
    tensors, start = {}, 0
    for name in _order(head.slots):
        slot = head.slots[name]
        raw = body[start : start + slot.num_bytes]
        start += slot.num_bytes
        tensors[name] = (
            torch.frombuffer(raw, dtype=slot.dtype).view(slot.shape)
            if raw
            else torch.empty(slot.shape, dtype=slot.dtype)
        )
        if slot.dtype == torch.bool and raw and max(raw) > 1:
            _refuse(f"tensor {name[:80]!r} holds truth values other than 0 and 1")
        if not torch.isfinite(tensors[name]).all():
            _refuse(f"tensor {name[:80]!r} holds values that are not finite")
    return tensors
