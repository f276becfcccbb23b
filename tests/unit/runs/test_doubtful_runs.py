"""A run whose program does nothing says so to people, in the JSON, in the report, and again when it is asked later."""

import html
import json
from pathlib import Path

import jsonschema
import pytest

import reprogram
from helpers_runs import cli
from reprogram.cli.console import Common
from reprogram.cli.sweep import _conclude
from reprogram.runs.config import RunConfig
from reprogram.sweep.cells import Cell, Outcome

TASK = "squares(train=160, validation=40, test=60)"
NET = "timm:test_resnet(pretrained=False, num_classes=16, size=48)"
SCHEMA = json.loads((Path(reprogram.__file__).parent / "runs" / "result.schema.json").read_text(encoding="utf-8"))
RUNS = {
    # By the first step the time is over: the host was asked to fit the map, and to validate.
    "nothing_learned": ("--host", NET, "--label-map", "discriminant", "--seconds", "1e-9"),
    "constant_shift": ("--host", "linear(size=48)", "--images", "160"),
}


@pytest.fixture(params=RUNS)
def doubtful(request, tmp_path):
    """The reason, the run's folder, and what the console said."""
    folder = tmp_path / "run"
    arguments = ("--task", TASK, "--baselines", "map-alone", "--out", folder, "--quiet")
    code, out, err = cli("fit", *RUNS[request.param], *arguments)
    assert code == 0, err
    return request.param, folder, out


def test_console_json_and_report_say_so(doubtful):
    reason, folder, out = doubtful
    result = json.loads((folder / "result.json").read_text())
    jsonschema.validate(result, SCHEMA)
    sentence = result["doubts"][reason]
    assert sentence in out and sentence in html.unescape((folder / "report.html").read_text())
    if reason == "nothing_learned":
        assert result["images_seen"] == result["selected_step"] == result["changed_numbers"] == 0
        assert "after 0 training images" in sentence
    else:
        assert result["program_effect"]["spread"] < 1e-4 and result["changed_numbers"] > 0


def test_a_sweep_says_so(doubtful, capsys):
    reason, folder, _ = doubtful
    outcome = Outcome(Cell("cell", RunConfig(out=str(folder))), "already")
    failed = Outcome(Cell("other", RunConfig(out=str(folder / "none"))), "failed", "it broke")
    assert _conclude([outcome, failed], Common()) == 3
    sentence = json.loads((folder / "result.json").read_text())["doubts"][reason]
    assert f"cell: {sentence}" in capsys.readouterr().out
    _conclude([outcome, failed], Common(json=True))
    assert [reason in row["doubts"] for row in json.loads(capsys.readouterr().out)] == [True, False]


def test_a_program_that_works_is_left_in_peace(tmp_path):
    arguments = ("--host", NET, "--task", TASK, "--epochs", "1", "--baselines", "map-alone", "--out", tmp_path / "run")
    code, out, err = cli("fit", *arguments, "--json", "--quiet")
    result = json.loads(out)
    assert code == 0 and not {"nothing_learned", "constant_shift"} & result["doubts"].keys(), err
    # The frame's numbers inside the window are never used, and the others all moved.
    assert 0 < result["changed_numbers"] < result["learned_numbers"]
