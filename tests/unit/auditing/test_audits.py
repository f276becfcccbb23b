"""Whole audits of tiny hosts: the report, going on after an interruption, gates, refusals, and the command line."""

import csv
import dataclasses
import json

import numpy as np
import pytest
import torch
from torch import nn

import reprogram
from reprogram.auditing import audit as auditing
from reprogram.auditing.compare import checksum
from reprogram.auditing.file import read_report, write_report
from reprogram.auditing.intervals import gain_interval
from reprogram.cli import main
from reprogram.errors import BudgetError, ConfigError, HostUnavailableError
from reprogram.evaluation.baselines import direct_training
from reprogram.evaluation.simple_features import simple_features
from reprogram.hosts.base import Host

BATTERY = """
version = 1
summary = "Seconds."
rungs = ["gradient", "label"]
budgets = [60, 80]
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


def broken(pixels):
    raise RuntimeError("the service is down")


def growing(pixels, sizes=iter(range(4, 10**6))):
    return torch.ones(len(pixels), next(sizes))


def hanging(pixels):
    import time

    time.sleep(60)


def nan(pixels):
    return torch.full((len(pixels), 4), float("nan"))
"""


@pytest.fixture(autouse=True)
def _small_nets(monkeypatch):
    monkeypatch.setattr(direct_training, "DIRECT_IMAGES", 32)
    monkeypatch.setattr(direct_training, "DIRECT_PASSES", 1)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audit")
    (folder / "battery.toml").write_text(BATTERY)
    (folder / "host.py").write_text(HOST)
    return folder


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(3 * 5 * 5, 6))


@pytest.fixture(scope="module")
def report(place, net):
    """An audit that is interrupted after its second cell, and goes on."""
    patch = pytest.MonkeyPatch()
    patch.setattr(direct_training, "DIRECT_IMAGES", 32)
    patch.setattr(direct_training, "DIRECT_PASSES", 1)
    host = Host.wrap(net, size=20, name="tiny")
    options = {"battery": str(place / "battery.toml"), "out": place / "out", "rate": 10.0, "price": 2.0}
    events = []

    def stop(event):
        events.append(event.state)
        if events.count("finished") == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reprogram.audit(host, on_event=stop, **options)
    results = {path: path.stat().st_mtime_ns for path in (place / "out" / "runs").glob("*/result.json")}
    assert len(results) >= 2 and not (place / "out" / "audit.json").exists()
    meter = host.meter
    made = reprogram.audit(host, **options)
    assert all(path.stat().st_mtime_ns == time for path, time in results.items())  # Not run again.
    assert host.meter is meter
    yield made
    patch.undo()


def test_the_report_is_in_the_folder_and_follows_from_its_cells(report, place):
    assert read_report(place / "out") == report
    assert len(report.cells) == 4 and {cell.state for cell in report.cells} == {"finished"}
    assert report.checksum == checksum(report.grid, report.version)
    (task,) = report.grid.tasks  # The host has six labels, and the battery's task ten classes.
    assert (task.num_classes, task.train_images) == (6, 12) and task.spec.startswith("first-classes(")
    cells = {cell.name: cell for cell in report.cells}
    for estimate in report.estimates:
        own = [cells[name] for name in estimate.cells]
        rows = []
        for cell in own:
            columns = read_columns(place / "out" / cell.folder)
            terms = {t: read_columns(place / "out" / cells[n].folder) for t, n in cell.terms_from.items()}
            assert cell.queries <= cell.budget
            assert cell.accuracy == pytest.approx(np.mean(columns["program"] == columns["label"]))
            for term, theirs in terms.items():
                assert np.array_equal(theirs["image"], columns["image"])
                assert cell.terms[term] == pytest.approx(np.mean(theirs[term] == columns["label"]))
            right = (columns["program"] == columns["label"]).astype(float)
            over = estimate.over
            other = 1 / 6 if over == "chance" else (columns["label"] == 0) if over == "majority" else None
            few = (
                reprogram.load_task(task.spec)
                .few(2, seed=cell.seed)
                .with_test_sample(report.grid.test_images, seed=cell.seed)
            )
            simple = simple_features(few) == columns["label"]  # Tested against scikit-learn.
            assert cell.terms["simple_features"] == pytest.approx(simple.mean())
            other = simple if over == "simple_features" else other
            rows.append((columns["image"], right - (terms[over][over] == columns["label"] if other is None else other)))
        assert estimate.gain == pytest.approx(np.mean([values.mean() for _, values in rows]))
        assert estimate.interval == pytest.approx(gain_interval(rows))
        assert estimate.translation.seconds == pytest.approx(estimate.translation.images / 10)
    probe = report.probe
    assert probe is not None and probe.disagreement == 0 and probe.gradient_size > 0
    assert report.bill.images == sum(cell.images for cell in report.cells) + probe.asked
    assert report.bill.cost == pytest.approx(2.0 * report.bill.images / 1000)


def read_columns(folder):
    with (folder / "predictions.csv").open(newline="") as file:
        names, *rows = csv.reader(file)
    return dict(zip(names, np.array(rows, dtype=int).T, strict=True))


def test_other_weights_are_refused_in_the_same_folder(report, place):
    other = Host.wrap(nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(75, 6)), size=20)
    with pytest.raises(ConfigError, match="holds the audit of another host"):
        reprogram.audit(other, battery=str(place / "battery.toml"), out=place / "out")


def test_a_module_that_is_given_is_left_as_it_came(report, net):
    assert all(parameter.requires_grad and parameter.grad is None for parameter in net.parameters())
    assert net.training and not net[0]._forward_hooks


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"budgets": [3]}, BudgetError, "budgets=3 is less than"),
        ({"rate": 0.0}, ConfigError, "rate=0.0"),
        ({"task": ["own=folder:missing"]}, reprogram.DataError, "missing"),
        ({"shots": 1000}, reprogram.DataError, "shot"),
        ({"out": "/dev/null/x"}, reprogram.DataError, "out"),
    ],
)
def test_what_cannot_be_audited_is_refused_before_anything_is_asked(place, net, tmp_path, options, error, message):
    host = Host.wrap(net, size=20)
    host.renew()
    with pytest.raises(error, match=message):
        reprogram.audit(host, **{"battery": str(place / "battery.toml"), "out": tmp_path / "out", **options})
    assert host.meter.images == 0


def test_a_service_is_audited_on_its_own_rung_alone(net, place, tmp_path):
    host = Host.wrap(net, size=20, access="label")
    prepared = auditing.prepare(host, battery=str(place / "battery.toml"), out=tmp_path)
    assert [attack.rung for attack in prepared.plan.grid.attacks] == ["label"]
    with pytest.raises(ConfigError, match="give --rungs label"):
        auditing.prepare(host, battery=str(place / "battery.toml"), out=tmp_path, rungs=["scores"])


@pytest.mark.parametrize("name", ["broken", "nan", "missing"])
def test_a_host_that_cannot_be_used_is_one_line(place, capsys, name, tmp_path):
    spec = f"python:{place / 'host.py'}:{name}?size=20"
    code = main(["audit", spec, "--battery", str(place / "battery.toml"), "--out", str(tmp_path / "out"), "--quiet"])
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert code in (3, 5) and line.startswith("reprogram: ") and not (tmp_path / "out").exists()


def test_a_host_that_hangs_while_it_is_loaded_is_given_up(place, capsys, tmp_path):
    spec = f"python:{place / 'host.py'}:hanging?size=20"
    battery = ["--battery", str(place / "battery.toml"), "--out", str(tmp_path / "out"), "--patience", "0.2"]
    assert main(["audit", spec, *battery]) == 5
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "no answer in 0.2 seconds" in line and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": [0, 0]}, "seeds: 0 is given twice"),
        ({"budgets": [70, 70]}, "budgets: 70 is given twice"),
        ({"tasks": ["squares(train=200, validation=100, test=60)"] * 2}, "NAME=SPEC"),
    ],
)
def test_what_is_given_twice_is_refused(place, net, tmp_path, options, message):
    with pytest.raises(ConfigError, match=message):
        auditing.prepare(net, battery=str(place / "battery.toml"), out=tmp_path / "out", **options)


def test_the_command_line_goes_on_with_what_is_there(report, place, capsys, tmp_path):
    """Gates, a baseline and a comparison on finished cells; nothing is run again."""
    spec = f"python:{place / 'host.py'}:NET?size=20"
    command = ["audit", spec, "--battery", str(place / "battery.toml"), "--out", str(tmp_path / "out")]
    assert main([*command, "--plan", "--json"]) == 0
    planned = json.loads(capsys.readouterr().out)
    assert len(planned["cells"]) == 4 and not (tmp_path / "out").exists() and "limit" not in planned
    needed = sum(row["images"] for row in planned["expected"]) + planned["probe_images"]
    for limit, line in ((needed, "fits: the whole"), (needed - 5, "doesn't fit: the whole")):
        assert main([*command, "--plan", "--queries", str(limit)]) == 0
        assert line in (shown := capsys.readouterr().out) and f"{needed:,} images" in shown
    assert "5 more than" in shown
    assert main([*command, "--queries", str(needed - 5), "--quiet"]) == reprogram.BudgetError.exit_code
    assert f"needs {needed:,} images at the most, 5 more than" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    inline = [*command, "--executor", "inline", "--rungs", "label", "--budgets", "60", "--quiet"]
    assert main([*inline, "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["verdict"]["level"] in ("gain-shown", "gain-possible", "none-shown")
    asked = sum(row["images"] for row in planned["expected"])
    assert made["bill"]["images"] <= asked
    assert main([*inline, "--fail-above=-1@label"]) == 10
    shown = capsys.readouterr()
    assert "Read first: A low number is no proof" in shown.out and "above --fail-above -1@label" in shown.err
    audited = str(tmp_path / "out" / "audit.json")
    assert main([*inline, "--baseline", audited]) == 0
    assert main(["audit", "compare", audited, audited]) == 0
    assert capsys.readouterr().out.strip().endswith("0 worse, 0 better, 1 same")
    better = read_report(tmp_path / "out")
    lower = dataclasses.replace(better.estimates[0], gain=-0.99, interval=(-1.0, -0.98))
    write_report(tmp_path / "old.json", dataclasses.replace(better, estimates=(lower,)))
    assert main([*inline, "--baseline", str(tmp_path / "old.json")]) == 10
    assert "worse: counts on label" in capsys.readouterr().err
    other = dataclasses.replace(better.estimates[0], budget=80)
    write_report(tmp_path / "old.json", dataclasses.replace(better, estimates=(other,)))
    assert main([*inline, "--baseline", str(tmp_path / "old.json")]) == 0
    assert "says nothing of it: counts on label with 60 images is missing" in capsys.readouterr().err
    write_report(tmp_path / "old.json", dataclasses.replace(better, estimates=()))
    assert main([*inline, "--baseline", str(tmp_path / "old.json")]) == 3
    assert "holds no estimates" in capsys.readouterr().err


def test_a_function_that_answers_otherwise_is_refused_in_the_folder_of_a_finished_audit(place, capsys, tmp_path):
    """It has no weights to be known by; its file may have changed, or what that imports."""
    (tmp_path / "host.py").write_text(HOST + "\n\ndef asked(pixels):\n    return NET(pixels)\n")
    command = ["audit", f"python:{tmp_path / 'host.py'}:asked?size=20", "--battery", str(place / "battery.toml")]
    command += [
        "--out",
        str(tmp_path / "out"),
        "--executor",
        "inline",
        "--rungs",
        "label",
        "--budgets",
        "60",
        "--quiet",
    ]
    assert main(command) == 0
    before = (tmp_path / "out" / "audit.json").read_bytes()
    assert main(command) == 0
    (tmp_path / "host.py").write_text((tmp_path / "host.py").read_text().replace("NET(pixels)", "-NET(pixels)"))
    kept = (tmp_path / "out" / "audit.json").read_bytes()
    capsys.readouterr()
    for _ in range(2):
        assert main(command) == 3
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert "holds the finished audit of a host that answered the same images otherwise" in line
    assert (tmp_path / "out" / "audit.json").read_bytes() == kept
    assert json.loads(kept)["estimates"] == json.loads(before)["estimates"]
    spent = json.loads(kept)["bill"]["images"]
    assert main([*command, "--queries", str(spent + 10_000)]) == 3
    assert "answered the same images otherwise" in capsys.readouterr().err


def test_what_cannot_run_and_what_is_damaged_is_one_line(place, capsys, tmp_path):
    command = ["audit", f"python:{place / 'host.py'}:NET?size=20", "--battery", str(place / "battery.toml")]
    command += ["--out", str(tmp_path / "out"), "--rungs", "label", "--budgets", "60", "--quiet"]
    for more, message in (
        (["--executor", "inlin"], "did you mean 'inline'"),
        (["--workers", "-1"], "or 0 for as many"),
    ):
        assert main([*command, *more]) == 3
        assert message in capsys.readouterr().err and not (tmp_path / "out" / "probe").exists()
    assert main([*command, "--executor", "inline"]) == 0
    capsys.readouterr()
    (cell,) = (tmp_path / "out" / "runs").glob("*/predictions.csv")
    whole = cell.read_text()
    head, *rows = [line.split(",") for line in whole.splitlines()]
    label, program = head.index("label"), head.index("program")
    rows = [[row[label] if column == program else value for column, value in enumerate(row)] for row in rows]
    cell.write_text("\n".join(",".join(row) for row in [head, *rows]) + "\n")  # All are right by now.
    assert main([*command, "--executor", "inline"]) == 3
    assert "its files are damaged; remove the folder" in capsys.readouterr().err
    cell.write_text(whole)
    for content in ("{}", '{"scores": [[1, 2]]}', '{"scores": "x"}', "[]"):
        (tmp_path / "out" / "probe" / "pass2.json").write_text(content)
        assert main([*command, "--executor", "inline"]) == 3
        assert "pass2.json: is damaged" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["audit", "compare", "one.json"], 2, "takes two reports"),
        (["audit", "linear:48", "other.json"], 2, "one argument too many"),
        (["audit", "linear:48", "--fail-above", "0.2@labels"], 3, "no rung 'labels'"),
        (["audit", "linear:48", "--baseline", "missing.json"], 3, "can't be read"),
        (["audit", "linear:48", "--battery", "quik"], 3, "no battery 'quik'"),
        (["audit"], 2, "HOST"),
        *(
            (["audit", "linear:48", f"--{name}"], 2, f"--{name} has no value")
            for name in ("fail-above", "format", "tasks", "budgets", "seeds", "rungs")
        ),
        *((["audit", "linear:48", "--patience", text], 3, "patience=") for text in ("nan", "inf", "0", "1e300")),
        *(
            (["audit", "compare", "one.json", "two.json", *more], 2, "takes OLD NEW and --json")
            for more in (
                ["--fail-above", "0@label"],
                ["--plan"],
                ["--out", "x"],
                ["--workers", "1"],
                ["--defence", "blur"],
            )
        ),
    ],
)
def test_usage(arguments, code, message, capsys):
    assert main(arguments) == code
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert message in line


def test_a_host_that_python_holds_is_of_its_process():
    with pytest.raises(HostUnavailableError, match="give it there again"):
        reprogram.load_host("given:nothing")
