"""Real audits that SIGKILL ends while their host answers, and that go on: the bill is the host's own count."""

import os
import random
import signal
import subprocess
import sys
from dataclasses import replace

import pytest

import reprogram
from reprogram.auditing.file import read_report
from reprogram.auditing.prepare import prepare
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
import os
import signal
from pathlib import Path

import torch
from torch import nn

torch.manual_seed(0)
NET = nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(3 * 5 * 5, 6)).requires_grad_(False)
HERE = Path(__file__).parent
ASKED = 0


def classify(pixels):
    global ASKED
    ASKED += len(pixels)
    with (HERE / "count").open("a") as file:
        file.write(f"{len(pixels)}\\n")
    if ASKED > int(os.environ.get("KILL_AFTER", 10**9)):
        os.kill(os.getpid(), signal.SIGKILL)
    return NET(pixels)
"""

AUDIT = """
import sys
from reprogram.evaluation.baselines import direct_training
direct_training.DIRECT_IMAGES, direct_training.DIRECT_PASSES = 32, 1
from reprogram.cli import main
sys.exit(main(sys.argv[1:]))
"""


def place_of(folder):
    folder.mkdir()
    (folder / "host.py").write_text(HOST)
    (folder / "battery.toml").write_text(BATTERY)
    return f"python:{folder / 'host.py'}:classify?size=20", folder / "battery.toml", folder / "count"


def total(count):
    return sum(map(int, count.read_text().split()))


def test_an_audit_that_is_killed_goes_on_and_its_bill_is_the_hosts_own_count(tmp_path, monkeypatch):
    monkeypatch.setattr(direct_training, "DIRECT_IMAGES", 32)
    monkeypatch.setattr(direct_training, "DIRECT_PASSES", 1)
    spec, battery, count = place_of(tmp_path / "whole")
    whole = reprogram.audit(spec, battery=str(battery), out=tmp_path / "whole/out", executor="inline")
    assert whole.bill.images == total(count) and whole.bill.lost == 0
    needed = prepare(spec, battery=str(battery), out=tmp_path / "whole/new").needed()
    assert total(count) - 7 <= needed + 7  # Both calls here loaded the host.

    spec, battery, count = place_of(tmp_path / "killed")
    out, limit = tmp_path / "killed/out", 3 * needed
    command = ["audit", spec, "--battery", str(battery), "--out", str(out), "--executor", "inline", "--quiet"]
    command = [sys.executable, "-c", AUDIT, *command, "--queries", str(limit)]
    moments = random.Random(0)
    # In a cell with gradients, and then there again or in the cell without; how far it is by then is the clock's doing.
    for least, most in ((125, 165), (100, 150)):
        environment = {**os.environ, "KILL_AFTER": str(moments.randint(least, most))}
        killed = subprocess.run(command, env=environment, capture_output=True, check=False)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    report = read_report(out)
    assert report.bill.images + report.bill.lost == total(count) <= limit
    assert report.bill.beside > whole.bill.beside
    # The names of cells hold the host's spec, and so the folder of its file.
    estimates, expected = ([replace(e, cells=()) for e in each.estimates] for each in (report, whole))
    assert (estimates, report.verdict) == (expected, whole.verdict)
    assert (report.grid.tasks, report.checksum) == (whole.grid.tasks, whole.checksum)


@pytest.mark.parametrize("given", [{"queries": 400}, {"cost": 0.5, "price": 1.25}])
def test_a_limit_that_is_too_small_is_refused_before_anything_is_asked(tmp_path, given):
    spec, battery, count = place_of(tmp_path / "refused")
    with pytest.raises(reprogram.BudgetError, match=r"more than 400; give more.*nothing was asked") as refused:
        reprogram.audit(spec, battery=str(battery), out=tmp_path / "out", executor="inline", **given)
    assert total(count) == 7 and not (tmp_path / "out").exists()  # A function is tried out when it is loaded.
    needed = prepare(spec, battery=str(battery), out=tmp_path / "out").needed()
    assert f"needs {needed:,} images at the most, {needed - 400:,} more" in str(refused.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [({"queries": 0}, "queries=0"), ({"cost": 1.0}, "give price"), ({"cost": -1.0, "price": 1.0}, "cost=-1")],
)
def test_a_limit_that_is_none_is_refused(tmp_path, given, message):
    spec, battery, _ = place_of(tmp_path / "none")
    with pytest.raises(reprogram.ReprogramError, match=message):
        prepare(spec, battery=str(battery), out=tmp_path / "out", **given)
