"""Headers, tensors and JSON that aren't those of a program file are refused in one line, whatever their digest."""

import io
import json
import struct

import pytest
import torch
from safetensors import safe_open

import reprogram
from reprogram.programfile.format import encode, read_body, read_head


def split(raw):
    (length,) = struct.unpack("<Q", raw[:8])
    return json.loads(raw[8 : 8 + length]), raw[8 + length :]


def header_of(raw):
    entries, _ = split(raw)
    header = json.loads(entries["__metadata__"]["reprogram"])
    del header["digest"]
    return header


def tensors_of(raw, path):
    path.write_bytes(raw)
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def join(head, body):
    head = head if isinstance(head, bytes) else json.dumps(head).encode()
    head += b" " * (-len(head) % 8)
    return struct.pack("<Q", len(head)) + head + body


def test_only_learned_tensors_are_in_it_and_no_pickle(good, tmp_path):
    assert sorted(tensors_of(good, tmp_path / "x")) == ["label_map.groups", "program.weight"]
    assert len(good) < 2500 and b"\x80\x04" not in good[:200]


def forge(raw, path, change=lambda header: None, tensors=lambda found: found):
    """A file with a right digest around a changed header or changed tensors."""
    header = header_of(raw)
    change(header)
    return encode(header, tensors(tensors_of(raw, path)))


def test_forge_without_change_is_the_file_itself(good, tmp_path):
    assert forge(good, tmp_path / "x") == good


HEADERS = {
    "next version": (lambda h: h.update(version=2), "version"),
    "version as text": (lambda h: h.update(version="1"), "version"),
    "version of lines": (lambda h: h.update(version="1\n2\x1b[31m"), "version"),
    "version list": (lambda h: h.update(version=[1]), "version"),
    "version bool": (lambda h: h.update(version=True), "version"),
    "version float": (lambda h: h.update(version=1.0), "version"),
    "no version": (lambda h: h.pop("version"), "version"),
    "other format": (lambda h: h.update(format="lora"), "format"),
    "no format": (lambda h: h.pop("format"), "format"),
    "unknown key": (lambda h: h.update(extra=1), "extra"),
    "unknown key of lines": (lambda h: h.update({"a\nb\x1b[31m": 1}), ""),
    "unknown host key": (lambda h: h["host"].update(url="http://x"), "url"),
    "missing key": (lambda h: h.pop("created_by"), "created_by"),
    "missing component": (lambda h: h["components"].pop("canvas"), "components"),
    "extra component": (lambda h: h["components"].update(learner={"name": "gradient", "config": {}}), "components"),
    "unknown program": (lambda h: h["components"]["program"].update(name="evil"), "evil"),
    "program base": (lambda h: h["components"]["program"].update(name="base"), "base"),
    "program path": (lambda h: h["components"]["program"].update(name="../os"), ""),
    "program dotted": (lambda h: h["components"]["program"].update(name="os.path"), "os.path"),
    "program of another family": (lambda h: h["components"]["program"].update(name="centre"), "centre"),
    "long program": (lambda h: h["components"]["program"].update(name="x" * 10_000), ""),
    "unknown option": (lambda h: h["components"]["program"]["config"].update(evil=1), "evil"),
    "option of wrong type": (lambda h: h["components"]["program"]["config"].update(init="0.1"), "init"),
    "option out of range": (lambda h: h["components"]["program"]["config"].update(init=-1.0), "init"),
    "config no table": (lambda h: h["components"]["program"].update(config=[]), ""),
    "canvas that can't be": (lambda h: h["components"]["canvas"].update(name="resize"), ""),
    "huge host": (lambda h: h["host"].update(size=[10**9, 10**9]), ""),
    "vast host": (lambda h: h["host"].update(size=[10**30, 1]), ""),
    "negative host": (lambda h: h["host"].update(size=[-6, 6]), ""),
    "empty host": (lambda h: h["host"].update(size=[0, 6]), ""),
    "no host classes": (lambda h: h["host"].update(num_classes=0), ""),
    "one host class": (lambda h: h["host"].update(num_classes=1), ""),
    "endless host classes": (lambda h: h["host"].update(num_classes=10**12), ""),
    "host size of text": (lambda h: h["host"].update(size="6x6"), "size"),
    "other host size": (lambda h: h["host"].update(size=[7, 7]), ""),
    "huge task": (lambda h: h["task"].update(shape=[1, 10**9, 10**9]), ""),
    "task larger than host": (lambda h: h["task"].update(shape=[1, 7, 4]), ""),
    "task of no pixels": (lambda h: h["task"].update(shape=[1, 0, 4]), ""),
    "one class": (lambda h: h["task"].update(classes=["a"]), ""),
    "no class": (lambda h: h["task"].update(classes=[]), ""),
    "classes of numbers": (lambda h: h["task"].update(classes=[1, 2]), "classes"),
    "more classes than the host": (lambda h: h["task"].update(classes=list("abcdefg")), ""),
    "other number of classes": (lambda h: h["task"].update(classes=list("abc")), ""),
    "nested metrics": (lambda h: h.update(metrics={"a": {"b": 1}}), "metrics"),
    "null host": (lambda h: h.update(host=None), "host"),
}  # fmt: skip


@pytest.mark.parametrize("name", HEADERS)
def test_wrong_headers_with_a_right_digest_are_refused(good, refused, tmp_path, name):
    change, text = HEADERS[name]
    refused(forge(good, tmp_path / "x", change), text)


def weight(**change):
    def apply(found):
        return {**found, **{key.replace("__", "."): value for key, value in change.items()}}

    return apply


TENSORS = {
    "unknown": lambda f: {**f, "program.evil": torch.zeros(3)},
    "of the host": lambda f: {**f, "host.net.weight": torch.zeros(3)},
    "name of lines": lambda f: {**f, "a\nb\x1b[2J": torch.zeros(3)},
    "missing": lambda f: {k: v for k, v in f.items() if k != "program.weight"},
    "none": lambda f: {},
    "too many": lambda f: {**f, **{f"t{i}": torch.zeros(1) for i in range(100)}},
    "smaller": weight(program__weight=torch.zeros(1, 1, 5, 6)),
    "larger": weight(program__weight=torch.zeros(1, 1, 7, 6)),
    "flat": weight(program__weight=torch.zeros(36)),
    "transposed batch": weight(program__weight=torch.zeros(1, 36, 1)),
    "integers": weight(program__weight=torch.zeros(1, 1, 6, 6, dtype=torch.int64)),
    "floats for labels": weight(label_map__groups=torch.zeros(2, 1)),
    "nan": weight(program__weight=torch.full((1, 1, 6, 6), float("nan"))),
    "inf": weight(program__weight=torch.full((1, 1, 6, 6), float("inf"))),
    "label out of range": weight(label_map__groups=torch.tensor([[0], [3]])),
    "negative label": weight(label_map__groups=torch.tensor([[0], [-1]])),
    "label twice": weight(label_map__groups=torch.tensor([[1], [1]])),
    "huge label": weight(label_map__groups=torch.tensor([[0], [2**62]])),
}


@pytest.mark.parametrize("name", TENSORS)
def test_wrong_tensors_with_a_right_digest_are_refused(good, refused, tmp_path, name):
    refused(forge(good, tmp_path / "x", tensors=TENSORS[name]))


def test_one_nan_among_good_numbers_is_refused(good, refused, tmp_path):
    def change(found):
        found["program.weight"][0, 0, 3, 3] = float("nan")
        return found

    refused(forge(good, tmp_path / "x", tensors=change), "finite")


@pytest.mark.parametrize("dtype", ["F16", "BF16", "F64", "I32", "BOOL", "U8", "F32 ", "", "evil", None, 3])
def test_other_types_are_refused(good, refused, dtype):
    entries, body = split(good)
    entries["program.weight"]["dtype"] = dtype
    refused(join(entries, body))


@pytest.mark.parametrize(
    "offsets",
    [
        [0, 0],
        [0, 10**18],
        [-8, 136],
        [0, 143],
        [1, 145],
        [0],
        [0, 1, 2],
        "x",
        None,
        [0.0, 144.0],
        [True, 144],
        [144, 0],
    ],
)
def test_wrong_places_are_refused(good, refused, offsets):
    entries, body = split(good)
    entries["program.weight"]["data_offsets"] = offsets
    refused(join(entries, body))


@pytest.mark.parametrize(
    "shape", [[], [0], [-1, -36], [2**40, 2**40], [36] * 9, "36", [36.0], [True], [10**30], [[36]]]
)
def test_wrong_shapes_are_refused(good, refused, shape):
    entries, body = split(good)
    entries["program.weight"]["shape"] = shape
    refused(join(entries, body))


def nested(depth):
    return "[" * depth + "]" * depth


def test_odd_json_is_refused(good, refused):
    entries, body = split(good)
    text = entries["__metadata__"]["reprogram"]

    def with_header(header):
        return join({**entries, "__metadata__": {"reprogram": header}}, body)

    head = json.dumps(entries)
    cases = [
        join(head.replace('"dtype"', '"dtype":"F32","dtype"', 1).encode(), body),
        with_header(text.replace('"version":1', '"version":1,"version":1')),
        with_header(text.replace('"version":1', '"version":1,"evil":' + nested(500))),
        with_header(text.replace('"version":1', '"version":1,"evil":' + nested(100_000))),
        with_header('{"a":' * 50_000 + "1" + "}" * 50_000),
        join(nested(200_000).encode(), body),
        join(b'{"a":' * 100_000, body),
        with_header(text.replace('"version":1', '"version":1' + "0" * 5000)),
        with_header(text.replace('"metrics":{}', '"metrics":{"a":NaN}')),
        with_header(text.replace('"metrics":{}', '"metrics":{"a":1e999}')),
        with_header(text.replace('"metrics":{}', '"metrics":{"a":Infinity}')),
        with_header(text.replace('"class 0"', '"\\ud800"')),
        with_header("[]"),
        with_header("null"),
        with_header(""),
        with_header("{}"),
        with_header(5),
        with_header({"format": "reprogram-program"}),
        join({**entries, "__metadata__": None}, body),
        join({**entries, "__metadata__": {"reprogram": text, "other": "x"}}, body),
        join({key: value for key, value in entries.items() if key != "__metadata__"}, body),
        join(b"[]", body),
        join(b"{}", body),
        join(b"", body),
        join(b"\xff\xfe" * 40, body),
        join(json.dumps(entries, indent=1).encode(), body),
        join({**entries, "program.weight": []}, body),
        join({**entries, "program.weight": {**entries["program.weight"], "evil": 1}}, body),
    ]
    for raw in cases:
        assert raw != good
        refused(raw)


@pytest.mark.parametrize("length", [0, 1, 2**20 + 1, 2**31, 2**62, 2**64 - 1])
def test_wrong_header_lengths_are_refused(good, refused, length):
    refused(struct.pack("<Q", length) + good[8:])


@pytest.mark.parametrize("byte,good_value", [(0, True), (1, True), (2, False), (255, False)])
def test_truth_values_are_zero_or_one(good, byte, good_value):
    forged = torch.zeros(2, dtype=torch.uint8).fill_(byte).view(torch.bool)
    file = io.BytesIO(encode(header_of(good), {"x": forged}))
    head = read_head(file)
    if good_value:
        assert read_body(file, head)["x"].tolist() == [bool(byte)] * 2
    else:
        with pytest.raises(reprogram.ProgramFileError, match="truth"):
            read_body(file, head)
