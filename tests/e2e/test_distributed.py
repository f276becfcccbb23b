"""Several processes learn one program: torchrun with gloo on this machine."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import matplotlib.figure  # noqa: F401  Forks find it imported.
import pytest
import timm  # noqa: F401
from safetensors.torch import load_file, save_file

import reprogram
from helpers import random_task, tiny_model
from reprogram import cli
from reprogram.runs import execute  # noqa: F401
from reprogram.utils.forks import can_fork

OPTIONS = ("--host", "linear:40", "--task", "squares(train=400, validation=50, test=50)", "--epochs", "4")
OPTIONS += ("--baselines", "none", "--threads", "1", "--validations", "5", "--json")


def launch(processes, *arguments):
    launcher = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes))
    return subprocess.Popen(
        [*launcher, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def together(folder, processes, work):
    """Work in forks of this process, which has imported all that takes long, as torchrun would start them.

    Returns:
        Their exit codes, and what they print together.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    said, children = folder.with_suffix(".said"), []
    for rank in range(processes):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(processes)}
                os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
                for stream, suffix in ((1, ".said"), (2, f".{rank}.stderr")):
                    os.dup2(os.open(folder.with_suffix(suffix), os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
                sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
                code = work() or 0
            finally:
                sys.stdout.flush()
                os._exit(code)
        children.append(pid)
    return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children], said.read_text()


def learn_together(folder, processes, *arguments):
    """`reprogram fit` that way; what it prints."""
    fit = ["fit", *map(str, arguments), "--out", str(folder)]
    codes, said = together(folder, processes, lambda: cli.main(fit))
    assert not any(codes), [folder.with_suffix(f".{rank}.stderr").read_text() for rank in range(processes)]
    return said


def difference(a, b):
    return float((a.double() - b.double()).norm() / a.double().norm())


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_two_processes_learn_what_one_learns(tmp_path):
    programs = {}
    for processes in (1, 2, 3):
        result = json.loads(learn_together(tmp_path / str(processes), processes, *OPTIONS))  # One process speaks.
        assert result["images_seen"] == 1600
        programs[processes] = load_file(tmp_path / str(processes) / "program.safetensors")["program.weight"]
    assert difference(programs[1], programs[2]) < 1e-6
    assert difference(programs[1], programs[3]) < 1e-6


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_with_the_same_parts_any_number_of_processes_comes_to_the_same_bits(tmp_path):
    """Also where a host makes much of a rounding error: a network with ReLUs, in float32."""
    options = [*OPTIONS, "--augmentation", "shift(pixels=1)"]
    options[options.index("linear:40")] = "timm:test_resnet(pretrained=False, num_classes=16, size=48)"
    options[options.index("4")], options[3] = "2", "squares(train=160, validation=50, test=50)"
    programs = {}
    for processes in (1, 2, 3):
        folder = tmp_path / str(processes)
        learn_together(folder, processes, *options, "--parts", 4)
        programs[processes] = (folder / "program.safetensors").read_bytes()
    assert len(set(programs.values())) == 1


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_the_leading_process_measures_all_baselines(tmp_path):
    """The untrained host's program is learned when the others are done."""
    options = list(OPTIONS)
    options[options.index("linear:40")] = "timm:test_resnet(pretrained=False, num_classes=16, size=48)"
    options[options.index("4")], options[options.index("none")] = "0.2", "untrained"
    results = {}
    for processes in (1, 2):
        out = learn_together(tmp_path / str(processes), processes, *options)
        results[processes] = json.loads(out)["baselines"]["untrained"]
    assert results[1]["images_seen"] == results[2]["images_seen"] == 80
    assert results[1]["accuracy"] == results[2]["accuracy"]


def learn_with_a_map(checkpoint, stopped):
    """A tiny model whose map follows the host, in float64; all processes are interrupted together if wanted."""
    task = random_task(n=(121, 31, 16))
    model = tiny_model(task, label_map="bayesian(top_fraction=0.5)").double()

    def observe(report):
        if stopped and report.images >= 480:
            os.kill(os.getpid(), signal.SIGINT)

    try:
        reprogram.fit(model, task, epochs=10, batch_size=12, validations=5, checkpoint=checkpoint, on_progress=observe)
    finally:
        if os.environ["RANK"] == "0":
            save_file(model.learned_state(), checkpoint.with_suffix(".learned"))


@pytest.mark.slow
def test_resumed_with_another_number_of_processes(tmp_path):
    """In float64: the sample order is the same, whoever computes it."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert together(whole, 1, lambda: learn_with_a_map(whole, stopped=False))[0] == [0]
    assert together(parts, 2, lambda: learn_with_a_map(parts, stopped=True))[0] == [1, 1]
    assert parts.exists()
    assert together(parts, 3, lambda: learn_with_a_map(parts, stopped=False))[0] == [0, 0, 0]
    one, other = (load_file(path.with_suffix(".learned")) for path in (whole, parts))
    assert difference(one["program.weight"], other["program.weight"]) < 1e-12
    assert difference(one["label_map.matrix"], other["label_map.matrix"]) < 1e-12  # Fitted to all processes' answers.


@pytest.mark.slow
def test_a_killed_process_ends_the_job_with_something_to_go_on_with(tmp_path):
    folder = tmp_path / "run"
    arguments = ["-m", "reprogram", "fit", *OPTIONS, "--out", folder, "--seed", "3"]
    arguments[arguments.index("4")] = "400"
    arguments += ["--checkpoint-every", "20"]
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


@pytest.mark.slow
@pytest.mark.sampled(2)
@pytest.mark.skipif(not can_fork(), reason="forks can't compute gradients here")
@pytest.mark.parametrize("who", ["fork", "main"])
def test_threads_are_processes_and_a_killed_one_costs_nothing(tmp_path, who):
    """One process is killed at a moment in the middle; the same command goes on, to the bytes of a whole run."""
    options = [*OPTIONS, "--checkpoint-every", "5"]
    options[options.index("--threads") + 1], options[options.index("--epochs") + 1] = "2", "10"
    command = [sys.executable, "-m", "reprogram", "fit", *options, "--out"]
    subprocess.run([*command, tmp_path / "whole"], check=True, capture_output=True)
    job = subprocess.Popen([*command, tmp_path / "run"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    children, end = Path(f"/proc/{job.pid}/task/{job.pid}/children"), time.monotonic() + 100
    while not (tmp_path / "run" / "checkpoint.safetensors").exists() or not children.read_text():
        assert job.poll() is None and time.monotonic() < end
        time.sleep(0.01)
    (fork,) = map(int, children.read_text().split())
    os.kill(job.pid if who == "main" else fork, signal.SIGKILL)
    _, err = job.communicate(timeout=60)
    if who == "main":
        assert job.returncode == -signal.SIGKILL
    else:
        assert job.returncode == 3 and "start the same command again to go on" in err
    while Path(f"/proc/{fork}").exists() and "Z" not in Path(f"/proc/{fork}/stat").read_text().split()[2]:
        assert time.monotonic() < end
        time.sleep(0.01)
    subprocess.run([*command, tmp_path / "run"], check=True, capture_output=True)
    whole, again = ((tmp_path / name / "program.safetensors").read_bytes() for name in ("whole", "run"))
    assert whole == again
    billed = [json.loads((tmp_path / name / "result.json").read_text())["host_images"] for name in ("whole", "run")]
    assert abs(billed[0] - billed[1]) <= (0 if who == "main" else 16)  # The fork's share of its last step is unknown.
