"""What only a process of its own shows: signals, pipes, exit codes, and another folder to work in."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from safetensors import safe_open

from helpers_processes import spawn
from reprogram.cli import main

FIT = ("fit", "--host", "linear:40", "--task", "squares(train=2000, validation=50, test=50)", "--epochs", "4")
FIT += ("--baselines", "none", "--quiet", "--threads", "1", "--validations", "20")


def start(*arguments, **kwargs):
    """`python -m reprogram`, as a shell starts it; `spawn` is the same without the seconds of the imports."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "reprogram", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        **kwargs,
    )


def finish(process, timeout=120):
    out, err = process.communicate(timeout=timeout)
    return process.returncode, out, err


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    code, _, err = finish(start(*FIT, "--out", folder))
    assert (code, err) == (0, "")
    return (folder / "program.safetensors").read_bytes(), json.loads((folder / "result.json").read_text())


@pytest.mark.sampled(3)
@pytest.mark.parametrize("number,code", [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)])
def test_an_interrupted_run_goes_on_to_the_same_bytes(uninterrupted, tmp_path, number, code):
    folder = tmp_path / "run"
    process = spawn(*FIT, "--out", folder)
    end = time.monotonic() + 100
    while not (folder / "checkpoint.safetensors").exists() and time.monotonic() < end:
        time.sleep(0.002)
    process.send_signal(number)
    got, out, err = finish(process)
    assert got == code, err
    assert out == "" and err.count("\n") == 1 and "Traceback" not in err
    left = {p.name for p in folder.iterdir()} - {"checkpoint.previous.safetensors", "history.jsonl", "asked.txt"}
    assert left == {"checkpoint.safetensors", "config.toml", "run.json"}
    with safe_open(folder / "checkpoint.safetensors", framework="np") as file:
        step = json.loads(file.metadata()["record"])["state"]["step"]
    assert 0 < step < 4 * 125

    got, _, err = finish(spawn(*FIT, "--out", folder))
    assert (got, err) == (0, "")
    program, whole = uninterrupted
    assert (folder / "program.safetensors").read_bytes() == program
    result = json.loads((folder / "result.json").read_text())
    for key in ("test", "validation", "images_seen", "selected_step", "baselines"):
        assert result[key] == whole[key]
    assert result["host_images"] >= whole["host_images"]
    assert not (folder / "checkpoint.safetensors").exists()


def test_nohup_outlives_its_terminal(uninterrupted, tmp_path):
    folder = tmp_path / "run"
    process = start(*FIT, "--out", folder, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    end = time.monotonic() + 100
    while not (folder / "checkpoint.safetensors").exists() and time.monotonic() < end:
        time.sleep(0.002)
    process.send_signal(signal.SIGHUP)
    assert finish(process)[0] == 0
    assert (folder / "program.safetensors").read_bytes() == uninterrupted[0]


def test_a_killed_run_goes_on_to_the_same_bytes(uninterrupted, tmp_path):
    """SIGKILL can't be caught: what was saved last is whole."""
    folder = tmp_path / "run"
    process = spawn(*FIT, "--out", folder)
    end = time.monotonic() + 100
    while not (folder / "checkpoint.safetensors").exists() and time.monotonic() < end:
        time.sleep(0.002)
    process.kill()
    assert finish(process)[0] == -signal.SIGKILL
    got, _, err = finish(spawn(*FIT, "--out", folder))
    assert (got, err) == (0, "")
    assert (folder / "program.safetensors").read_bytes() == uninterrupted[0]


def test_a_signal_before_the_first_step_ends_at_once(tmp_path):
    """While the host is being loaded."""
    folder = tmp_path / "run"
    process = spawn(*FIT, "--out", folder)
    end = time.monotonic() + 100
    while not folder.exists() and time.monotonic() < end:
        time.sleep(0.001)
    process.send_signal(signal.SIGINT)
    code, out, err = finish(process)
    assert code == 130 and out == "" and err.count("\n") == 1
    assert not (folder / "result.json").exists()


def test_a_closed_pipe_is_no_traceback():
    process = start("list", "hosts", "*")
    process.stdout.readline()
    process.stdout.close()
    with process.stderr:
        assert "Traceback" not in process.stderr.read()
    assert process.wait(timeout=60) in (141, -signal.SIGPIPE)


@pytest.mark.parametrize(
    "arguments,code", [("--version", 0), ("nonsense", 2), ("inspect missing.safetensors", 4), ("report .", 3)]
)
def test_exit_codes_reach_the_shell(tmp_path, arguments, code):
    got, out, err = finish(start(*arguments.split(), cwd=tmp_path))
    assert got == code
    assert (out + err).count("\n") == 1 and "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_the_console_script_is_installed():
    from importlib.metadata import entry_points

    (script,) = entry_points(group="console_scripts", name="reprogram")
    from reprogram.cli import main

    assert script.load() is main


@pytest.mark.parametrize(("verb", "goes_on"), [("fit", True), ("predict", True), ("export", False), ("serve", False)])
def test_only_verbs_that_go_on_say_so(monkeypatch, capsys, verb, goes_on):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("reprogram.cli.app", interrupted)
    assert main(["--json", verb, "x"]) == 130
    assert ("goes on" in capsys.readouterr().err) is goes_on
