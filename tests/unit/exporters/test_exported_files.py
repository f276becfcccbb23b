"""Exported files: what they hold, what they answer in their own runtimes, and that only right ones get their names."""

import json
import re
import subprocess
import sys
from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image

import reprogram
from helpers import ROOT, random_task, tiny_model
from reprogram.cli import main
from reprogram.exporters import _export
from reprogram.exporters._parity import _batches, _compare, _compare_host
from reprogram.exporters.onnx import Onnx
from reprogram.exporters.pt2 import Pt2
from reprogram.programfile.file import read
from reprogram.utils import images

ALONE = """
import json, sys
import numpy as np, onnxruntime
session = onnxruntime.InferenceSession("model.onnx")
names = json.loads(session.get_modelmeta().custom_metadata_map["class_names"])
scores, labels, probabilities = session.run(None, {"images": np.load("images.npy")})
assert not {"torch", "reprogram"} & set(sys.modules)
np.savez("answers.npz", scores=scores, labels=labels, probabilities=probabilities)
print(json.dumps([names[i] for i in scores.argmax(1)]))
"""


@pytest.fixture(scope="module")
def task():
    return random_task()


@pytest.fixture(scope="module")
def model(task):
    model = tiny_model(task)
    with torch.no_grad():
        model.program.weight.normal_(generator=torch.Generator().manual_seed(1))
    return model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("exported")


@pytest.fixture(scope="module")
def done(model, task, folder):
    return reprogram.export(model, folder / "model.onnx", task=task, host_top=2)


def test_an_onnx_file_holds_everything_and_says_what_it_is(done, model, folder, tmp_path):
    assert [path.name for path in folder.iterdir()] == ["model.onnx"] and done.files == (folder / "model.onnx",)
    file = onnx.load(done.path)
    onnx.checker.check_model(file, full_check=True)
    assert onnxruntime.InferenceSession(str(done.path)).get_inputs()[0].shape == ["batch", 3, 8, 8]
    assert done.check.error <= 1e-4 and done.check.images == 16 and done.check.batches == (1, 3, 17, 64)
    assert [(o.domain, o.version) for o in file.opset_import if o.domain == ""] == [("", 18)]
    shapes = {v.name: [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in file.graph.input}
    assert shapes == {"images": ["batch", 3, 8, 8]}
    assert file.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert [v.name for v in file.graph.output] == ["scores", "host_labels", "host_probabilities"]
    texts = {p.key: p.value for p in file.metadata_props}
    program = model.save(tmp_path / "p.safetensors")
    assert texts["program_digest"] == read(program).header.digest
    assert texts["host_fingerprint"] == model.host.fingerprint and texts["host_licence"] == model.host.info.licence
    assert json.loads(texts["class_names"]) == list(model.task.classes) and texts["opset"] == "18"
    assert texts == Onnx(Onnx.Config()).metadata(done.path)


def test_a_frozen_frame_is_folded(done):
    operations = Counter(node.op_type for node in onnx.load(done.path).graph.node)
    assert not {"Tanh", "RandomNormal", "RandomUniform"} & set(operations)
    assert operations["Conv"] == 2 and operations["Sub"] == 1, "the window alone is normalised"


def test_a_file_runs_without_this_package(done, model, task, folder, tmp_path):
    images = task.test.images[:7]
    np.save(tmp_path / "images.npy", images.numpy())
    (tmp_path / "model.onnx").write_bytes(done.path.read_bytes())
    alone = subprocess.run([sys.executable, "-c", ALONE], cwd=tmp_path, capture_output=True, text=True, check=True)
    with torch.no_grad():
        scores, host = model(images), model.host_scores(images).softmax(1).topk(2)
    assert json.loads(alone.stdout) == [model.task.classes[i] for i in scores.argmax(1).tolist()]
    answers = np.load(tmp_path / "answers.npz")
    np.testing.assert_allclose(answers["scores"], scores.numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(answers["labels"], host.indices.numpy())
    np.testing.assert_allclose(answers["probabilities"], host.values.numpy(), rtol=1e-4)


def test_the_documented_way_from_an_image_file_is_that_of_predict(done, model, tmp_path, monkeypatch, capsys):
    """The example of docs/export.md, run on a long image: it sees the pixels that `predict` sees."""
    (code,) = re.findall(r"## Run it without.*?```python\n(.*?)```", (ROOT / "docs" / "export.md").read_text(), re.S)
    pixels = np.random.default_rng(0).integers(0, 256, (31, 12, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    monkeypatch.chdir(tmp_path)
    seen = {}
    exec(code.replace("squares.onnx", done.path.as_posix()), seen)  # noqa: S102
    _, channels, height, width = seen["session"].get_inputs()[0].shape
    expected = images.to_tensor(images.fit(images.read(tmp_path / "image.png"), height, width), channels)
    assert np.array_equal(seen["pixels"], expected.numpy())
    (answer,) = reprogram.predict_files(model, tmp_path / "image.png")
    assert capsys.readouterr().out.strip() == answer.label
    said = done.metadata["preprocessing"]
    assert "RGB" in said and f"cover {height} x {width} pixels" in said and "normalisation is in the file" in said


def test_an_exported_file_is_a_host_again(done, model, task):
    host = reprogram.load_host(f"onnx:{done.path}")
    assert host.info.shape == (3, 8, 8) and host.info.class_names == model.task.classes
    assert host.info.access == "scores" and host.info.licence == model.host.info.licence
    pixels = task.test.images[:5].float() / 255
    with torch.no_grad():
        torch.testing.assert_close(host(pixels), model(task.test.images[:5]), rtol=1e-4, atol=1e-5)
    again = reprogram.Reprogrammed.build(host, random_task(shape=(3, 4, 4)), canvas="centre", program="frame")
    with pytest.raises(reprogram.ConfigError, match="only answers"):
        reprogram.export(again, done.path.with_name("again.onnx"))


def test_pt2_by_the_command_line(model, tmp_path, capsys, monkeypatch):
    """Float images; the model's task isn't at hand, so images are made."""
    program = model.save(tmp_path / "p.safetensors")
    monkeypatch.setattr(_export, "load", lambda *_, **__: model)
    arguments = ["export", str(program), "--to", "pt2", "--out", str(tmp_path / "m.pt2"), "--pixels", "float32"]
    assert main([*arguments, "--max-batch", "5", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["images_of"] == "made images" and printed["batches"] == [1, 3, 5, 17] and printed["images"] == 26
    images = torch.rand(4, 3, 8, 8)
    with torch.no_grad():
        (scores,) = torch.export.load(tmp_path / "m.pt2").module()(images)
        torch.testing.assert_close(scores, model(images))
    assert Pt2(None).metadata(tmp_path / "m.pt2") == printed["metadata"]
    assert printed["metadata"]["images"] == "float32, b x 3 x 8 x 8, 0 to 1"
    assert main(arguments) == 3
    assert "there is one already" in capsys.readouterr().err


class Quick(Pt2):
    """A format that is written in no time, and whose runtime is the model itself, or another one."""

    def write(self, graph, path, metadata):
        path.write_bytes(b"graph")
        path.with_name(path.name + ".data").write_bytes(b"weights")
        return ["two files"]

    def open(self, path):
        def run(images):
            with torch.no_grad():
                return [self.answer(torch.from_numpy(images)).numpy()]

        return run


def test_a_disk_that_is_full(quick, model, task, tmp_path, monkeypatch, one_line):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Quick, "write", full)
    with pytest.raises(reprogram.WriteError) as error:
        reprogram.export(model, tmp_path / "m.pt2", task=task)
    one_line(error, "No space left")
    assert not list(tmp_path.iterdir())


@pytest.fixture
def quick(model, monkeypatch):
    monkeypatch.setattr(_export, "capture", lambda *_: None)
    monkeypatch.setattr(_export, "configure", lambda *_: (Quick, None))
    monkeypatch.setattr(Quick, "name", classmethod(lambda _: "quick"))
    monkeypatch.setattr(Quick, "answer", staticmethod(model), raising=False)


def test_a_file_beside_comes_along(quick, model, task, tmp_path):
    (tmp_path / "m.pt2.data").write_bytes(b"of somebody else")
    with pytest.raises(reprogram.ConfigError, match=r"m\.pt2\.data: there is one already"):
        reprogram.export(model, tmp_path / "m.pt2", task=task)
    assert [path.name for path in tmp_path.iterdir()] == ["m.pt2.data"]
    (tmp_path / "m.pt2.data").unlink()
    counted = model.host.meter.images
    done = reprogram.export(model, tmp_path / "m.pt2", task=task)
    assert {path.name for path in tmp_path.iterdir()} == {"m.pt2", "m.pt2.data"} == {p.name for p in done.files}
    assert done.path == done.files[0] and done.notes == ("two files",) and done.check.images == 16
    assert model.host.meter.images == counted, "a check is no part of the bill"


def fault(kind):
    def answer(images, model):
        scores = model(images)
        if kind == "one score":
            scores[-1, 0] += 2e-4 * scores.abs().max()
        elif kind == "a large batch" and len(images) > 17:
            scores = scores.flip(1)
        elif kind == "NaN":
            scores[0] = float("nan")
        elif kind == "shape":
            scores = scores[:, :-1]
        elif kind == "raises":
            raise ValueError("no kernel\nfor it")
        return scores

    return answer


@pytest.mark.parametrize("kind", ["one score", "a large batch", "NaN", "shape", "raises"])
def test_a_wrong_file_never_gets_its_name(kind, quick, model, task, tmp_path, monkeypatch, one_line):
    monkeypatch.setattr(Quick, "answer", staticmethod(lambda images: fault(kind)(images, model)))
    with pytest.raises(reprogram.ExportParityError) as error:
        reprogram.export(model, tmp_path / "m.pt2", task=task)
    one_line(error, "nothing was written")
    assert error.value.exit_code == 6 and not list(tmp_path.iterdir())


def test_an_old_file_stays_where_the_new_one_is_wrong_or_is_interrupted(quick, model, task, tmp_path, monkeypatch):
    path = tmp_path / "m.pt2"
    path.write_bytes(b"old")
    with pytest.raises(reprogram.ConfigError, match="there is one already"):
        reprogram.export(model, path, task=task)
    monkeypatch.setattr(Quick, "answer", staticmethod(lambda images: model(images) * 1.01))
    with pytest.raises(reprogram.ExportParityError):
        reprogram.export(model, path, task=task, overwrite=True)

    def interrupted(images):
        raise KeyboardInterrupt

    monkeypatch.setattr(Quick, "answer", staticmethod(interrupted))
    with pytest.raises(KeyboardInterrupt):
        reprogram.export(model, path, task=task, overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["m.pt2"] and path.read_bytes() == b"old"
    monkeypatch.setattr(Quick, "answer", staticmethod(model))
    reprogram.export(model, path, task=task, overwrite=True)
    assert path.read_bytes() == b"graph"


def test_places_and_names_that_cannot_be(model, tmp_path, one_line, monkeypatch):
    (tmp_path / "file").write_text("")
    for path, to, text in (
        ("m.txt", "onnx", "ends with .onnx: m.onnx"),
        ("m.onnx", "pt2", "ends with .pt2"),
        ("m", "", "onnx (.onnx)"),
        ("none/m.onnx", "", "there is no folder"),
        ("file/m.onnx", "", "there is no folder"),
        ("m.onnx", "onnxx", "did you mean 'onnx'"),
        ("m.onnx", "onnx(opset=17)", "18 to 23"),
    ):
        with pytest.raises(reprogram.ConfigError) as error:
            reprogram.export(model, tmp_path / path, to=to)
        one_line(error, text)
    for arguments, text in (
        ({"pixels": "int8"}, "uint8 or float32"),
        ({"max_batch": 0}, "max_batch=0"),
        ({"max_batch": 2.5}, "max_batch=2.5"),
        ({"host_top": 25}, "0 to 24"),
        ({"host_top": "3"}, "host_top='3'"),
        ({"host_top": 2.0}, "host_top=2.0"),
        ({"task": 3}, "task: int given"),
        ({"task": random_task(num_classes=3)}, "give that task"),
    ):
        with pytest.raises(reprogram.ConfigError) as error:
            reprogram.export(model, tmp_path / "m.onnx", **arguments)
        one_line(error, text)

    def refused(**_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(_export.tempfile, "mkdtemp", refused)
    with pytest.raises(reprogram.WriteError) as error:
        reprogram.export(model, tmp_path / "m.onnx")
    one_line(error, "Permission denied")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_format_says_what_it_needs(model, tmp_path, one_line, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(reprogram.ConfigError) as error:
        Onnx.require()
    one_line(error, "pip install 'reprogram[onnx]'")


def test_batches_have_every_size_and_every_image_comes_once():
    images = torch.arange(100)[:, None]
    batches = list(_batches(images, (1, 3, 17, 64)))
    assert [len(batch) for batch in batches] == [1, 3, 17, 64, 15]
    assert torch.equal(torch.cat(batches), images)
    assert [len(batch) for batch in _batches(images[:10], (1, 3, 17))] == [1, 3, 17], "a small task is taken again"
    assert set(torch.cat(list(_batches(images[:10], (1, 3, 17)))).flatten().tolist()) == set(range(10))


def test_what_counts_as_the_same_answers():
    ours = np.float32([[1, 2, -4], [0.5, 0.25, 0]])
    assert _compare(ours, ours * np.float32(1 + 5e-5), 2) == pytest.approx(5e-5, rel=1e-2)
    assert _compare(np.float32([[-np.inf, 1]]), np.float32([[-np.inf, 1]]), 1) == 0
    with pytest.raises(reprogram.ExportParityError, match="differ"):
        _compare(ours, ours + np.float32([[0, 0, 0], [1e-4, 0, 0]]), 2)
    near = np.float32([[1, 1 + 1e-6]])
    with pytest.raises(reprogram.ExportParityError, match="1 of 1 images get another label"):
        _compare(near, near[:, ::-1], 1)
    probabilities = np.float32([[0.2, 0.5, 0.3]])
    _compare_host(probabilities, np.array([[1, 2]]), np.float32([[0.5, 0.3]]))
    with pytest.raises(reprogram.ExportParityError, match="own top answers"):
        _compare_host(probabilities, np.array([[1, 0]]), np.float32([[0.5, 0.2]]))


@pytest.mark.parametrize("host", ["defended(host='linear:40', by='blur')", "averaged(host='linear:40', times=2)"])
def test_defences_are_refused_before_anything_is_written(host, task, tmp_path):
    model = reprogram.Reprogrammed.build(host, task, canvas="centre", program="frame")
    with pytest.raises(reprogram.ConfigError, match="defences and averages aren't part of a file"):
        reprogram.export(model, tmp_path / "model.onnx", task=task)
    assert not list(tmp_path.iterdir())
