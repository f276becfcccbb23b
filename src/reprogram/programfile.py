"""The one file a program is shared as: read like a letter from a stranger.

A `.safetensors` file with the tensors of program and label map alone and a JSON header in its metadata
(docs/file-format.md). `reprogram.programformat` turns bytes into a checked header and tensors and back; here files are
opened and components built. The order is what keeps a stranger's file small and quick to refuse: the path, the header,
the components that it names, the tensors that these have, and only then the body.
"""

import io
import json
import os
import stat
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from reprogram._version import __version__
from reprogram.checkpoint import write_atomic
from reprogram.errors import HostMismatchError, HostUnavailableError, ProgramFileError, ReprogramError
from reprogram.hosts.base import Host, HostSource
from reprogram.labelmaps.base import LabelMap
from reprogram.model import Provenance, Reprogrammed, TaskRecord, compose, load_host
from reprogram.programformat import FORMAT, MAX_FILE, VERSION, Head, Header, encode, read_body, read_head
from reprogram.programs.base import Program
from reprogram.registry import build_config, configure, find, is_listed

FAMILIES = {"canvas": "canvases", "program": "programs", "label_map": "label-maps"}


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
        ProgramFileError: a learned value isn't finite, or the reader would refuse the file.
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
    try:
        raw = encode(header, tensors)
        file = io.BytesIO(raw)
        read_body(file, read_head(file))
    except (ProgramFileError, ValueError, TypeError) as error:  # JSON has no form for NaN, or for what is no number.
        raise ProgramFileError(f"{path}: can't be saved, the file would not be read: {error}") from None
    return write_atomic(path, raw)


def _plain(config: Any) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(asdict(config)))
    unwritten = {f.name for f in fields(config) if f.metadata.get("later") and getattr(config, f.name) == f.default}
    return {key: value for key, value in plain.items() if key not in unwritten}


def read(path: Path) -> ProgramFile:
    """Read and check a program file, without its host.

    Raises:
        ProgramFileError: refused; says why.
    """
    try:
        with _open(path) as file:
            head = read_head(file)
            parts = _build(head.header)
            _match(head, parts, os.fstat(file.fileno()).st_size)
            tensors = read_body(file, head)
        _load_state(parts, tensors)
    except OSError as error:
        raise ProgramFileError(f"{path}: can't be read ({error.strerror})") from None
    except ProgramFileError as error:
        raise ProgramFileError(f"{path}: {error}") from None
    except ReprogramError as error:
        raise ProgramFileError(f"{path}: refused: {error}") from None
    return ProgramFile(header=head.header, tensors=tensors, parts=parts, num_bytes=head.num_bytes + head.num_body_bytes)


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
        variant, config = configure("hosts", spec)
        source: HostSource = variant(config)
        if not source.nameable():
            raise HostUnavailableError("it was built from a file or with special arguments")
        return source.build(download=download)
    except ReprogramError as error:
        kind = type(error) if isinstance(error, HostUnavailableError) else HostUnavailableError
        raise kind(
            f"{path}: its host {spec} can't be built from its name: {error}; give the host with --host"
        ) from None


def _open(path: Path) -> BinaryIO:
    """Open an ordinary file, and nothing that a path might lead to instead."""
    try:
        kind = path.lstat().st_mode
    except (OSError, ValueError):
        raise ProgramFileError("no such file; give the path of a program file") from None
    inside = path / "program.safetensors"
    if stat.S_ISDIR(kind) and inside.is_file():
        raise ProgramFileError(f"a folder; give the program file in it, {inside}")
    if not stat.S_ISREG(kind):
        raise ProgramFileError("not an ordinary file; give the program file itself")
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    file = os.fdopen(os.open(path, flags), "rb")
    found = os.fstat(file.fileno())
    if stat.S_ISREG(found.st_mode) and found.st_size <= MAX_FILE:
        return file
    file.close()
    raise ProgramFileError(f"{found.st_size} bytes; a program file is an ordinary file of at most {MAX_FILE}")


def _build(header: Header) -> tuple[Any, Program, LabelMap]:
    """Build the components that the header names: listed ones, with all of their options and no other."""
    if sorted(header.components) != sorted(FAMILIES):
        raise ProgramFileError(f"refused: its components are {sorted(header.components)}, not {sorted(FAMILIES)}")
    chosen = {}
    for part, family in FAMILIES.items():
        component = header.components[part]
        if not is_listed(family, component.name):
            raise ProgramFileError(
                f"refused: no {part.replace('_', ' ')} named {component.name[:80]!r} is installed; "
                "install its package, or get the file again"
            )
        variant = find(family, component.name)
        allowed = {f.name: bool(f.metadata.get("later")) for f in fields(variant.Config)}
        needed = {name for name, came_later in allowed.items() if not came_later}
        wrong = sorted((set(component.config) - set(allowed)) | (needed - set(component.config)))
        if wrong:
            raise ProgramFileError(f"refused: {component.name}: option {wrong[0][:80]!r} is unknown or missing")
        chosen[family] = (variant, build_config(variant, component.config, strict=True))
    return compose(
        chosen,
        image_shape=header.task.shape,
        host_shape=(header.host.channels, *header.host.size),
        num_host_labels=header.host.num_classes,
        num_task_labels=len(header.task.classes),
    )


def _match(head: Head, parts: tuple[Any, Program, LabelMap], num_bytes: int) -> None:
    """Refuse a body that isn't exactly what the components hold, before it is read."""
    expected = {f"program.{key}": value for key, value in parts[1].state_dict().items()}
    expected |= {f"label_map.{key}": value for key, value in parts[2].state_dict().items()}
    if sorted(expected) != sorted(head.slots):
        found = [name[:80] for name in sorted(head.slots)[:4]]
        raise ProgramFileError(f"refused: its tensors are {found}, expected {sorted(expected)}")
    for name, value in expected.items():
        slot = head.slots[name]
        dtype = torch.float32 if value.is_floating_point() else value.dtype
        if (slot.dtype, slot.shape) != (dtype, tuple(value.shape)):
            raise ProgramFileError(
                f"refused: tensor {name!r} is {slot.dtype} {list(slot.shape)}, expected {dtype} {list(value.shape)}"
            )
    if num_bytes != head.num_bytes + head.num_body_bytes:
        raise ProgramFileError(
            f"refused: {num_bytes} bytes where its header announces {head.num_bytes + head.num_body_bytes}; "
            "get the file again from its source"
        )


def _load_state(parts: tuple[Any, Program, LabelMap], tensors: dict[str, Tensor]) -> None:
    for built, prefix in ((parts[1], "program."), (parts[2], "label_map.")):
        built.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
    parts[2].validate()
