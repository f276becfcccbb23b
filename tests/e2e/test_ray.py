"""A grid on a real Ray cluster on the loopback: a head and two workers, processes of their own, one killed mid-run."""

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from helpers_processes import Fork
from reprogram.runs.index import RunIndex

pytest.importorskip("ray", reason="needs ray: pip install 'reprogram[ray]'")
if sys.platform != "linux":
    pytest.skip("Ray's clusters are for Linux", allow_module_level=True)

GRID = """[grid]
host = "linear:40"
task = ["squares(train=2000, validation=50, test=50)"]
seed = [0, 1, 2]
epochs = 5
validations = 5
checkpoint_every = "0.5s"
baselines = []
"""


def wait_for(condition, alive=()):
    end = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < end, "it never came"
        assert all(process.poll() is None for process in alive), "ended too early"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def cluster():
    """Its address, the environment in which it is reached, and the processes of the two workers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address, temporary = f"127.0.0.1:{port}", tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True)
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
    }
    common = ("--block", "--node-ip-address=127.0.0.1", "--object-store-memory=100000000")
    nodes = []

    def node(*arguments):
        said = Path(temporary.name) / f"node{len(nodes)}.log"
        with said.open("wb") as log:
            nodes.append(
                subprocess.Popen(
                    [sys.executable, "-m", "ray.scripts.scripts", "start", *common, *arguments],
                    env=environment,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            )
        wait_for(lambda: "Ray runtime started" in said.read_text(), nodes)

    head = (f"--port={port}", "--num-cpus=0", "--include-dashboard=false", f"--temp-dir={temporary.name}")
    try:
        node("--head", *head)
        for _ in range(2):
            node(f"--address={address}", "--num-cpus=1")
        yield address, environment, nodes[1:]
    finally:
        for process in nodes:
            kill(process)
        temporary.cleanup()


def kill(node):
    """A whole node, as a power cut does."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(node.pid, signal.SIGKILL)
    node.wait()


def kill_one_at_work(out, nodes, sweep):
    """A node whose worker is in the middle of a cell. The worker is stopped first, so that it is there still."""
    stopped = []

    def stop():
        for lock in out.glob("*/lock"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError, IndexError):
                pid = int(lock.read_text().split()[0])
                os.kill(pid, signal.SIGSTOP)
                if lock.exists() and not (lock.parent / "result.json").exists():
                    stopped.append(pid)
                    return True
                os.kill(pid, signal.SIGCONT)
        return False

    wait_for(stop, [sweep])
    above = stopped[0]
    while above not in {node.pid for node in nodes}:
        above = int(Path(f"/proc/{above}/stat").read_text().rpartition(")")[2].split()[1])
    kill(next(node for node in nodes if node.pid == above))
    os.kill(stopped[0], signal.SIGKILL)


def sweep(grid, out, environment, *options, start=subprocess.Popen):
    return start(
        [sys.executable, "-m", "reprogram", "sweep", str(grid), "--out", str(out), "--workers", "2", *options],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_cell_is_finished_once_although_a_node_is_killed(cluster, tmp_path):
    address, environment, nodes = cluster
    (tmp_path / "grid.toml").write_text(GRID)
    out, ray = tmp_path / "ray", ("--executor", "ray", "--address", address)

    process = sweep(tmp_path / "grid.toml", out, environment, *ray)
    wait_for(lambda: list(out.glob("*/checkpoint.safetensors")), [process])
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in err, err
    assert list(out.glob("*/checkpoint.safetensors")) and not list(out.glob("*/lock"))
    before = {path.parent.name for path in out.glob("*/result.json")}

    process = sweep(tmp_path / "grid.toml", out, environment, *ray, "--json")
    kill_one_at_work(out, nodes, process)
    text, err = process.communicate(timeout=400)
    assert process.returncode == 0, err
    outcomes = json.loads(text)
    assert {o["name"] for o in outcomes if o["state"] == "already"} == before
    assert all(o["state"] == "finished" and o["attempts"] >= 1 for o in outcomes if o["name"] not in before)
    assert sum(o["attempts"] for o in outcomes) == len(outcomes) - len(before) + 1  # The killed worker's cell.
    assert "its worker is gone" in err and err.count(", test accuracy") == 3 - len(before)
    assert len(list(out.glob("*/result.json"))) == 3
    stored = RunIndex(out).runs()
    assert sorted(run["name"] for run in stored) == sorted(o["name"] for o in outcomes) and len(stored) == 3
    assert {run["state"] for run in stored} == {"finished"}
    assert not list(out.glob("*/checkpoint*")) and not list(out.glob("*/.*"))

    local = sweep(tmp_path / "grid.toml", tmp_path / "local", environment, start=Fork)
    assert local.communicate(timeout=300) and local.returncode == 0
    for folder in (path for path in out.iterdir() if path.is_dir()):
        same = tmp_path / "local" / folder.name / "program.safetensors"
        assert (folder / "program.safetensors").read_bytes() == same.read_bytes()
        rows = [json.loads(line)["step"] for line in (folder / "history.jsonl").read_text().splitlines()]
        assert rows == sorted(set(rows)) and len(rows) == 5


@pytest.mark.timeout(200)
def test_a_cluster_that_is_not_there(tmp_path):
    (tmp_path / "grid.toml").write_text(GRID)
    options = ("--executor", "ray", "--address", "127.0.0.1:1")
    process = sweep(tmp_path / "grid.toml", tmp_path / "out", {**os.environ}, *options, start=Fork)
    out, err = process.communicate(timeout=150)
    assert process.returncode == 3 and out == "", err
    assert err.count("\n") == 1 and err.startswith("reprogram: --address 127.0.0.1:1: no Ray cluster")
    assert not Path(tmp_path / "out").exists()
