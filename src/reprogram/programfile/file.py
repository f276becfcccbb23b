"""The program file, which is read as a file from a stranger.

It is a `.safetensors` file with the tensors of program and label map alone and a JSON header in its metadata
(docs/file-format.md). `reprogram.programfile.format` turns bytes into a checked header and tensors and back; this
module opens files and builds components. Checks come in the order that refuses a bad file with little memory and time:
the path, the header, the components that it names, their tensors' shapes, and only then the body.
"""

import io
import json
import os
import stat
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from reprogram._version import __version__
from reprogram.adapter import Adapter, Provenance, TaskRecord, compose, require_listed
from reprogram.errors import ConfigError, HostMismatchError, ProgramFileError, ReprogramError
from reprogram.hosts.base import Host
from reprogram.programfile.format import FORMAT, MAX_FILE, VERSION, Head, Header, encode, read_body, read_head
from reprogram.programfile.hub import located
from reprogram.registry import build_config, find, is_listed
from reprogram.utils.files import why_missing, write_atomic

FAMILIES = {"canvas": "canvases", "program": "programs", "label_map": "label-maps"}
"""The family of each component in a header, by the header's key, which is the adapter's attribute too."""


@dataclass(frozen=True, kw_only=True)
class ProgramFile:
    """A program file that was read and checked in full, without its host.

    Attributes:
        header: the parsed JSON header.
        tensors: the tensors of program and label map, by name.
        adapter: canvas, program and label map, built and loaded.
        num_bytes: the file's size.
    """

    header: Header
    tensors: dict[str, Tensor]
    adapter: Adapter
    num_bytes: int

    def check_host(self, path: Path, host: Host, *, any_host: bool = False) -> None:
        """Refuse a host that the program wasn't learned for.

        Args:
            path: the file's path, for the message.
            host: the host that the program shall run on.
            any_host: whether to accept other weights or preprocessing, with a warning; other shapes are refused.

        Raises:
            HostMismatchError: the host takes other images, has other classes, or has other weights.

        Warns:
            UserWarning: with `any_host`, the weights or the preprocessing differ.
        """
        record, info = self.header.host, host.info
        shape = (record.channels, *record.size)
        if (info.shape, info.num_classes) != (shape, record.num_classes):
            raise HostMismatchError(
                f"{path}: learned for a host of {'x'.join(map(str, shape))} pixels and {record.num_classes} classes, "
                f"{info.id} has {'x'.join(map(str, info.shape))}, {info.num_classes}; give --host {record.id}"
            )
        if host.fingerprint != record.fingerprint:
            message = f"{path}: learned for {record.id}, whose weights or preprocessing differ from those of {info.id}"
            if not any_host:
                raise HostMismatchError(f"{message}; give the right --host, or --any-host to go on all the same")
            warnings.warn(f"{message}; results will differ", UserWarning, stacklevel=3)


def save(path: Path, adapter: Adapter, *, host: Host, task: TaskRecord, provenance: Provenance) -> Path:
    """Write a program file; the same arguments give the same bytes.

    Args:
        path: the file to write.
        adapter: canvas, program and label map.
        host: the host that the program was learned for; the file holds its record and fingerprint.
        task: the record of the task that the program was learned for.
        provenance: what the file says about its origin; an empty `created_by` is set to this version's name.

    Returns:
        The path.

    Raises:
        ProgramFileError: a learned value isn't finite, or the reader would refuse the file.
        DataError: the file can't be written.
    """
    if not provenance.created_by:
        provenance.created_by = f"reprogram {__version__}"
    return write_atomic(path, readable(str(path), adapter, host=host, task=task, provenance=provenance))


def readable(where: str, adapter: Adapter, *, host: Host, task: TaskRecord, provenance: Provenance) -> bytes:
    """The bytes of a program file, from which the reader builds the components that they are of.

    Args:
        where: names the file in errors.
        adapter: canvas, program and label map.
        host: the host that the program was learned for.
        task: the record of the task that the program was learned for.
        provenance: what the file says about its origin.

    Raises:
        ProgramFileError: a component isn't listed, a learned value isn't finite, or the reader would refuse the file.
    """
    try:
        for part, family in FAMILIES.items():
            require_listed(family, getattr(adapter, part))
    except ConfigError as error:
        raise ProgramFileError(f"{where} isn't written: {error}") from None
    return _raw(where, _loaded, adapter, host, task, provenance)


def _loaded(file: BinaryIO, num_bytes: int) -> ProgramFile:
    """Read an open file, in the order that this module's docstring gives."""
    head = read_head(file)
    with torch.inference_mode(False):  # What is built in that mode could never be learned.
        adapter = _build(head.header)
        _match(head, adapter, num_bytes)
        tensors = read_body(file, head)
        adapter.load_learned_state(tensors)
    adapter.label_map.validate()
    size = head.num_bytes + head.num_body_bytes
    return ProgramFile(header=head.header, tensors=tensors, adapter=adapter, num_bytes=size)


def digest_of(adapter: Adapter, *, host: Host, task: TaskRecord, provenance: Provenance) -> str:
    """The digest of the program file that `save` would write.

    Args:
        adapter: canvas, program and label map.
        host: the host that the program was learned for.
        task: the record of the task that the program was learned for.
        provenance: what the file would say about its origin; it isn't changed.

    Raises:
        ProgramFileError: a learned value isn't finite, or the reader would refuse the file.
    """
    provenance = replace(provenance, created_by=provenance.created_by or f"reprogram {__version__}")
    raw = _raw("the program", lambda file, _: read_body(file, read_head(file)), adapter, host, task, provenance)
    return read_head(io.BytesIO(raw)).header.digest


def _raw(where: str, read: Callable[[BinaryIO, int], object], *parts: Any) -> bytes:
    """The bytes that `_encoded` makes of the parts, tried out by a reader."""
    try:
        raw = _encoded(*parts)
        read(io.BytesIO(raw), len(raw))
    except Exception as error:  # An author's own component may do anything; JSON has no NaN, and not every type.
        said = str(error) if isinstance(error, ReprogramError) else f"{type(error).__name__}: {error}"
        said = " ".join(said.split())[:500]
        raise ProgramFileError(f"{where}: can't be saved, the file would not be read: {said}") from error
    return raw


def _encoded(adapter: Adapter, host: Host, task: TaskRecord, provenance: Provenance) -> bytes:
    """The bytes of a program file."""
    tensors = {
        name: value.float() if value.is_floating_point() else value for name, value in adapter.learned_state().items()
    }
    for name, value in tensors.items():
        if not torch.isfinite(value).all():
            raise ProgramFileError(f"{name} holds values that are not finite")
    info = host.info
    header = {
        "format": FORMAT,
        "version": VERSION,
        "components": {
            part: {"name": component.name(), "config": _plain(component.config)}
            for part in FAMILIES
            if (component := getattr(adapter, part))
        },
        "host": {
            "id": info.id,
            "fingerprint": host.fingerprint,
            "channels": info.channels,
            "size": list(info.size),
            "num_classes": info.num_classes,
            **({"labels": list(host.found_labels)} if host.found_labels else {}),
        },
        "task": _plain(task),
        "created_by": provenance.created_by,
        "metrics": provenance.metrics,
    }
    return encode(header, tensors)


def _plain(config: Any) -> dict[str, Any]:
    """A dataclass as JSON values; a younger option is left out where it has its default."""
    plain: dict[str, Any] = json.loads(json.dumps(asdict(config)))
    unwritten = {f.name for f in fields(config) if f.metadata.get("later") and getattr(config, f.name) == f.default}
    return {key: value for key, value in plain.items() if key not in unwritten}


def read(path: Path, *, download: bool = False) -> ProgramFile:
    """Read and check a program file, without its host.

    Args:
        path: the program file, the folder of its run, or `hub:REPO[@REV]` for one of the Hugging Face Hub.
        download: whether one of the Hub may be fetched; otherwise it has to be in the Hub's cache on this machine.

    Raises:
        ProgramFileError: the file is refused; says why.
    """
    try:
        with _open(located(path, download=download)) as file:
            return _loaded(file, os.fstat(file.fileno()).st_size)
    except OSError as error:
        raise ProgramFileError(f"{path}: can't be read ({error.strerror})") from None
    except ProgramFileError as error:
        said = str(error).removeprefix(f"{path}: ")  # What the Hub says has the name already.
        raise ProgramFileError(f"{path}: {said}") from None
    except ReprogramError as error:
        raise ProgramFileError(f"{path}: refused: {error}") from None


def _open(path: Path) -> BinaryIO:
    """Open an ordinary file, or that of a run's folder; refuse links, pipes, devices and other folders."""
    try:
        kind = path.lstat().st_mode
    except (OSError, ValueError):
        raise ProgramFileError(f"{why_missing(path)}; give the path of a program file") from None
    inside = path / "program.safetensors"
    if stat.S_ISDIR(kind) and inside.is_file():
        return _open(inside)
    if stat.S_ISDIR(kind) and (path / "config.toml").is_file():
        raise ProgramFileError("the folder of a run that isn't finished; go on with it: reprogram fit --resume FOLDER")
    if not stat.S_ISREG(kind):
        raise ProgramFileError("not an ordinary file; give the program file itself")
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    file = os.fdopen(os.open(path, flags), "rb")
    status = os.fstat(file.fileno())
    if stat.S_ISREG(status.st_mode) and status.st_size <= MAX_FILE:
        return file
    file.close()
    raise ProgramFileError(f"{status.st_size} bytes; a program file is an ordinary file of at most {MAX_FILE}")


def _build(header: Header) -> Adapter:
    """Build the components that the header names: listed ones, with all of their options and no others."""
    if sorted(header.components) != sorted(FAMILIES):
        raise ProgramFileError(f"refused: its components are {sorted(header.components)}, not {sorted(FAMILIES)}")
    variants = {}
    for part, family in FAMILIES.items():
        component = header.components[part]
        if not is_listed(family, component.name):
            raise ProgramFileError(
                f"refused: no {part.replace('_', ' ')} named {component.name[:80]!r} is installed; "
                "install its package, or get the file again"
            )
        variant = find(family, component.name)
        is_later = {f.name: bool(f.metadata.get("later")) for f in fields(variant.Config)}
        required = {name for name, later in is_later.items() if not later}
        wrong = sorted((set(component.config) - set(is_later)) | (required - set(component.config)))
        if wrong:
            raise ProgramFileError(f"refused: {component.name}: option {wrong[0][:80]!r} is unknown or missing")
        variants[family] = (variant, build_config(variant, component.config, strict=True))
    return compose(
        variants,
        image_shape=header.task.shape,
        host_shape=(header.host.channels, *header.host.size),
        num_host_labels=header.host.num_classes,
        num_task_labels=len(header.task.classes),
    )


def _match(head: Head, adapter: Adapter, num_bytes: int) -> None:
    """Refuse a body, before it is read, whose tensors aren't exactly those of the components."""
    expected = {f"program.{key}": value for key, value in adapter.program.state_dict().items()}
    expected |= {f"label_map.{key}": value for key, value in adapter.label_map.state_dict().items()}
    if sorted(expected) != sorted(head.slots):
        names = [name[:80] for name in sorted(head.slots)[:4]]
        raise ProgramFileError(f"refused: its tensors are {names}, expected {sorted(expected)}")
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
