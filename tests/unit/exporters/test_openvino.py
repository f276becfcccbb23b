"""OpenVINO reads its files and answers as the model does; its telemetry is never imported, and nothing is sent."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

import reprogram
from helpers import random_task, tiny_model

pytestmark = pytest.mark.judge

SILENT = """
import socket, sys
def refused(*_, **__):
    raise AssertionError("something is sent")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refused
from reprogram.exporters.openvino import package
ov = package()
for part in (ov.tools.ovc.telemetry_utils, ov.tools.ovc.convert_impl):
    assert part.tm.__name__ == "openvino.tools.ovc.telemetry_stub"
assert "openvino_telemetry" not in sys.modules
"""


def test_both_files_answer_as_the_model_does(tmp_path):
    ov = pytest.importorskip("openvino", reason="needs openvino, which make judges installs")
    task = random_task()
    model = tiny_model(task, canvas="scaled", program="frame", label_map="bayesian")
    model.label_map.update(model.host_scores(task.train.images).detach(), task.train.labels)
    model.label_map.fit_from_statistics()
    done = reprogram.export(model, tmp_path / "m.xml", task=task, host_top=3)
    assert {path.name for path in tmp_path.iterdir()} == {"m.xml", "m.bin"} and "m.bin" in done.notes[0]
    read = ov.Core().read_model(tmp_path / "m.xml")
    assert [o.get_any_name() for o in read.outputs] == ["scores", "host_labels", "host_probabilities"]
    assert str(read.inputs[0].partial_shape) == "[?,3,8,8]" and read.inputs[0].element_type == ov.Type.u8
    assert read.get_rt_info(["reprogram", "program_digest"]).astype(str) == done.metadata["program_digest"]
    answers = ov.Core().compile_model(read, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(task.test.images.numpy())
    with torch.no_grad():
        np.testing.assert_allclose(answers["scores"], model(task.test.images).numpy(), rtol=1e-4, atol=1e-5)


def test_its_telemetry_is_not_even_imported(tmp_path):
    pytest.importorskip("openvino", reason="needs openvino, which make judges installs")
    done = subprocess.run(
        [sys.executable, "-c", SILENT], capture_output=True, text=True, env={**os.environ, "HOME": str(tmp_path)}
    )
    assert done.returncode == 0, done.stderr
    assert not list(tmp_path.iterdir()), "nothing is written into the home folder"
