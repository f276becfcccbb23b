"""`reprogram paper` from end to end, on hosts and tasks that take seconds."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers_processes import spawn
from reprogram.cli import main

PRESET = """
[fit]
images = 320
validations = 2
learner = "gradient(learning_rate=0.1)"

[hosts]
small = "timm:test_resnet(pretrained=False, num_classes=16, size=48)"
other = "timm:test_vit(pretrained=False, num_classes=16, size=48)"
few = "linear:24?num_classes=5"

[tasks.digits]

[experiments.table1]
untrained = ["small", "other"]

[experiments.size]
hosts = ["small"]
places = ["outermost", "learned"]
pixels = [64]

[experiments.amplitude]
hosts = ["small"]
levels = [8]

[experiments.shuffled]
hosts = ["small"]

[experiments.concealed]
hosts = ["small"]
levels = [16]

[experiments.programs]
hosts = ["small", "other"]
seeds = [0, 1, 2]
fit.images = 160

[experiments.linear-host]
width = 32
slopes = [1.0, 0.0]
"""


def reprogram(*arguments, code=0):
    """What a call prints on stdout and stderr; in a process of its own that needn't import torch."""
    process = spawn(*arguments)
    out, err = process.communicate(timeout=280)
    assert process.returncode == code, err
    return out, err


@pytest.fixture(scope="module")
def paper(tmp_path_factory):
    """Everything, once."""
    folder = tmp_path_factory.mktemp("paper")
    (folder / "tiny.toml").write_text(PRESET)
    photographs = folder / "photographs"
    photographs.mkdir()
    rng = np.random.default_rng(0)
    for i in range(4):
        Image.fromarray(rng.integers(0, 256, (60, 70, 3), dtype=np.uint8)).save(photographs / f"{i}.png")
    arguments = (
        "paper",
        "all",
        "--preset",
        folder / "tiny.toml",
        "--out",
        folder / "out",
        "--photographs",
        photographs,
    )
    out, _ = reprogram(*arguments, "--threads", "1", "--workers", "2", "--json", "--quiet", code=3)
    return folder, arguments, json.loads(out)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_everything_is_run_once_measured_and_shown(paper):
    folder, _, done = paper
    failed = [run for run in done["runs"] if run["state"] == "failed"]
    # A host of too few labels: named, and nothing else is stopped by it.
    assert len(failed) == 1 and "few" in failed[0]["run"] and "the host has 5" in failed[0]["error"]
    page = (folder / "out" / "report.html").read_text()
    for title in (
        "Table 1",
        "Shuffled pixels",
        "Hidden in a photograph",
        "Does the host notice?",
        "How fragile is it?",
    ):
        assert title in page
    for text in (
        "random weights",
        "the paper [M]",
        "untrained, BatchNorm conditioned",
        "photographs (n=4)",
        "nothing that could survive",
        "PSNR",
        "slope 0.0",
        "[M]",
    ):
        assert text in page
    assert page.count("data:image/png;base64,") >= 10 and page.count("data:image/svg+xml;base64,") >= 3
    assert "http" not in page.replace("http://www.w3.org", "")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_second_call_runs_nothing_that_is_there(paper):
    folder, arguments, first = paper
    before = {path: path.stat().st_mtime_ns for path in (folder / "out" / "runs").glob("*/result.json")}
    done = json.loads(reprogram(*arguments, "--threads", "1", "--json", "--quiet", code=3)[0])
    assert {run["state"] for run in done["runs"]} == {"already", "failed"}
    assert len(done["runs"]) == len(first["runs"])
    assert before == {path: path.stat().st_mtime_ns for path in (folder / "out" / "runs").glob("*/result.json")}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_report_needs_the_json_files_alone(paper, tmp_path):
    folder, _, _ = paper
    for part in ("plans", "facts"):
        shutil.copytree(folder / "out" / part, tmp_path / part)
    for result in (folder / "out" / "runs").glob("*/result.json"):
        place = tmp_path / "runs" / result.parent.name / "result.json"
        place.parent.mkdir(parents=True)
        shutil.copy(result, place)
    command = [sys.executable, "-m", "reprogram", "paper", "report", "--out", tmp_path]
    assert subprocess.run(command, capture_output=True, timeout=280).returncode == 0
    assert main(["paper", "report", "--out", str(folder / "out")]) == 0
    assert (tmp_path / "report.html").read_bytes() == (folder / "out" / "report.html").read_bytes()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_linear_host_gets_no_further_than_the_best_shift(paper):
    folder, _, _ = paper
    facts = [json.loads(path.read_text()) for path in (folder / "out" / "facts" / "linear-host").glob("*.json")]
    linear = [fact for fact in facts if "linear" in fact["name"] or "slope_1.0" in fact["name"]]
    bent = [fact for fact in facts if "slope_0.0" in fact["name"]]
    assert len(linear) == 2 and len(bent) == 1
    for fact in linear:
        result = json.loads((folder / "out" / "runs" / fact["name"] / "result.json").read_text())
        assert fact["fact"]["spread"] < 1e-3
        right, n = round(result["test"]["accuracy"] * result["test"]["n"]), result["test"]["n"]
        assert abs(right - fact["fact"]["own"]) <= 1  # A tie may fall the other way.
        assert right <= fact["fact"]["best"] + 0.1 * n  # The best one was chosen on the training images.
    assert bent[0]["fact"]["spread"] > 0.05


def test_the_list_and_the_plan_run_nothing(tmp_path, capsys):
    def said(*arguments):
        assert main(["paper", *map(str, arguments)]) == 0
        return capsys.readouterr().out

    assert [entry["name"] for entry in json.loads(said("list", "--json"))][:2] == ["table1", "baselines"]
    (tmp_path / "tiny.toml").write_text(PRESET)
    plan = ("size", "--preset", tmp_path / "tiny.toml", "--plan", "--out", tmp_path / "out")
    planned = json.loads(said(*plan, "--json"))["size"]
    assert len(planned) == 2 and {run["images"] for run in planned} == {320}
    assert "size" in said(*plan) and not Path(tmp_path / "out").exists()
    for chosen, expected in (("none", []), ("map-alone", ["map-alone"])):
        others = json.loads(said(*plan, "--json", "--baselines", chosen))["size"]
        assert [run["baselines"] for run in others] == [expected, expected]
        assert (chosen == "none") == ({run["run"] for run in others} == {run["run"] for run in planned})


@pytest.fixture
def refused(capsys):
    """The one line of a call that ends with 3 before it does anything; in this process."""

    def call(*arguments):
        assert main(["paper", *map(str, arguments)]) == 3
        said = capsys.readouterr()
        assert said.out == "" and said.err.count("\n") == 1
        return said.err

    return call


def test_what_is_wrong_is_said_before_any_run(tmp_path, refused):
    preset, out = tmp_path / "tiny.toml", tmp_path / "out"
    preset.write_text(PRESET)
    call = ("table1", "--preset", preset)
    assert "did you mean" in refused(*call, "--out", out, "--hosts", "timm:resnet5O")
    assert "none: no such folder" in refused(*call, "--out", out, "--photographs", tmp_path / "none")
    assert "given 2 times" in refused(*call, "--out", out, "--seeds", 0, 0)
    assert "baseline 'probe'" in refused(*call, "--out", out, "--baselines", "probe")
    assert "is a file" in refused(*call, "--out", preset)
    assert not out.exists()


def test_a_report_needs_a_folder_with_plans(tmp_path, refused):
    (tmp_path / "file").write_text("x")
    for out, text in ((tmp_path, "holds no plans"), (tmp_path / "none", "holds no plans"), (tmp_path / "file", "file")):
        assert text in refused("report", "--out", out)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_where_no_run_finished_there_is_no_report(tmp_path):
    call = ("paper", "transfer", "--hosts", "linear:4", "--tasks", "digits", "--out", tmp_path / "out", "--quiet")
    out, err = reprogram(*call, code=3)
    assert out == "0 of 1 runs finished, no report\n" and "larger than the host" in err
    assert not (tmp_path / "out" / "report.html").exists()


def test_an_unknown_experiment_is_one_line(refused):
    assert "did you mean 'table1'" in refused("tabel1")
