"""Program files that must be refused for what they are or how large they are: each function writes one."""

import json
import os
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import torch

from attacks.forging import attack, forge, join, parts, put

# Other files than program files


@attack
def empty(folder: Path, good: bytes) -> Path:
    """Nothing."""
    return put(folder, b"")


@attack
def pickled(folder: Path, good: bytes) -> Path:
    """A pickle that makes a folder when it is loaded."""

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(folder / "owned"),)

    return put(folder, pickle.dumps(Evil()))


@attack
def torch_file(folder: Path, good: bytes) -> Path:
    """What torch.save writes."""
    torch.save({"weight": torch.zeros(3)}, folder / "bad.safetensors")
    return folder / "bad.safetensors"


@attack
def zipped(folder: Path, good: bytes) -> Path:
    """The good file in a zip archive."""
    with zipfile.ZipFile(folder / "bad.safetensors", "w") as archive:
        archive.writestr("program.safetensors", good)
    return folder / "bad.safetensors"


@attack
def onnx(folder: Path, good: bytes) -> Path:
    """The start of an ONNX model, and much of it."""
    return put(folder, b"\x08\x09\x12\x07pytorch\x1a\x052.9.0:" + bytes(2**20))


@attack
def safetensors_of_others(folder: Path, good: bytes) -> Path:
    """A valid safetensors file of another project."""
    from safetensors.torch import save_file

    save_file({"lora.weight": torch.zeros(4, 4)}, folder / "bad.safetensors", {"format": "pt"})
    return folder / "bad.safetensors"


@attack
def directory(folder: Path, good: bytes) -> Path:
    """A folder."""
    (folder / "bad.safetensors").mkdir()
    return folder / "bad.safetensors"


@attack
def fifo(folder: Path, good: bytes) -> Path:
    """A pipe that nobody writes to."""
    os.mkfifo(folder / "bad.safetensors")
    return folder / "bad.safetensors"


@attack
def symlink(folder: Path, good: bytes) -> Path:
    """A symbolic link to a good file: what it leads to may change between the check and the reading."""
    (folder / "good").write_bytes(good)
    (folder / "bad.safetensors").symlink_to(folder / "good")
    return folder / "bad.safetensors"


@attack
def dev_zero(folder: Path, good: bytes) -> Path:
    """A device without an end."""
    return Path("/dev/zero")


@attack
def link_to_dev_zero(folder: Path, good: bytes) -> Path:
    """The same by a detour."""
    (folder / "bad.safetensors").symlink_to("/dev/zero")
    return folder / "bad.safetensors"


@attack
def zeros_without_end(folder: Path, good: bytes) -> Path:
    """A sparse file of a tebibyte."""
    path = put(folder, b"")
    os.truncate(path, 2**40)
    return path


@attack
def zeros_at_the_limit(folder: Path, good: bytes) -> Path:
    """A sparse file of the largest size that is opened."""
    path = put(folder, b"")
    os.truncate(path, 2**28)
    return path


@attack
def large_tail(folder: Path, good: bytes) -> Path:
    """A good file with a quarter of a gibibyte behind it."""
    path = put(folder, good)
    os.truncate(path, 2**28)
    return path


# Sizes


@attack
def header_of_2_to_62_bytes(folder: Path, good: bytes) -> Path:
    """A head longer than any disk."""
    return put(folder, struct.pack("<Q", 2**62) + good[8:])


@attack
def tensor_of_2_to_40_elements(folder: Path, good: bytes) -> Path:
    """A shape that would take terabytes."""
    entries, header, body = parts(good)
    entries["program.weight"].update(shape=[2**20, 2**20], data_offsets=[0, 2**42])
    entries["__metadata__"] = {"reprogram": json.dumps(header, sort_keys=True, separators=(",", ":"))}
    return join(folder, json.dumps(entries, sort_keys=True, separators=(",", ":")).encode(), body)


@attack
def tensor_as_large_as_its_file(folder: Path, good: bytes) -> Path:
    """A right digest over 128 MiB that no component asked for."""
    return forge(folder, good, lambda h, t: t.update({"program.weight": torch.zeros(2**25)}))


@attack
def million_tensors(folder: Path, good: bytes) -> Path:
    """A million tensors of no element."""
    entry = '"%d":{"data_offsets":[0,0],"dtype":"F32","shape":[0]}'
    return join(folder, ("{" + ",".join(entry % i for i in range(10**6)) + "}").encode())


@attack
def tensors_to_the_brim(folder: Path, good: bytes) -> Path:
    """As many tensors as a head of 1 MiB holds."""
    _, header, _ = parts(good)
    start = '{"__metadata__":' + json.dumps({"reprogram": json.dumps(header)})
    entry = ',"%d":{"data_offsets":[0,0],"dtype":"F32","shape":[0]}'
    return join(folder, (start + "".join(entry % i for i in range(17_000)) + "}").encode())


@attack
def hundred_tensors(folder: Path, good: bytes) -> Path:
    """A few more than allowed, with a right digest."""
    return forge(folder, good, lambda h, t: t.update({f"t{i}": torch.zeros(1) for i in range(100)}))


@attack
def canvas_of_10_to_18_values(folder: Path, good: bytes) -> Path:
    """A host that fits in no memory."""
    return forge(folder, good, lambda h, t: h["host"].update(size=[10**9, 10**9]))


@attack
def largest_canvas(folder: Path, good: bytes) -> Path:
    """The largest canvas there may be, with the weights of a small one."""
    return forge(folder, good, lambda h, t: h["host"].update(size=[2**10, 2**10], channels=3))


@attack
def largest_canvas_with_its_weights(folder: Path, good: bytes) -> Path:
    """The same with as many weights, one bit of which is wrong."""

    def change(header: dict[str, Any], held: dict[str, torch.Tensor]) -> None:
        header["host"].update(size=[2**10, 2**10], channels=3)
        held["program.weight"] = torch.zeros(1, 3, 2**10, 2**10)

    path = forge(folder, good, change)
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    return put(folder, bytes(raw))


@attack
def largest_shuffled_canvas(folder: Path, good: bytes) -> Path:
    """The same for a canvas that draws a permutation of its pixels."""

    def change(header: dict[str, Any], held: dict[str, torch.Tensor]) -> None:
        header["host"]["size"] = header["task"]["shape"][1:] = [2**10, 2**10]
        header["components"]["canvas"] = {"name": "shuffled", "config": {"seed": 0}}

    return forge(folder, good, change)


@attack
def most_host_labels(folder: Path, good: bytes) -> Path:
    """A million host labels, for a label map that draws among them."""

    def change(header: dict[str, Any], held: dict[str, torch.Tensor]) -> None:
        header["host"]["num_classes"] = 10**6
        header["components"]["label_map"] = {"name": "random", "config": {"seed": 0}}
        held["label_map.groups"] = torch.zeros(3, 1, dtype=torch.int64)

    return forge(folder, good, change)


@attack
def too_many_classes(folder: Path, good: bytes) -> Path:
    """One class name more than is read."""
    return forge(folder, good, lambda h, t: h["task"].update(classes=[f"{i:x}" for i in range(2**15 + 1)]))


@attack
def class_names_to_the_brim(folder: Path, good: bytes) -> Path:
    """As many class names as a header of 1 MiB holds."""
    return forge(folder, good, lambda h, t: h["task"].update(classes=[f"{i:x}" for i in range(65_000)]))


@attack
def most_classes(folder: Path, good: bytes) -> Path:
    """As many class names as are read, for weights of two."""

    def change(header: dict[str, Any], held: dict[str, torch.Tensor]) -> None:
        header["task"]["classes"] = [f"{i:x}" for i in range(2**15)]
        header["host"]["num_classes"] = 2**15

    return forge(folder, good, change)


@attack
def long_class_name(folder: Path, good: bytes) -> Path:
    """A name of half a megabyte."""
    return forge(folder, good, lambda h, t: h["task"].update(classes=["a" * 2**19, "b"]))


@attack
def duplicate_class_names(folder: Path, good: bytes) -> Path:
    """Two classes of one name: an answer would mean either."""
    return forge(folder, good, lambda h, t: h["task"].update(classes=["a", "a"]))
