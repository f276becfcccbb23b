"""Random damage to program files and specs, and what must hold all the same.

The source of chance is a function `below(n)` that gives an integer from 0 to n - 1: a seeded generator in the tests,
the fuzzer's bytes in `fuzz_program_file` and `fuzz_spec`.
"""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from attacks.forging import parts, tensors
from reprogram.errors import ConfigError, ProgramFileError
from reprogram.programfile.file import read
from reprogram.programfile.format import encode
from reprogram.registry import configure

Below = Callable[[int], int]

VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 3, 2**31, 2**63 - 1, 2**63, -(2**63), 10**40, 0.0, -0.0, 0.5, 1e308, 5e-324,
    "", "a", "\0", "\x1b[2J", "\u202e", "frame", "first", "../x", "a" * 5000, [], {}, [1], [[]], {"a": 1}, [1, 6, 6],
)  # fmt: skip
PIECES = (
    "frame", "patch", "first", "random", "squares", "folder", "timm", "many-to-one", "os", "init", "seed", "height",
    "(", ")", ":", "?", "&", "=", ",", " ", "0", "1", "-", "1e999", "10**9", "nan", "'", '"', "[", "]", "{", "}", "*",
    "**", ".", "/", "lambda: 0", "__import__('os')", "f'{1}'", "\\", "\n", "\0", "\u202e", "\ud800", "\xe9", "%41",
    "#", ";", "not ", "~", "...", "\t",
)  # fmt: skip


def seeded(seed: int) -> Below:
    """Chance from a seed."""
    return random.Random(seed).randrange


def program_file(good: bytes, below: Below) -> bytes:
    """A damaged program file: altered bytes, or another header or tensors under a right digest."""
    kind = below(4)
    if kind == 0:
        return _altered(good, below)
    _, header, _ = parts(good)
    del header["digest"]
    held = tensors(good)
    for _ in range(1 + below(3)):
        if kind == 1:
            _change_tensor(held, below)
        else:
            _change_node(header, below)
    try:
        raw = encode(header, held)
    except (ValueError, OverflowError):  # The writer has no form for it.
        return good[: below(len(good))]
    return _altered(raw, below) if kind == 3 else raw


def _altered(raw: bytes, below: Below) -> bytes:
    data = bytearray(raw)
    for _ in range(1 + below(4)):
        start = below(len(data) + 1)
        end = min(start + below(40), len(data))
        action = below(5)
        if action == 0 and start < len(data):
            data[start] ^= 1 << below(8)
        elif action == 1:
            del data[start:end]
        elif action == 2:
            data[start:start] = data[start:end]
        elif action == 3:
            data[start:end] = bytes(below(256) for _ in range(below(9)))
        else:
            data[start:start] = (b"{}", b"[[", b'"', b",", b":", b"1", b"\\u", b"\xff", b"null")[below(9)]
    return bytes(data)


def _change_node(header: dict[str, Any], below: Below) -> None:
    node: Any = header
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        if not keys:
            return
        key = keys[below(len(keys))]
        if not isinstance(node[key], (dict, list)) or not node[key] or below(4) == 0:
            break
        node = node[key]
    action = below(4)
    if action == 0:
        del node[key]
    elif action == 1 and isinstance(node, dict):
        node[str(VALUES[below(len(VALUES))])[:50]] = node[key]
    else:
        node[key] = VALUES[below(len(VALUES))]


def _change_tensor(held: dict[str, torch.Tensor], below: Below) -> None:
    names = sorted(held)
    if not names:
        return
    name = names[below(len(names))]
    value = held[name]
    dtypes = (torch.float32, torch.int64, torch.int32, torch.uint8, torch.bool)
    action = below(6)
    if action == 0:
        del held[name]
    elif action == 1:
        held[("program.x", "label_map.x", "../x", "", "__metadata__x")[below(5)]] = value
    elif action == 2:
        held[name] = torch.zeros([below(4) for _ in range(below(10))], dtype=dtypes[below(5)])
    elif action == 3:
        held[name] = value.flatten()
    elif action == 4 and value.numel():
        raw = value.clone().view(-1).view(torch.uint8)
        raw[below(len(raw))] = below(256)
        held[name] = raw.view(value.dtype).view(value.shape)
    else:
        held[name] = value.to(torch.float32).to(dtypes[below(5)])


def check_program_file(raw: bytes, path: Path) -> bool:
    """Read bytes as a program file; whether it was accepted, and then they are its canonical form."""
    path.write_bytes(raw)
    try:
        file = read(path)
    except ProgramFileError as error:
        message = str(error)
        assert "\n" not in message and message.isprintable() and len(message) < 1000 + len(str(path)), message
        return False
    header = file.header.model_dump(mode="json", exclude_unset=True)  # What was written.
    del header["digest"]
    assert encode(header, file.tensors) == raw
    return True


def spec(below: Below) -> str:
    """Something like a spec."""
    return "".join(PIECES[below(len(PIECES))] for _ in range(1 + below(12)))


def check_spec(text: str) -> bool:
    """Configure a spec in each family that takes strangers' text; whether one accepted it."""
    accepted = False
    for family in ("canvases", "programs", "label-maps", "tasks"):
        try:
            configure(family, text)
            accepted = True
        except ConfigError as error:
            message = str(error)
            assert message and "\n" not in message and len(message) < 10_000, message
    return accepted
