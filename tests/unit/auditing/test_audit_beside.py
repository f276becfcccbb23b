"""`reprogram audit --defence`: a host without and with defences, side by side."""

import dataclasses
import json
from unittest.mock import Mock

import pytest
import torch
from torch import nn

import reprogram
from reprogram.auditing.beside import _row, prepare_both
from reprogram.auditing.file import read_report
from reprogram.cli import main
from reprogram.errors import ConfigError
from reprogram.evaluation.baselines import direct_training

BATTERY = """
version = 1
summary = "Seconds."
rungs = ["gradient", "label"]
budgets = [60]
seeds = [0]
shots = 2
test_images = 30

[tasks.counts]
spec = "squares(train=200, validation=100, test=60)"
difficulty = "easy"

[attacks.gradient]
canvas = "scaled"
program = "tiles(side=2)"
label_map = "frequency"
learner = "adam"

[attacks.label]
canvas = "scaled"
program = "tiles(side=2)"
label_map = "label-bayes"
learner = "spsa"
batch_size = 4
"""

HOST = """
import torch
from torch import nn

torch.manual_seed(0)
NET = nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(3 * 5 * 5, 6))
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("beside")
    (folder / "battery.toml").write_text(BATTERY)
    (folder / "host.py").write_text(HOST)
    return folder


@pytest.fixture(scope="module")
def command(place):
    spec = f"python:{place / 'host.py'}:NET?size=20"
    return ["audit", spec, "--battery", str(place / "battery.toml"), "--executor", "inline", "--quiet"]


@pytest.fixture(autouse=True)
def _small_nets(monkeypatch):
    monkeypatch.setattr(direct_training, "DIRECT_IMAGES", 32)
    monkeypatch.setattr(direct_training, "DIRECT_PASSES", 1)


def test_both_audits_stand_side_by_side_and_nothing_is_asked_twice(command, tmp_path, capsys):
    out = tmp_path / "out"
    defended = [*command, "--defence", "bit-depth(bits=1)+rounding(decimals=1)", "--out", str(out)]
    assert main([*defended, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    values = json.loads((out / "comparison.json").read_bytes())
    assert values.items() <= printed.items()
    reports = {name: out / path for name, path in values["reports"].items()}
    without, behind = (read_report(reports[name]) for name in ("without", "with"))
    assert behind.host.spec.startswith("defended(") and behind.host.fingerprint == without.host.fingerprint
    estimates = [{(e.rung, e.budget): e for e in report.estimates} for report in (without, behind)]
    assert [row["rung"] for row in values["rows"]] == ["gradient", "label"]
    for row in values["rows"]:
        bare, guarded = (found[row["rung"], row["budget"]] for found in estimates)
        assert (row["gain_without"], row["gain_with"]) == (bare.gain, guarded.gain)
        assert row["difference"] == pytest.approx(guarded.gain - bare.gain)
    # What `audit compare` says of the two reports is the same.
    assert main(["audit", "compare", *map(str, reports.values()), "--json"]) == 0
    changes = {change["rung"]: change for change in json.loads(capsys.readouterr().out)["changes"]}
    for row in values["rows"]:
        shown = max(row["interval_without"][0], row["interval_with"][0]) > 0
        assert row["interval"] == changes[row["rung"]]["interval"]
        assert row["state"] == (changes[row["rung"]]["state"] if shown else "no-gain")
    times = {path: path.stat().st_mtime_ns for path in out.glob("*/runs/*/result.json")}
    assert len(times) == 4
    assert main([*defended, "--fail-above=-1@label", "--format", "junit"]) == 10
    shown = capsys.readouterr()
    assert "difference" in shown.out and "above --fail-above" in shown.err
    assert all((out / name / "audit.junit.xml").exists() for name in ("without", "with"))
    assert {path: path.stat().st_mtime_ns for path in out.glob("*/runs/*/result.json")} == times
    assert read_report(reports["with"]).bill.images == behind.bill.images
    # Python returns the same, and asks nothing for it.
    options = {"battery": command[3], "executor": "inline", "out": out}
    both = reprogram.audit(command[1], defences=["bit-depth(bits=1)", "rounding(decimals=1)"], **options)
    assert isinstance(both, reprogram.DefenceComparison)
    assert json.loads(json.dumps([dataclasses.asdict(row) for row in both.rows])) == values["rows"]
    assert both.behind.estimates == behind.estimates and both.without.estimates == without.estimates
    assert {path: path.stat().st_mtime_ns for path in out.glob("*/runs/*/result.json")} == times
    assert "difference" in both._repr_html_() and "<script" not in both._repr_html_()


def test_a_module_that_python_holds_is_audited_beside_a_defence(command, tmp_path):
    torch.manual_seed(0)
    net = nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(75, 6))
    host = reprogram.Host.wrap(net, size=20, name="held")
    options, before = {"battery": command[3], "rungs": ["label"], "out": tmp_path / "out"}, host.meter.images
    with pytest.raises(reprogram.BudgetError, match=r"needs .* more than 300"):
        reprogram.audit(host, defences="label-only", queries=300, **options)
    assert not (tmp_path / "out").exists() and host.meter.images == before
    both = reprogram.audit(host, defences="label-only", queries=2000, **options)
    assert both.without.bill.images + both.behind.bill.images <= 2000
    (row,) = both.rows
    assert row.difference == 0.0  # The label is all that this rung shows.


def test_a_rung_that_the_defence_hides_is_named(command, tmp_path, capsys):
    asked = [*command, "--defence", "label-only", "--out", str(tmp_path / "out")]
    assert main([*asked, "--plan", "--json"]) == 0
    plans = json.loads(capsys.readouterr().out)
    assert {name: len(plan["cells"]) for name, plan in plans.items()} == {"without": 2, "with": 1}
    assert not (tmp_path / "out").exists()
    assert main(asked) == 0
    assert "the defence hides this rung" in capsys.readouterr().out
    rows = json.loads((tmp_path / "out" / "comparison.json").read_bytes())["rows"]
    gradient, label = rows
    assert (gradient["state"], gradient["gain_with"], gradient["difference"]) == ("not-shown", None, None)
    assert gradient["gain_without"] is not None
    # The label alone is what both show on this rung, and the seeds are the same.
    assert label["difference"] == 0.0
    assert label["state"] == ("same" if label["interval_without"][0] > 0 else "no-gain")


def test_a_defence_is_no_better_where_there_is_nothing_to_defend():
    """Less than nothing behind the defence is still nothing: the interval of the difference says nothing then."""

    def estimate(gain):
        return Mock(gain=gain, interval=(gain - 0.05, gain + 0.05))

    pairs = {(0.3, 0.1): "better", (0.1, 0.3): "worse", (0.3, 0.31): "same", (-0.1, -0.4): "no-gain"}
    pairs |= {(-0.4, -0.1): "no-gain", (-0.1, 0.2): "worse", (0.2, -0.2): "better"}
    for (bare, behind), state in pairs.items():
        assert _row(("label", "digits", 100), estimate(bare), estimate(behind), True).state == state


@pytest.mark.parametrize(
    ("defence", "code", "message"),
    [
        ("bluur", 3, "did you mean 'blur'"),
        ("blur(sigma=-1)", 3, "sigma"),
        ("+", 3, "a name is expected"),
        ("", 3, "--defence"),
    ],
)
def test_a_defence_that_cannot_be_is_one_line(command, tmp_path, capsys, defence, code, message):
    assert main([*command, "--defence", defence, "--out", str(tmp_path / "out")]) == code
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert message in line and not (tmp_path / "out").exists()


def test_a_host_that_shows_less_already_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="put the restriction outside"):
        prepare_both("restricted:(linear:48)?access=label", "blur", out=tmp_path / "out")


@pytest.mark.parametrize("gate", ["0.1@gradient", "0.1@scores"])
def test_gates_are_for_the_host_with_the_defence(command, tmp_path, capsys, gate):
    """One that only the bare host could hit is refused before anything is asked."""
    asked = [*command, "--defence", "label-only", "--out", str(tmp_path / "out"), "--budgets", "60"]
    assert main([*asked, "--rungs", "gradient", "--fail-above", gate]) == 3
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "label" in line and not (tmp_path / "out").exists()
