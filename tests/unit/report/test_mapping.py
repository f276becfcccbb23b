"""What people see of a label map: `inspect`, and the rows in the report."""

import json

import pytest
import torch

from helpers import random_task, tiny_model
from reprogram.cli import main
from reprogram.report.examples import examples_of
from reprogram.report.mapping import MOST, mapping

MAPS = ["first", "greedy", "iterative", "bayesian", "linear"]


def shown_model(spec):
    model = tiny_model(label_map=spec)
    if spec == "bayesian":
        matrix = torch.zeros(4, 24)
        matrix[:, 5], matrix[torch.arange(4), 6 + torch.arange(4)] = 0.25, 0.75
        model.label_map.matrix.copy_(matrix)
    if spec == "linear":
        with torch.no_grad():
            model.label_map.matrix[1, 20] = -100.0
    return model


@pytest.mark.parametrize("spec", MAPS)
def test_inspect_shows_the_map_with_its_weights(spec, tmp_path, capsys):
    model = shown_model(spec)
    path = str(model.save(tmp_path / "p.safetensors"))
    assert main(["inspect", path, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["assignment"] == model.label_map.assignment()
    assert shown["weights"] == model.label_map.weights()
    assert main(["inspect", path]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("label 'class 1'")]
    expected = {
        "first": "host label 1",
        "greedy": "host label 1, host label 5, host label 9, host label 13, host label 17 and 1 more",
        "iterative": "host label 1",
        "bayesian": "0.750 × host label 7, 0.250 × host label 5",
        "linear": "-45.180 × host label 20, 1.000 × host label 1",  # 100 / ⁴√24.
    }[spec]
    assert len(lines) == 1 and lines[0].split(None, 3)[3] == expected


@pytest.mark.parametrize("spec", MAPS)
def test_the_report_names_each_host_label_that_speaks(spec):
    model, task = shown_model(spec), random_task()
    with torch.no_grad():
        examples = examples_of(model, task, model(task.test.images))
    json.dumps(examples)
    rows = mapping(examples)
    count = {"first": 4, "greedy": 12, "iterative": 4, "bayesian": 8, "linear": 5}[spec]
    assert sum(len(row["hosts"]) for row in rows) == count
    assert [[host["label"] for host in row["hosts"]] for row in rows] == examples["assignment"]
    assert any(host["negative"] for row in rows for host in row["hosts"]) == (spec == "linear")
    assert [row["more"] for row in rows] == ([3, 3, 3, 3] if spec == "greedy" else [0, 0, 0, 0])
    largest = max(host["share"] for row in rows for host in row["hosts"])
    assert largest == (0 if examples["weights"] is None else 100)


def test_reports_of_older_runs_and_of_many_classes_are_shown():
    examples = {"classes": [str(i) for i in range(500)], "assignment": [[f"host $ {i}"] for i in range(500)]}
    rows = mapping(examples)
    assert len(rows) == MOST < 500 and rows[7]["hosts"][0] == {
        "label": "host $ 7",
        "weight": None,
        "share": 0,
        "negative": False,
    }
