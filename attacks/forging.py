"""How hostile program files are made and listed; `program_files` and `program_headers` hold them."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from reprogram.programfile.format import encode

Attack = Callable[[Path, bytes], Path]
ATTACKS: dict[str, Attack] = {}


def attack(write: Attack) -> Attack:
    """List an attack: a function of a folder to write to and a good file's bytes, which returns the bad one's path."""
    ATTACKS[write.__name__] = write
    return write


def put(folder: Path, raw: bytes) -> Path:
    """Write bytes as a program file."""
    path = folder / "bad.safetensors"
    path.write_bytes(raw)
    return path


def parts(good: bytes) -> tuple[dict[str, Any], dict[str, Any], bytes]:
    """Entries of the head, the header within them, and the body."""
    (length,) = struct.unpack("<Q", good[:8])
    entries = json.loads(good[8 : 8 + length])
    header = json.loads(entries.pop("__metadata__")["reprogram"])
    return entries, header, good[8 + length :]


def tensors(good: bytes) -> dict[str, torch.Tensor]:
    """The good file's tensors."""
    entries, _, body = parts(good)
    kinds = {"F32": torch.float32, "I64": torch.int64}
    return {
        name: torch.frombuffer(bytearray(body[slice(*e["data_offsets"])]), dtype=kinds[e["dtype"]]).view(e["shape"])
        for name, e in entries.items()
    }


def forge(folder: Path, good: bytes, change: Callable[[dict[str, Any], dict[str, torch.Tensor]], object]) -> Path:
    """A file in canonical form and with a right digest, around a changed header and changed tensors."""
    _, header, _ = parts(good)
    held = tensors(good)
    del header["digest"]
    change(header, held)
    return put(folder, encode(header, held))


def join(folder: Path, head: bytes, body: bytes = b"") -> Path:
    """A file of any head."""
    head += b" " * (-len(head) % 8)
    return put(folder, struct.pack("<Q", len(head)) + head + body)


def reheaded(folder: Path, good: bytes, change: Callable[[str], str]) -> Path:
    """The good file with its header's text changed; the digest is left as it is."""
    entries, header, body = parts(good)
    text = json.dumps(header, sort_keys=True, separators=(",", ":"))
    changed = change(text)
    assert changed != text
    entries["__metadata__"] = {"reprogram": changed}
    return join(folder, json.dumps(entries, sort_keys=True, separators=(",", ":")).encode(), body)
