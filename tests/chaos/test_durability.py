"""What a run keeps when it is killed, when the disk is full, and when two want the same folder."""

import contextlib
import errno
import functools
import io
import json
import os
import resource
import signal
import subprocess
import sys
import time

import kills
import long_run
import pytest
import torch

from reprogram import cli
from reprogram.errors import ConfigError, DataError
from reprogram.runs.config import RunConfig
from reprogram.runs.execute import execute
from reprogram.runs.index import RunIndex
from reprogram.training.checkpoint import Checkpoint, Interval
from reprogram.utils.lock import locked

CALLS = ("open", "write", "fsync", "close", "rename", "replace")


def wait_for(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.002)


def state(number):
    generator = torch.Generator().manual_seed(number)
    return {"w": torch.rand(999, generator=generator)}, {"number": number}


def killed_at(path, moment, after):
    """A child saves state 2 over state 1 and dies at its n-th system call; whether it came so far."""
    child = os.fork()
    if child == 0:
        count = [0]

        def deadly(inner):
            def call(*arguments, **options):
                count[0] += 1
                if count[0] == moment and not after:
                    os.kill(os.getpid(), signal.SIGKILL)
                if count[0] == moment and inner is originals["write"]:
                    inner(arguments[0], arguments[1][: len(arguments[1]) // 2])  # A torn one.
                    os.kill(os.getpid(), signal.SIGKILL)
                result = inner(*arguments, **options)
                if count[0] == moment:
                    os.kill(os.getpid(), signal.SIGKILL)
                return result

            return call

        originals = {name: getattr(os, name) for name in CALLS}
        checkpoint = Checkpoint(path)
        checkpoint.load()
        for name, inner in originals.items():
            setattr(os, name, deadly(inner))
        checkpoint.save(*state(2))
        os._exit(0)
    return os.waitpid(child, 0)[1] == signal.SIGKILL


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("generations", [1, 2])
def test_a_fault_at_each_system_call_of_the_writer_leaves_the_old_or_the_new_state(tmp_path, after, generations):
    moment, seen = 1, []
    while True:
        folder = tmp_path / str(moment)
        folder.mkdir()
        first = Checkpoint(folder / "c.safetensors")
        for _ in range(generations):
            first.save(*state(1))
        died = killed_at(first.path, moment, after)
        tensors, record = Checkpoint(first.path).load()
        expected, _ = state(record["number"])
        assert torch.equal(tensors["w"], expected["w"])
        seen.append(record["number"])
        if not died:
            break
        moment += 1
    assert len(seen) >= 8 and seen == sorted(seen) and set(seen) == {1, 2}


def test_the_old_file_goes_only_when_the_new_one_is_on_the_disk(tmp_path, monkeypatch):
    """A power cut keeps what was synced: the new file before the first rename, the folder after the last."""
    checkpoint, calls = Checkpoint(tmp_path / "c.safetensors"), []
    checkpoint.save(*state(1))
    for name in ("write", "fsync", "rename", "replace"):
        inner = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, name=name, inner=inner: (calls.append(name), inner(*a))[1])
    checkpoint.save(*state(2))
    monkeypatch.undo()
    order = [name.replace("rename", "replace") for name in calls]
    distinct = [n for i, n in enumerate(order) if n != "write" or order[i - 1] != "write"]
    assert distinct == ["write", "fsync", "replace", "replace", "fsync"]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("undrawn")
def test_killed_runs_come_to_the_same_bytes(tmp_path):
    assert kills.chaos(6, int(time.time()) % 1000, tmp_path)[1] == 0


@pytest.mark.usefixtures("forks")
def test_a_full_disk_keeps_the_former_state(tmp_path):
    """RLIMIT_FSIZE: each write beyond the limit fails, as on a full disk; at every size that cuts one of the files."""
    folder = tmp_path / "run"
    process = kills.start(folder, {"--checkpoint-every": "5"})
    wait_for(lambda: (folder / "checkpoint.previous.safetensors").exists())
    process.send_signal(signal.SIGTERM)
    process.communicate()
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    size = len(before["checkpoint.safetensors"])
    for limit in (1, 4096, size // 2):
        limited = subprocess.run(
            kills.command(folder, {"--checkpoint-every": "5"}),
            preexec_fn=lambda limit=limit: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
            capture_output=True,
            text=True,
            timeout=120,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"},
        )
        assert limited.returncode == 3, limited.stderr
        *warned, _ = limited.stderr.splitlines()  # The index of runs can't be written either.
        assert all(line.startswith("reprogram: warning: ") for line in warned) and "Traceback" not in limited.stderr
        now = {path.name: path.read_bytes() for path in folder.iterdir()}
        assert set(now) == set(before)
        for name in ("checkpoint.safetensors", "config.toml"):
            assert now[name] == before[name]
    assert kills.finish(kills.start(folder)) == ""


CONFIG = {"host": "linear:40", "task": "squares(train=20, validation=10, test=10)", "epochs": 1.0, "batch_size": 10}
CONFIG |= {"validations": 2, "baselines": (), "checkpoint_every": "1"}


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("disk", ["full once", "full from then on"])
def test_a_full_disk_at_any_call_leaves_what_can_be_gone_on_with(tmp_path, monkeypatch, disk):
    """Each call that makes, writes, syncs or renames a file, in turn: no temporary file, and the same bytes later."""
    execute(RunConfig(**CONFIG, out=str(tmp_path / "whole")))
    expected, moment = (tmp_path / "whole" / "program.safetensors").read_bytes(), 1
    while True:
        folder, calls = tmp_path / str(moment) / "run", []

        def full(*arguments, inner, calls=calls, moment=moment, opened=os.open):
            if inner is not opened or arguments[1] & os.O_CREAT:  # Reading needs no space.
                calls.append(inner)
                if len(calls) == moment or (len(calls) > moment and disk != "full once"):
                    raise OSError(errno.ENOSPC, "No space left on device")
            return inner(*arguments)

        with monkeypatch.context() as patch:
            for name in (*CALLS, "mkdir"):
                if name != "close":
                    patch.setattr(os, name, functools.partial(full, inner=getattr(os, name)))
            try:
                execute(RunConfig(**CONFIG, out=str(folder)))
            except DataError:
                states = [record["state"] for record in RunIndex(folder.parent).runs()] if folder.exists() else []
                assert states in ([], ["interrupted"])
        if folder.exists():
            assert not [path.name for path in folder.iterdir() if path.name.startswith((".", "lock"))]
        if len(calls) < moment:
            break
        execute(RunConfig(**CONFIG, out=str(folder)))
        assert (folder / "program.safetensors").read_bytes() == expected
        moment += 7
    assert moment > 50


@pytest.mark.usefixtures("forks")
def test_two_processes_in_one_folder(tmp_path):
    """The second is refused at once and names the first; when that is killed, its lock is gone with it."""
    folder = tmp_path / "run"
    first = kills.start(folder, {"--epochs": "60"})
    wait_for(lambda: (folder / "checkpoint.safetensors").exists())
    second = kills.start(folder, {"--epochs": "60"})
    complaint = kills.finish(second)
    assert second.returncode == 3 and f"process {first.pid} " in complaint and complaint.count("\n") == 0
    assert first.poll() is None
    first.kill()
    first.communicate()
    assert (folder / "lock").exists()
    third = kills.start(folder, {"--epochs": "60"})
    wait_for(lambda: (folder / "lock").exists() and f"{third.pid} " in (folder / "lock").read_text())
    third.send_signal(signal.SIGINT)
    third.communicate()
    assert third.returncode == 130 and not (folder / "lock").exists()


def test_the_second_process_is_refused_before_torch_is_imported(tmp_path):
    code = "import sys; from reprogram.cli import main; main(sys.argv[1:]); assert 'torch' not in sys.modules"
    with locked(tmp_path / "lock"):
        second = subprocess.run(
            [sys.executable, "-c", code, "fit", "--out", tmp_path], capture_output=True, text=True, timeout=60
        )
    assert second.returncode == 0 and f"process {os.getpid()} on " in second.stderr


@pytest.mark.usefixtures("resident_memory")
def test_memory_and_open_files_stay_flat(tmp_path):
    """`python tests/chaos/long_run.py` does the same with a million steps."""
    rows = long_run.measure(20_000, tmp_path)
    first, last = rows[1], rows[-1]
    assert last[0] == 20_000 and last[1] <= 1.01 * first[1] and last[2] == first[2]


@pytest.mark.alone
@pytest.mark.usefixtures("forks")
@pytest.mark.parametrize("number,code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_in_a_long_step_is_answered(tmp_path, number, code):
    """A host with one operation of many seconds: what was saved before it is there."""
    script = (
        "import sys, time, torch, reprogram\n"
        "from helpers import random_task, tiny_model\n"
        "task, calls = random_task(), []\n"
        "weight = torch.randn(768, 6) / 10\n"
        "def classify(x):\n"
        "    calls.append(1)\n"
        "    if len(calls) == 11:\n"
        "        print('stalled', flush=True)\n"
        "        torch.linalg.matrix_power(torch.randn(4000, 4000), 2**62 - 1)\n"  # One operation, of minutes.
        "    return x.flatten(1) @ weight\n"
        "model = reprogram.Reprogrammed.build(reprogram.Host.wrap(classify, size=16), task)\n"
        "reprogram.fit(model, task, epochs=9, batch_size=8, checkpoint=sys.argv[1], checkpoint_every=1)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "c.safetensors")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"stalled\n"
    time.sleep(0.3)
    begun = time.monotonic()
    process.send_signal(number)
    assert process.wait(timeout=60) == code
    process.stdout.close()
    assert time.monotonic() - begun < 15
    assert Checkpoint(tmp_path / "c.safetensors").load()[1]["state"]["step"] >= 3


def called(arguments):
    """Exit code, stdout and stderr of the command line, in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.main(arguments)
    return code, out.getvalue(), err.getvalue()


@pytest.mark.usefixtures("forks", "undrawn")
def test_resuming_with_something_else_is_refused(tmp_path):
    folder = tmp_path / "run"
    process = kills.start(folder)
    wait_for(lambda: (folder / "checkpoint.safetensors").exists())
    process.kill()
    process.communicate()
    before = (folder / "checkpoint.safetensors").read_bytes()
    for flag, value in {
        "--host": "linear:41",
        "--task": "squares(train=1000, validation=50, test=50)",
        "--seed": "1",
        "--learner": "gradient(learning_rate=0.1)",
        "--batch-size": "8",
        "--engine": "dense",
        "--epochs": "7",
        "--loss": "host",
        "--canvas": "resize",
        "--program": "full",
        "--label-map": "random",
        "--validations": "7",
        "--seconds": "9",
    }.items():
        code, _, complaint = called(kills.arguments(folder, {flag: value}))
        assert code == 3 and f"{flag[2:].replace('-', '_')}=" in complaint, complaint
    assert (folder / "checkpoint.safetensors").read_bytes() == before
    code, resumed, said = called(["fit", "--resume", str(folder), "--json"])
    assert code == 0 and "going on with the interrupted run" in said
    code, again, said = called(["fit", "--resume", str(folder), "--json"])
    assert code == 0 and "finished already" in said and json.loads(again) == json.loads(resumed)
    rows = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == sorted({row["step"] for row in rows}) and len(rows) == 20


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5", "s", "0s", "infs", "nans", "30 minutes"])
def test_intervals_that_are_none_are_refused(text):
    with pytest.raises(ConfigError):
        Interval.parse(text)
