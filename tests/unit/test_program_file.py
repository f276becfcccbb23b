"""The program file is read like a letter from a stranger: everything but the very file is refused in one line."""

import io
import json
import os
import pickle
import struct
import subprocess
import sys

import pytest
import torch
from safetensors import safe_open
from torch import nn

import reprogram
from helpers import random_task, tiny_model
from reprogram.programfile import encode, read
from reprogram.programformat import read_body, read_head


def small_model(seed=0, fill=None):
    """A model whose file is little more than its header."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.arange(72.0).view(24, 3).sin())

        def forward(self, x):
            return x.flatten(1)[:, :24] @ self.weight

    task = random_task(shape=(1, 4, 4), num_classes=2, n=(8, 4, 4))
    host = reprogram.Host.wrap(Net(), size=6, channels=1, name="net")
    model = reprogram.Reprogrammed.build(host, task, program="frame", seed=seed)
    if fill is not None:
        model.program.weight.data.fill_(fill)
    return model


@pytest.fixture(scope="module")
def model():
    return small_model()


@pytest.fixture(scope="module")
def good(model, tmp_path_factory):
    return model.save(tmp_path_factory.mktemp("good") / "p.safetensors").read_bytes()


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


@pytest.fixture
def refused(tmp_path, one_line):
    """Writes bytes and expects the reader to refuse them, in one short line that names the file."""

    def check(raw, *texts):
        path = tmp_path / "bad.safetensors"
        path.write_bytes(raw)
        with pytest.raises(reprogram.ProgramFileError) as error:
            read(path)
        message = one_line(error, "bad.safetensors", *texts)
        assert message.isprintable()
        assert len(message) < 600 + len(str(path))
        return message

    return check


def test_round_trip_is_the_same_bytes(model, good, tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(good)
    again = reprogram.load(path, host=model.host)
    assert again.save(tmp_path / "b.safetensors").read_bytes() == good
    assert torch.equal(again.program.weight, model.program.weight)
    images = torch.randint(0, 256, (5, 1, 4, 4), dtype=torch.uint8)
    assert torch.equal(again(images), model(images))
    assert small_model().save(tmp_path / "c.safetensors").read_bytes() == good
    assert small_model(seed=1).save(tmp_path / "d.safetensors").read_bytes() != good


def test_bytes_are_the_same_from_another_process(tmp_path):
    spec = '("linear:16", "digits"), {"program": "full", "label_map": "random(seed=2)", "seed": 4}'
    code = (
        "import sys, reprogram; a, k = " + spec + "; "
        "m = reprogram.Reprogrammed.build(*a, **k); m.save(sys.argv[1]); "
        "reprogram.load(sys.argv[1]).save(sys.argv[2])"
    )
    paths = [tmp_path / f"{i}.safetensors" for i in range(2)]
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    subprocess.run([sys.executable, "-c", code, *map(str, paths)], check=True, env=environment)
    here = reprogram.Reprogrammed.build("linear:16", "digits", program="full", label_map="random(seed=2)", seed=4)
    own = here.save(tmp_path / "own.safetensors").read_bytes()
    assert paths[0].read_bytes() == paths[1].read_bytes() == own
    assert reprogram.load(paths[0]).save(tmp_path / "again.safetensors").read_bytes() == own


def test_safetensors_own_reader_reads_it(model, tmp_path):
    path = model.save(tmp_path / "p.safetensors")
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["reprogram"])
        assert torch.equal(file.get_tensor("program.weight"), model.program.weight.detach())
        assert sorted(file.keys()) == ["label_map.groups", "program.weight"]
    assert set(header) == {
        "format", "version", "components", "host", "task", "digest", "created_by", "metrics",
    }  # fmt: skip
    assert header["host"] == {
        "id": "net",
        "fingerprint": model.host.fingerprint,
        "channels": 1,
        "size": [6, 6],
        "num_classes": 3,
    }
    assert header["task"]["classes"] == ["class 0", "class 1"]


def test_only_learned_tensors_are_in_it_and_no_pickle(good, tmp_path):
    assert sorted(tensors_of(good, tmp_path / "x")) == ["label_map.groups", "program.weight"]
    assert len(good) < 2500 and b"\x80\x04" not in good[:200]


def test_every_bit_counts(good, tmp_path):
    """All single-bit flips; and the file is good again afterwards, so that each was the only one."""
    path = tmp_path / "bad.safetensors"
    path.write_bytes(good)
    accepted = []
    with path.open("r+b", buffering=0) as file:
        for position, byte in enumerate(good):
            for bit in range(8):
                os.pwrite(file.fileno(), bytes([byte ^ 1 << bit]), position)
                try:
                    read(path)
                    accepted.append((position, bit))
                except reprogram.ProgramFileError:
                    pass
            os.pwrite(file.fileno(), bytes([byte]), position)
    assert accepted == []
    assert read(path).num_bytes == len(good)


def test_truncated_at_every_length(good, refused):
    for length in range(len(good)):
        refused(good[:length])


@pytest.mark.parametrize("tail", [b"\0", b" ", b"\0" * 8, b"x" * 1000])
def test_trailing_bytes_are_refused(good, refused, tail):
    refused(good + tail)


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


def test_other_files_are_refused(refused, tmp_path):
    for raw in (
        b"",
        b"\0",
        b"{}",
        b"\x89PNG\r\n\x1a\n" * 9,
        pickle.dumps({"a": 1}),
        b"PK\x03\x04" + b"\0" * 99,
        os.urandom(999),
    ):
        refused(raw)
    torch.save({"weight": torch.zeros(3)}, tmp_path / "pickle.pt")
    refused((tmp_path / "pickle.pt").read_bytes())


def test_a_pickle_is_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "owned"),))

    (tmp_path / "p").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(reprogram.ProgramFileError):
        read(tmp_path / "p")
    assert not (tmp_path / "owned").exists()


def test_odd_paths_are_refused(good, tmp_path, one_line):
    (tmp_path / "real").write_bytes(good)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    os.mkfifo(tmp_path / "fifo")
    for name in ("link", "dangling", "loop", "fifo", "", "missing", "real/below", "x" * 300):
        with pytest.raises(reprogram.ProgramFileError) as error:
            read(tmp_path / name)
        one_line(error)


def test_a_run_folder_in_place_of_its_program_is_refused_with_the_program_named(good, tmp_path, one_line):
    with pytest.raises(reprogram.ProgramFileError) as error:
        read(tmp_path)
    assert "program.safetensors" not in one_line(error)
    (tmp_path / "program.safetensors").write_bytes(good)
    with pytest.raises(reprogram.ProgramFileError) as error:
        read(tmp_path)
    one_line(error, f"give the program file in it, {tmp_path / 'program.safetensors'}")


def test_an_unreadable_file_is_refused(good, tmp_path, one_line):
    path = tmp_path / "p"
    path.write_bytes(good)
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    with pytest.raises(reprogram.ProgramFileError) as error:
        read(path)
    one_line(error)


def test_a_program_that_is_not_finite_is_not_saved(tmp_path, one_line):
    with pytest.raises(reprogram.ProgramFileError) as error:
        small_model(fill=float("nan")).save(tmp_path / "p")
    one_line(error, "finite")
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_place_leaves_nothing(model, tmp_path, one_line):
    (tmp_path / "file").write_text("x")
    with pytest.raises(reprogram.DataError) as error:
        model.save(tmp_path / "file" / "p.safetensors")
    one_line(error, "p.safetensors")
    (tmp_path / "folder").mkdir()
    with pytest.raises(reprogram.DataError):
        model.save(tmp_path / "folder")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder"]


def test_an_existing_file_is_replaced_whole(model, good, tmp_path):
    path = tmp_path / "p.safetensors"
    path.write_bytes(b"old" * 10_000)
    model.save(path)
    assert path.read_bytes() == good
    assert [p.name for p in tmp_path.iterdir()] == ["p.safetensors"]


def other_weights():
    model = small_model()
    with torch.no_grad():
        model.host.net.weight[0, 0] += 1e-6
    return model.host


HOSTS = {
    "other weights": other_weights,
    "other preprocessing": lambda: reprogram.Host.wrap(
        small_model().host.net, size=6, channels=1, mean=(0.1,), std=(1.0,), name="net"
    ),
}


@pytest.mark.parametrize("name", HOSTS)
def test_another_host_is_refused_and_any_host_warns(good, tmp_path, name, one_line):
    path = tmp_path / "p.safetensors"
    path.write_bytes(good)
    with pytest.raises(reprogram.HostMismatchError) as error:
        reprogram.load(path, host=HOSTS[name]())
    one_line(error, "p.safetensors", "any-host")
    with pytest.warns(UserWarning, match="results will differ"):
        loaded = reprogram.load(path, host=HOSTS[name](), any_host=True)
    assert loaded(torch.zeros(2, 1, 4, 4)).shape == (2, 2)


@pytest.mark.parametrize("size,channels,classes", [(7, 1, 3), (6, 3, 3), (6, 1, 4)])
def test_a_host_of_another_shape_is_refused_even_as_any_host(good, tmp_path, size, channels, classes, one_line):
    path = tmp_path / "p.safetensors"
    path.write_bytes(good)
    host = reprogram.Host.wrap(lambda x: x.flatten(1)[:, :classes], size=size, channels=channels, name="other")
    with pytest.raises(reprogram.HostMismatchError) as error:
        reprogram.load(path, host=host, any_host=True)
    one_line(error, "net")


def test_a_file_that_names_an_unknown_host_asks_for_one(good, tmp_path, one_line):
    path = tmp_path / "p.safetensors"
    path.write_bytes(good)
    with pytest.raises(reprogram.ReprogramError) as error:
        reprogram.load(path)
    one_line(error, "net")


def test_metrics_and_author_survive(tmp_path):
    model = tiny_model()
    model.provenance.metrics = {"test_accuracy": 0.1 + 0.2, "n": 7, "note": "ü\n\x1b"}
    model.provenance.created_by = "somebody"
    again = reprogram.load(model.save(tmp_path / "p"), host=model.host)
    assert again.provenance == model.provenance


@pytest.mark.parametrize(
    "change",
    [
        {"metrics": {"n": 2**63}},
        {"metrics": {"a": float("nan")}},
        {"metrics": {str(i): i for i in range(101)}},
        {"metrics": {"note": "a" * 5000}},
        {"created_by": "a" * 5000},
    ],
)
def test_what_could_not_be_read_is_not_written(tmp_path, change, one_line):
    model = small_model()
    for name, value in change.items():
        setattr(model.provenance, name, value)
    with pytest.raises(reprogram.ProgramFileError) as error:
        model.save(tmp_path / "p.safetensors")
    one_line(error, "p.safetensors", "can't be saved")
    assert list(tmp_path.iterdir()) == []


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


def test_a_float64_model_is_saved_as_float32(tmp_path):
    model = small_model()
    path = model.double().save(tmp_path / "p")
    again = reprogram.load(path, host=model.host)
    assert again.program.weight.dtype == torch.float32
    assert torch.equal(again.program.weight, small_model().program.weight)
