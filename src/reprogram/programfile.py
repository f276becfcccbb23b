"""The one file a program is shared as: read like a letter from a stranger.

A `.safetensors` file with the tensors of program and label map alone and a JSON header in its metadata
(docs/file-format.md). There is one way to write a given program, byte for byte, and the reader refuses every other:
what it parsed must encode to the very bytes it read, and the header's digest is the SHA-256 of those bytes with the
digest itself zeroed.
"""

import hashlib
import json
import math
import os
import stat
import struct
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, NoReturn

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor

from reprogram._version import __version__
from reprogram.checkpoint import write_atomic
from reprogram.errors import HostMismatchError, HostUnavailableError, ProgramFileError, ReprogramError
from reprogram.hosts.base import Host
from reprogram.labelmaps.base import LabelMap
from reprogram.model import Provenance, Reprogrammed, TaskRecord, compose, load_host
from reprogram.programs.base import Program
from reprogram.registry import build_config, find, names, parse

FORMAT = "reprogram-program"
VERSION = 1
MAX_FILE = 256 * 2**20
MAX_HEADER = 2**20
MAX_TENSORS = 64
MAX_CANVAS = 2**24
MAX_LABELS = 10**6
DTYPES = {torch.float32: "F32", torch.int64: "I64", torch.int32: "I32", torch.uint8: "U8", torch.bool: "BOOL"}
FAMILIES = {"canvas": "canvases", "program": "programs", "label_map": "label-maps"}
ZERO_DIGEST = "0" * 64


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class ComponentHeader(_Strict):
    """A component: its listed name and its options."""

    name: str
    config: dict[str, Any]


class HostHeader(_Strict):
    """The host that the program was learned for."""

    id: str
    fingerprint: str
    channels: int
    size: tuple[int, int]
    num_classes: int


class TaskHeader(_Strict):
    """The task that it was learned for."""

    name: str
    classes: tuple[str, ...]
    fingerprint: str
    shape: tuple[int, int, int]


class Header(_Strict):
    """The JSON header of a program file, version 1."""

    format: str
    version: int
    components: dict[str, ComponentHeader]
    host: HostHeader
    task: TaskHeader
    digest: str
    created_by: str
    metrics: dict[str, float | int | str]


@dataclass(frozen=True, kw_only=True)
class ProgramFile:
    """A program file that was read and checked in full, without its host.

    Attributes:
        header: what it says about itself.
        tensors: of program and label map.
        parts: canvas, program and label map, built and loaded.
        num_bytes: its size.
    """

    header: Header
    tensors: dict[str, Tensor]
    parts: tuple[Any, Program, LabelMap]
    num_bytes: int


def save(model: Reprogrammed, path: Path) -> Path:
    """Write a model's program file.

    Raises:
        ProgramFileError: a learned value isn't finite.
        DataError: it can't be written.
    """
    if not model.provenance.created_by:
        model.provenance.created_by = f"reprogram {__version__}"
    tensors = {
        name: value.float() if value.is_floating_point() else value for name, value in model.learned_state().items()
    }
    for name, value in tensors.items():
        if not torch.isfinite(value).all():
            raise ProgramFileError(f"{name} holds values that are not finite; the program can't be saved")
    info = model.host.info
    header = {
        "format": FORMAT,
        "version": VERSION,
        "components": {
            part: {"name": component.name(), "config": _plain(component.config)}
            for part in FAMILIES
            if (component := getattr(model, part))
        },
        "host": {
            "id": info.id,
            "fingerprint": model.host.fingerprint,
            "channels": info.channels,
            "size": list(info.size),
            "num_classes": info.num_classes,
        },
        "task": _plain(model.task),
        "created_by": model.provenance.created_by,
        "metrics": model.provenance.metrics,
    }
    return write_atomic(path, encode(header, tensors))


def _plain(config: Any) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(asdict(config)))
    return plain


def encode(header: dict[str, Any], tensors: dict[str, Tensor]) -> bytes:
    """The bytes of a program file, digest included; a function of its arguments alone."""
    order = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    entries, body, end = {}, [], 0
    for name in order:
        raw = tensors[name].contiguous().view(-1).view(torch.uint8).numpy().tobytes() if tensors[name].numel() else b""
        entries[name] = {
            "dtype": DTYPES[tensors[name].dtype],
            "shape": list(tensors[name].shape),
            "data_offsets": [end, end + len(raw)],
        }
        body.append(raw)
        end += len(raw)

    def whole(digest: str) -> bytes:
        text = _json({**header, "digest": digest})
        head = _json({**entries, "__metadata__": {"reprogram": text}}).encode()
        head += b" " * (-len(head) % 8)
        return struct.pack("<Q", len(head)) + head + b"".join(body)

    return whole(hashlib.sha256(whole(ZERO_DIGEST)).hexdigest())


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def read(path: Path) -> ProgramFile:
    """Read and check a program file, without its host.

    Raises:
        ProgramFileError: refused; says why.
    """
    raw = _read_bytes(path)
    try:
        header, tensors = _decode(raw, path)
        parts = _build(header, tensors, path)
    except ProgramFileError:
        raise
    except ReprogramError as error:
        raise ProgramFileError(f"{path}: refused: {error}") from None
    return ProgramFile(header=header, tensors=tensors, parts=parts, num_bytes=len(raw))


def load(path: Path, *, host: Host | str | None, download: bool, any_host: bool) -> Reprogrammed:
    """See `reprogram.load`."""
    file = read(path)
    header = file.header
    if host is None:
        host = _named_host(path, header.host.id, download)
    elif isinstance(host, str):
        host = load_host(host, download=download)
    info = host.info
    if (info.shape, info.num_classes) != ((header.host.channels, *header.host.size), header.host.num_classes):
        raise HostMismatchError(
            f"{path}: learned for a host of {'x'.join(map(str, (header.host.channels, *header.host.size)))} pixels and "
            f"{header.host.num_classes} classes, {info.id} has {'x'.join(map(str, info.shape))}, {info.num_classes}; "
            f"give --host {header.host.id}"
        )
    if host.fingerprint != header.host.fingerprint:
        message = f"{path}: learned for {header.host.id}, whose weights or preprocessing differ from those of {info.id}"
        if not any_host:
            raise HostMismatchError(f"{message}; give the right --host, or --any-host to go on all the same")
        import warnings

        warnings.warn(f"{message}; results will differ", UserWarning, stacklevel=3)
    canvas, program, label_map = file.parts
    task = TaskRecord(**header.task.model_dump())
    model = Reprogrammed(canvas=canvas, program=program, host=host, label_map=label_map, task=task)
    model.provenance = Provenance(created_by=header.created_by, metrics=dict(header.metrics))
    return model.match_host()


def _named_host(path: Path, spec: str, download: bool) -> Host:
    """The host that a file names: a listed one with plain options; a stranger doesn't choose which files are opened."""
    try:
        parsed = parse(spec)
        if parsed.name == "checkpoint" or "kwargs" in parsed.options:
            raise HostUnavailableError("it was built from a file or with special arguments")
        return load_host(spec, download=download)
    except ReprogramError as error:
        kind = type(error) if isinstance(error, HostUnavailableError) else HostUnavailableError
        raise kind(
            f"{path}: its host {spec} can't be built from its name: {error}; give the host with --host"
        ) from None


def _read_bytes(path: Path) -> bytes:
    try:
        found = path.lstat()
    except OSError:
        raise ProgramFileError(f"{path}: no such file; give the path of a program file") from None
    if not stat.S_ISREG(found.st_mode):
        raise ProgramFileError(f"{path}: not an ordinary file; give the program file itself")
    if found.st_size > MAX_FILE:
        raise ProgramFileError(f"{path}: {found.st_size} bytes; a program file has at most {MAX_FILE}")
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ProgramFileError(f"{path}: not an ordinary file; give the program file itself")
            start = file.read(8)
            if len(start) < 8 or struct.unpack("<Q", start)[0] > MAX_HEADER:
                raise ProgramFileError(
                    f"{path}: not a program file: its first bytes announce no header of at most 1 MiB"
                )
            return start + file.read(MAX_FILE)
    except OSError as error:
        raise ProgramFileError(f"{path}: can't be read ({error.strerror})") from None


def _decode(raw: bytes, path: Path) -> tuple[Header, dict[str, Tensor]]:
    """Parse the bytes; nothing is allocated that the file doesn't hold."""

    def refuse(why: str) -> NoReturn:
        raise ProgramFileError(f"{path}: refused: {why}; get the file again from its source")

    (length,) = struct.unpack("<Q", raw[:8])
    body = raw[8 + length :]
    try:
        entries = _parse(raw[8 : 8 + length].decode("utf-8"))
        metadata = entries.pop("__metadata__")
        if not isinstance(metadata, dict) or list(metadata) != ["reprogram"]:
            raise ValueError("metadata")
        header_json = _parse(metadata["reprogram"])
    except KeyError:
        refuse("not a program file: it has no header of reprogram")
    except (ValueError, TypeError, RecursionError) as error:
        refuse(f"not a program file: its header can't be read ({str(error)[:80]})")
    version = header_json.get("version")
    if header_json.get("format") != FORMAT:
        refuse("not a program file: its header names another format")
    if version != VERSION:
        raise ProgramFileError(
            f"{path}: format version {str(version)[:20]!r}, this release reads {VERSION}; update reprogram"
        )
    try:
        header = Header.model_validate_json(metadata["reprogram"])
    except ValidationError as error:
        first = error.errors()[0]
        refuse(f"header field {'.'.join(map(str, first['loc']))[:80]!r}: {first['msg'][:80]}")
    if len(entries) > MAX_TENSORS:
        refuse(f"{len(entries)} tensors; at most {MAX_TENSORS} are read")
    tensors = {}
    for name, entry in entries.items():
        tensor = _tensor(entry, body)
        if tensor is None:
            refuse(f"tensor {name[:80]!r} has no valid type, shape and place")
        tensors[name] = tensor
    if not all(bool(torch.isfinite(t).all()) for t in tensors.values()):
        refuse("a tensor holds values that are not finite")
    again = encode({k: v for k, v in header_json.items() if k != "digest"}, tensors)
    if again != raw:
        refuse("truncated or altered: its digest doesn't hold")
    return header, tensors


def _parse(text: str) -> dict[str, Any]:
    """JSON with unique keys and finite numbers."""

    def unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a key occurs twice")
        return found

    def finite(constant: str) -> NoReturn:
        raise ValueError(f"{constant} is no number")

    def number(digits: str) -> float:
        value = float(digits)
        return value if math.isfinite(value) else finite(digits[:20])

    parsed = json.loads(text, object_pairs_hook=unique, parse_constant=finite, parse_float=number)
    if not isinstance(parsed, dict):
        raise ValueError("not an object")
    return parsed


def _tensor(entry: Any, body: bytes) -> Tensor | None:
    if not isinstance(entry, dict) or sorted(entry) != ["data_offsets", "dtype", "shape"]:
        return None
    dtype = next((d for d, text in DTYPES.items() if text == entry["dtype"]), None)
    shape, offsets = entry["shape"], entry["data_offsets"]
    if dtype is None or not all(_naturals(value) for value in (shape, offsets)) or len(offsets) != 2 or len(shape) > 8:
        return None
    start, end = offsets
    count = 1
    for size in shape:
        count *= size
        if count * dtype.itemsize > len(body):
            return None
    if not 0 <= start <= end <= len(body) or end - start != count * dtype.itemsize:
        return None
    if not count:
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(bytearray(body[start:end]), dtype=dtype).view(shape)


def _naturals(values: Any) -> bool:
    return isinstance(values, list) and all(type(v) is int and 0 <= v <= MAX_FILE for v in values)


def _build(header: Header, tensors: dict[str, Tensor], path: Path) -> tuple[Any, Program, LabelMap]:
    """Build the components that the header names and load exactly their tensors."""

    def refuse(why: str) -> NoReturn:
        raise ProgramFileError(f"{path}: refused: {why}")

    host, task = header.host, header.task
    sides = (host.channels, *host.size, *task.shape)
    if (
        min(*sides, host.num_classes) < 1
        or host.channels * host.size[0] * host.size[1] > MAX_CANVAS
        or max(sides) > MAX_CANVAS
    ):
        refuse(
            f"a canvas of {host.channels}x{host.size[0]}x{host.size[1]} pixels; at most {MAX_CANVAS:,} values are read"
        )
    if host.num_classes > MAX_LABELS or task.shape[0] * task.shape[1] * task.shape[2] > MAX_CANVAS:
        refuse("too many host labels or task pixels")
    if sorted(header.components) != sorted(FAMILIES):
        refuse(f"its components are {sorted(header.components)}, expected {sorted(FAMILIES)}")
    chosen = {}
    for part, family in FAMILIES.items():
        component = header.components[part]
        if component.name not in names(family):
            refuse(f"no {part.replace('_', ' ')} named {component.name[:80]!r} is installed")
        variant = find(family, component.name)
        wrong = sorted(set(component.config) ^ {f.name for f in fields(variant.Config)})
        if wrong:
            refuse(f"{component.name}: option {wrong[0][:80]!r} is unknown or missing")
        chosen[family] = (variant, build_config(variant, component.config, strict=True))
    canvas, program, label_map = compose(
        chosen,
        image_shape=task.shape,
        host_shape=(host.channels, *host.size),
        num_host_labels=host.num_classes,
        num_task_labels=len(task.classes),
    )
    expected = {f"program.{k}": v for k, v in program.state_dict().items()}
    expected |= {f"label_map.{k}": v for k, v in label_map.state_dict().items()}
    if sorted(expected) != sorted(tensors):
        refuse(f"its tensors are {sorted(tensors)[:4]}, expected {sorted(expected)}")
    for name, value in expected.items():
        dtype = torch.float32 if value.is_floating_point() else value.dtype
        if value.shape != tensors[name].shape or dtype != tensors[name].dtype:
            refuse(f"tensor {name!r} is {list(tensors[name].shape)}, expected {list(value.shape)}")
    for built, prefix in ((program, "program."), (label_map, "label_map.")):
        built.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
    label_map.validate()
    return canvas, program, label_map
