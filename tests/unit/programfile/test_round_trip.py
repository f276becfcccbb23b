"""What is written is what is read: the same bytes, tensors, metrics; or nothing is written."""

import json
import os
import subprocess
import sys

import pytest
import torch
from safetensors import safe_open

import reprogram
from helpers import tiny_model
from helpers_components import small_model


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


def test_a_float64_model_is_saved_as_float32(tmp_path):
    model = small_model()
    path = model.double().save(tmp_path / "p")
    again = reprogram.load(path, host=model.host)
    assert again.program.weight.dtype == torch.float32
    assert torch.equal(again.program.weight, small_model().program.weight)
