"""Program files that must be refused for what they say: JSON, tensors and names of components."""

import json
import struct
from pathlib import Path

import torch

from attacks.forging import ATTACKS, Attack, attack, forge, join, parts, reheaded
from reprogram.programfile.format import MAX_COMMAS


@attack
def brackets_in_the_head(folder: Path, good: bytes) -> Path:
    """100,000 nested arrays."""
    return join(folder, b"[" * 100_000 + b"]" * 100_000)


@attack
def objects_in_the_head(folder: Path, good: bytes) -> Path:
    """100,000 nested objects."""
    return join(folder, b'{"a":' * 100_000 + b"1" + b"}" * 100_000)


@attack
def brackets_in_the_header(folder: Path, good: bytes) -> Path:
    """100,000 nested arrays in the header."""
    nested = "[" * 100_000 + "]" * 100_000
    return reheaded(folder, good, lambda text: text.replace('"version":1', f'"evil":{nested},"version":1'))


@attack
def brackets_below_the_limit(folder: Path, good: bytes) -> Path:
    """As deep as the caps allow, in a component's options."""
    nested = "[" * 1500 + "]" * 1500
    return reheaded(folder, good, lambda text: text.replace('"config":{', f'"config":{{"a":{nested},', 1))


@attack
def empty_objects(folder: Path, good: bytes) -> Path:
    """As many small objects as fit in a head."""
    return join(folder, b'{"a":[' + b"{}," * 340_000 + b"{}]}")


@attack
def numbers_to_the_brim(folder: Path, good: bytes) -> Path:
    """As many numbers as the caps allow."""
    numbers = ",".join(["1.5"] * 2**14 + ["1"] * (MAX_COMMAS - 2**14 - 100))
    return reheaded(folder, good, lambda text: text.replace('"metrics":{', f'"metrics":{{"a":[{numbers}]', 1))


@attack
def duplicate_key_in_the_head(folder: Path, good: bytes) -> Path:
    """A tensor's type twice."""
    (length,) = struct.unpack("<Q", good[:8])
    head = good[8 : 8 + length].rstrip()
    return join(folder, head.replace(b'"dtype"', b'"dtype":"F32","dtype"', 1), good[8 + length :])


@attack
def duplicate_key_in_the_header(folder: Path, good: bytes) -> Path:
    """The version twice."""
    return reheaded(folder, good, lambda text: text.replace('"version":1', '"version":1,"version":1'))


@attack
def not_utf8(folder: Path, good: bytes) -> Path:
    """Bytes that are no text."""
    return join(folder, b'{"\xff\xfe":1}')


@attack
def utf16(folder: Path, good: bytes) -> Path:
    """JSON in another encoding, which Python's parser would detect by itself."""
    (length,) = struct.unpack("<Q", good[:8])
    return join(folder, good[8 : 8 + length].decode().encode("utf-16"), good[8 + length :])


@attack
def lone_surrogate(folder: Path, good: bytes) -> Path:
    """A class name that can't be encoded."""
    return reheaded(folder, good, lambda text: text.replace('"class 0"', '"\\ud800"'))


@attack
def integer_of_5000_digits(folder: Path, good: bytes) -> Path:
    """A number that takes time to parse."""
    return reheaded(folder, good, lambda text: text.replace('"version":1', '"version":1' + "0" * 5000))


@attack
def integer_of_4000_digits_in_metrics(folder: Path, good: bytes) -> Path:
    """A number that Python parses all the same."""
    return forge(folder, good, lambda h, t: h.update(metrics={"n": 10**4000}))


@attack
def integer_of_65_bits_in_metrics(folder: Path, good: bytes) -> Path:
    """A number that other readers would round."""
    return forge(folder, good, lambda h, t: h.update(metrics={"n": 2**64}))


@attack
def integer_in_options(folder: Path, good: bytes) -> Path:
    """A number too large for a tensor's index."""
    box = {"height": 10**30, "width": 1, "top": 0, "left": 0, "init": 0.0, "round_8bit": False}
    return forge(folder, good, lambda h, t: h["components"].update(program={"name": "patch", "config": box}))


@attack
def infinite_metric(folder: Path, good: bytes) -> Path:
    """1e999 is read as infinity."""
    return reheaded(folder, good, lambda text: text.replace('"metrics":{', '"metrics":{"a":1e999', 1))


# Tensors


@attack
def nan_weight(folder: Path, good: bytes) -> Path:
    """One value that isn't a number, under a right digest."""
    return forge(folder, good, lambda h, t: t["program.weight"].view(-1)[7].fill_(float("nan")))


@attack
def nan_with_payload(folder: Path, good: bytes) -> Path:
    """A signalling NaN with a message in its bits."""
    return forge(folder, good, lambda h, t: t["program.weight"].view(torch.int32).view(-1)[7].fill_(0x7FA0BEEF))


@attack
def infinite_weight(folder: Path, good: bytes) -> Path:
    """An infinite value."""
    return forge(folder, good, lambda h, t: t["program.weight"].view(-1)[0].fill_(float("inf")))


@attack
def tensor_named_like_a_path(folder: Path, good: bytes) -> Path:
    """What a writer of one file a tensor would put elsewhere."""
    return forge(folder, good, lambda h, t: t.update({"../../etc/passwd": t.pop("program.weight")}))


@attack
def tensor_named_like_an_attribute(folder: Path, good: bytes) -> Path:
    """What a reader by `setattr` would call."""
    return forge(folder, good, lambda h, t: t.update({"program.__class__": torch.zeros(1)}))


@attack
def host_label_out_of_range(folder: Path, good: bytes) -> Path:
    """An index behind the host's scores."""
    return forge(folder, good, lambda h, t: t["label_map.groups"].fill_(2**62))


@attack
def overlapping_tensors(folder: Path, good: bytes) -> Path:
    """Two tensors in the same bytes."""
    entries, header, body = parts(good)
    for entry in entries.values():
        length = entry["data_offsets"][1] - entry["data_offsets"][0]
        entry["data_offsets"] = [0, length]
    entries["__metadata__"] = {"reprogram": json.dumps(header, sort_keys=True, separators=(",", ":"))}
    return join(folder, json.dumps(entries, sort_keys=True, separators=(",", ":")).encode(), body)


# Names of components (nothing may be imported)

PARTS = ("canvas", "program", "label_map")
COMPONENT_NAMES = (
    "os", "os.path", "../frame", "frame/../frame", "/etc/passwd", "frame.py", "base", "_imagenet", "__init__",
    "frame\0", "frame ", "Frame", "FRAME", "\uff46rame", "frame(init=0)", "frame:os", "frame;import os",
    "__import__('os')", "evil:Evil", "reprogram.programs.frame", "many_to_one", "antigravity", "this", "", ".", "..",
    "a" * 4000, "\u202eemarf",
)  # fmt: skip


def _component_name(part: str, name: str) -> Attack:
    return lambda folder, good: forge(folder, good, lambda h, t: h["components"][part].update(name=name))


for _index, _name in enumerate(COMPONENT_NAMES):
    _part = PARTS[_index % 3]
    ATTACKS[f"component_name_{_index}_{_part}"] = _component_name(_part, _name)
