"""Several processes learn one program: torchrun with gloo on this machine."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

OPTIONS = ("--host", "linear:40", "--task", "squares(train=400, validation=50, test=50)", "--epochs", "4")
OPTIONS += ("--baselines", "none", "--threads", "1", "--validations", "5", "--json")


def launch(processes, *arguments):
    launcher = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes))
    return subprocess.Popen(
        [*launcher, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[1])},
    )


def difference(a, b):
    return float((a.double() - b.double()).norm() / a.double().norm())


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(tmp_path):
    programs = {}
    for processes in (1, 2, 3):
        process = launch(processes, "-m", "reprogram", "fit", *OPTIONS, "--out", tmp_path / str(processes))
        out, err = process.communicate(timeout=200)
        assert process.returncode == 0, err
        result = json.loads(out)  # One process speaks.
        assert result["images_seen"] == 1600
        programs[processes] = load_file(tmp_path / str(processes) / "program.safetensors")["program.weight"]
    assert difference(programs[1], programs[2]) < 1e-6
    assert difference(programs[1], programs[3]) < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize(("parts", "numbers"), [((), (1, 2)), (("--parts", 4), (1, 2, 3))], ids=["usual", "four"])
def test_with_the_same_parts_any_number_of_processes_comes_to_the_same_bits(tmp_path, parts, numbers):
    """Also where a host makes much of a rounding error: a network with ReLUs, in float32."""
    options = [*OPTIONS, "--augmentation", "shift(pixels=1)"]
    options[options.index("linear:40")] = "timm:test_resnet(pretrained=False, num_classes=16, size=48)"
    options[options.index("4")] = "2"
    programs = {}
    for processes in numbers:
        folder = tmp_path / str(processes)
        process = launch(processes, "-m", "reprogram", "fit", *options, *parts, "--out", folder)
        _, err = process.communicate(timeout=200)
        assert process.returncode == 0, err
        programs[processes] = (folder / "program.safetensors").read_bytes()
    assert len(programs) > 1 and len(set(programs.values())) == 1


@pytest.mark.slow
def test_the_leading_process_measures_all_baselines(tmp_path):
    """The untrained host's program is learned when the others are done."""
    options = list(OPTIONS)
    options[options.index("linear:40")] = "timm:test_resnet(pretrained=False, num_classes=16, size=48)"
    options[options.index("4")], options[options.index("none")] = "0.2", "untrained"
    results = {}
    for processes in (1, 2):
        process = launch(processes, "-m", "reprogram", "fit", *options, "--out", tmp_path / str(processes))
        out, err = process.communicate(timeout=200)
        assert process.returncode == 0, err
        results[processes] = json.loads(out)["baselines"]["untrained"]
    assert results[1]["images_seen"] == results[2]["images_seen"] == 80
    assert results[1]["accuracy"] == results[2]["accuracy"]


SCRIPT = """
import os, sys, torch, reprogram
from helpers import random_task, tiny_model
task = random_task(n=(121, 31, 16))
model = tiny_model(task, label_map="bayesian(top_fraction=0.5)").double()

def observe(report):
    if "stop" in sys.argv and report.images >= 480:
        os.kill(os.getpid(), 2)

try:
    reprogram.fit(model, task, epochs=10, batch_size=12, validations=5, checkpoint=sys.argv[1], observe=observe)
finally:
    if os.environ.get("RANK", "0") == "0":
        torch.save(model.learned_state(), sys.argv[1] + ".pt")
"""


@pytest.mark.slow
def test_resumed_with_another_number_of_processes(tmp_path):
    """In float64: the sample order is the same, whoever computes it."""
    (tmp_path / "run.py").write_text(SCRIPT)
    whole = launch(1, tmp_path / "run.py", tmp_path / "whole")
    assert whole.communicate(timeout=120) and whole.returncode == 0
    launch(2, tmp_path / "run.py", tmp_path / "parts", "stop").communicate(timeout=120)
    assert (tmp_path / "parts").exists()
    rest = launch(3, tmp_path / "run.py", tmp_path / "parts")
    assert rest.communicate(timeout=120) and rest.returncode == 0
    one, other = (torch.load(tmp_path / f"{name}.pt") for name in ("whole", "parts"))
    assert difference(one["program.weight"], other["program.weight"]) < 1e-12
    assert difference(one["label_map.matrix"], other["label_map.matrix"]) < 1e-12  # Fitted to all processes' answers.


@pytest.mark.slow
def test_a_killed_process_ends_the_job_with_something_to_go_on_with(tmp_path):
    folder = tmp_path / "run"
    arguments = ["-m", "reprogram", "fit", *OPTIONS, "--out", folder, "--seed", "3"]
    arguments[arguments.index("4")] = "400"
    job = launch(2, *arguments)
    end = time.monotonic() + 100
    while not (folder / "checkpoint.safetensors").exists():
        assert job.poll() is None and time.monotonic() < end
        time.sleep(0.01)
    leader = int((folder / "lock").read_text().split()[0])
    children = Path(f"/proc/{job.pid}/task/{job.pid}/children").read_text().split()
    (other,) = [int(child) for child in children if int(child) != leader]
    begun = time.monotonic()
    os.kill(other, signal.SIGKILL)
    _, err = job.communicate(timeout=60)
    assert job.returncode != 0 and time.monotonic() - begun < 30
    assert "reprogram: " in err and "go" in err
    assert (folder / "checkpoint.safetensors").exists() and not list(folder.glob(".*.tmp"))
