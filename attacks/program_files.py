"""Program files that must be refused: each function writes one and returns its path."""

import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from reprogram.programformat import encode

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
    """More class names than are read, in a full header."""
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


# JSON


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
    numbers = ",".join(["1.5"] * 2**15 + ["1"] * (2**15 - 100))
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
