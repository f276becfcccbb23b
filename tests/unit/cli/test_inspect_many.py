"""`inspect` says how many labels it doesn't show."""

import json

import pytest

import reprogram
from helpers import random_task
from helpers_runs import cli


@pytest.mark.parametrize("classes", [50, 57])
def test_labels_that_are_left_out_are_counted(tmp_path, classes):
    task = random_task((1, 8, 8), num_classes=classes)
    path = tmp_path / "p.safetensors"
    reprogram.Reprogrammed.build("linear(size=24, num_classes=64)", task).save(path)
    _, out, _ = cli("inspect", path)
    assert out.count("\nlabel '") == 50
    assert out.splitlines()[-1].strip().startswith("and 7 more labels") == (classes == 57)
    assert len(json.loads(cli("inspect", path, "--json")[1])["task"]["classes"]) == classes
