"""The predictions in a run's folder: every accuracy of its result, and their difference, come out of them again."""

import csv
import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest

import reprogram
from helpers import ROOT
from helpers_runs import cli
from reprogram.evaluation.paired import tango_interval

HOST = "timm:test_resnet(pretrained=False, num_classes=16, size=48)"
TASK = "squares(train=160, validation=40, test=60)"
FIT = ("fit", "--host", HOST, "--task", TASK, "--canvas", "centre", "--images", "160", "--quiet", "--json")


def run(folder, *flags):
    code, out, err = cli(*FIT, "--out", folder, *flags)
    assert code == 0, err
    result = json.loads(out)
    schema = json.loads((ROOT / "src/reprogram/runs/result.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema).validate({k: v for k, v in result.items() if k != "folder"})
    with (folder / "predictions.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return result, {name: np.array([int(row[name]) for row in rows]) for name in rows[0]}


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    return run(tmp_path_factory.mktemp("run") / "a", "--label-map", "first", "--baselines", "map-alone")


def test_the_result_can_be_computed_again(first):
    result, found = first
    labels = reprogram.load_task(TASK).test.labels.numpy()
    assert list(found) == ["label", "program", "top_label", "map_alone"] and found["label"].tolist() == labels.tolist()
    right, alone = found["program"] == labels, found["map_alone"] == labels
    assert result["test"]["accuracy"] == right.mean()
    assert result["baselines"]["map_alone"]["accuracy"] == alone.mean()
    worth = result["program_worth"]
    counts = [int(pairs.sum()) for pairs in (right & alone, right & ~alone, ~right & alone, ~right & ~alone)]
    assert [worth[key] for key in ("both", "only_program", "only_map", "neither")] == counts
    assert worth["difference"] == pytest.approx(right.mean() - alone.mean()) and worth["n"] == 60
    assert worth["interval"] == pytest.approx(tango_interval(counts[1], counts[2], 60))
    shown = result["host_shows"]
    assert shown["needed"] == "top_label" and shown["top_label"]["outside"] == (found["top_label"] >= 10).sum()
    assert shown["top_label"]["accuracy"] == (found["top_label"] == labels).mean()  # First map: label i is class i.
    assert shown["all_scores"] == result["test"]


def test_without_the_map_alone_there_is_no_worth(tmp_path):
    result, found = run(tmp_path / "a", "--label-map", "discriminant", "--baselines", "none")
    assert list(found) == ["label", "program", "top_label"] and "program_worth" not in result
    assert result["host_shows"].keys() == {"needed", "all_scores"} and result["host_shows"]["needed"] == "all_scores"
    code, out, err = cli("fit", "--resume", tmp_path / "a", "--quiet")
    assert code == 0, err
    assert "worth" not in out and "what the host must show" in out and "all of the scores that it shows" in out
    assert "all of the scores that it shows" in (tmp_path / "a" / "report.html").read_text()


def test_people_are_told(first):
    result, _ = first
    code, out, err = cli("fit", "--resume", result["folder"], "--quiet")
    assert code == 0, err
    worth, top = result["program_worth"], result["host_shows"]["top_label"]
    low, high = worth["interval"]
    assert "what the program is worth" in out and f"{worth['difference']:+.4f}  (n=60" in out
    assert f"interval {low:+.4f} to {high:+.4f})" in out
    assert f"{top['accuracy']:.4f}" in out and f"outside the map: {top['outside']}" in out
    assert ("holds 0" in out) == (low <= 0 <= high)
    page = Path(result["folder"], "report.html").read_text()
    assert "percentage points" in page and "by the host's top label alone" in page


def test_program_and_baselines_are_measured_on_the_same_sample(tmp_path, one_line):
    flags = ("--baselines", "map-alone", "all-scores", "linear-probe", "--label-map", "first", "--seed", "3")
    result, found = run(tmp_path / "a", *flags, "--test-images", "20", "--validation-images", "11")
    test = reprogram.load_task(TASK).test.labels.numpy()
    assert list(found)[:2] == ["image", "label"] and len(set(found["image"].tolist())) == 20
    assert found["label"].tolist() == test[found["image"]].tolist()
    counts = [np.bincount(labels, minlength=10) for labels in (test, found["label"])]
    assert (abs(counts[1] - counts[0] / 3) < 1).all()
    right, alone = found["program"] == found["label"], found["map_alone"] == found["label"]
    assert result["test"]["accuracy"] == right.mean() and result["baselines"]["map_alone"]["accuracy"] == alone.mean()
    assert result["program_worth"]["difference"] == pytest.approx(right.mean() - alone.mean())
    measured = {result["test"]["n"], result["program_worth"]["n"]}
    assert measured | {value.get("n", 20) for value in result["baselines"].values()} == {20}
    assert result["measured_images"] == {"validation": 11, "test": 20}
    assert result["splits"] == {"train": 160, "validation": 40, "test": 60} and result["validation"]["n"] == 11
    code, _, err = cli(*FIT, "--out", tmp_path / "a", *flags, "--validation-images", "11")
    assert code == 3
    one_line(err.strip(), "test_images=20", "'all'")
    # The data are the same, so the program file is of the task as a whole.
    assert result["task_fingerprint"] == reprogram.load_task(TASK).fingerprint


@pytest.mark.parametrize("value", ["0", "many", "2.5"])
def test_no_number_of_test_images_is_one_line(tmp_path, value, one_line):
    code, _, err = cli(*FIT, "--out", tmp_path / "a", "--test-images", value)
    assert code == 3
    one_line(err.strip(), "test_images=", value, "expected", "'all'")
