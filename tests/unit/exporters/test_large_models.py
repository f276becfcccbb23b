"""Weights that one protocol buffer can't hold go into a second ONNX file, and that is said aloud."""

import onnx
import pytest

import reprogram
from helpers import random_task, tiny_model
from reprogram.exporters import onnx as exporter

pytestmark = pytest.mark.judge


def test_a_second_file_holds_the_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(exporter, "MAX_BYTES", 1_000)
    task, path = random_task(), tmp_path / "m.onnx"
    done = reprogram.export(tiny_model(task), path, task=task, to="onnx(opset=20)")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["m.onnx", "m.onnx.data"]
    assert "m.onnx.data, which has to stay beside m.onnx" in done.notes[0]
    onnx.checker.check_model(str(path), full_check=True)
    assert onnx.load(path, load_external_data=False).opset_import[0].version == 20
    host = reprogram.load_host(f"onnx:{path}")
    assert host.info.num_classes == 4 and host.fingerprint != reprogram.load_host(_moved(tmp_path)).fingerprint


def _moved(folder):
    """The same file beside other weights."""
    data = bytearray((folder / "m.onnx.data").read_bytes())
    data[-4:] = data[-8:-4]
    (folder / "other").mkdir()
    (folder / "other" / "m.onnx").write_bytes((folder / "m.onnx").read_bytes())
    (folder / "other" / "m.onnx.data").write_bytes(bytes(data))
    return f"onnx:{folder}/other/m.onnx"
