"""Whole runs on a service: the bill is the server's own count, kills change nothing, and no credential is written."""

import json
import os
import signal
import subprocess
import sys
import threading

import pytest

pytest.importorskip("httpx2", reason="needs the extra remote")

from helpers_server import ModelServer, settled
from reprogram.cli import main

SECRET = "s3cr3t-of-the-run"  # noqa: S105
WORDS = [f"word {i}" for i in range(14)]
TASK = "squares(train=48, validation=20, test=20)"
FAULTS = ("500", "429", "truncated", "reset")


def arguments(server, out, **more):
    options = {
        "host": f"google-vision:{server.url}?size=48&num_classes=16&timeout=5&batch=4",
        "task": TASK,
        "program": "tiles(side=2)",
        "label-map": "bayesian(top_fraction=0.5, images=32)",
        "learner": "spsa",
        "batch-size": 16,
        "queries": 400,
        "checkpoint-every": 1,
        "baselines": "map-alone",
        "out": out,
        **more,
    }
    return ["fit", "--quiet", *(str(part) for name, value in options.items() for part in (f"--{name}", value))]


def bill_of(folder):
    return json.loads((folder / "result.json").read_text())["bill"]


def test_a_run_under_faults_pays_what_the_server_counts(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("GOOGLE_API_KEY", SECRET)
    with ModelServer(WORDS, rate=0.3, faults=FAULTS, top=3, echo=True) as server:
        assert main(arguments(server, tmp_path / "run", price=1.5)) == 0
        settled(server)
        bill = bill_of(tmp_path / "run")
        assert (bill["requests"], bill["images"], bill["lost"]) == (server.requests, server.answered, server.lost)
        assert 3 < bill["retries"] <= server.by_fault.total(), "the budget may end before the last one is asked again"
        assert bill["cost"] == pytest.approx(1.5 * (server.answered + server.lost) / 1000)
        assert all(headers["x-goog-api-key"] == SECRET for _, headers, _ in server.seen)
        program = tmp_path / "run" / "program.safetensors"
        again = ["evaluate", str(program), "--task", TASK, "--host", arguments(server, "x")[3], "--json"]
        assert main(again) == 0
    out, err = capfd.readouterr()
    assert SECRET not in out + err
    for file in (path for path in tmp_path.rglob("*") if path.is_file()):
        assert SECRET.encode() not in file.read_bytes(), file


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_bytes(tmp_path):
    """With several requests at once and labels that are found on the way; killed three times.

    The number of training images ends both runs: lost images count in a budget of queries, and may cost its last step.
    """
    until = {"queries": 800, "images": 112}
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with ModelServer(WORDS, top=3) as server:
        assert main(arguments(server, tmp_path / "whole", **until)) == 0
        whole, before = bill_of(tmp_path / "whole"), server.requests
        wanted = [before + 5, before + 31, before + 60]
        reached, count = threading.Event(), server.count

        def counting(**counts):
            count(**counts)
            if wanted and server.requests >= wanted[0]:
                reached.set()

        server.count = counting
        command = [sys.executable, "-m", "reprogram", *arguments(server, tmp_path / "killed", **until)]
        kills = 0
        while True:
            reached.clear()
            process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
            while process.poll() is None and not reached.wait(0.05):
                pass
            if process.poll() is not None:
                break
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
            wanted.pop(0)
        assert process.returncode == 0 and kills >= 2
        settled(server)
        killed = bill_of(tmp_path / "killed")
        # A kill may catch four requests between note and answer; one that timed out may never have been read there.
        under_way = 4 * kills + killed["retries"]
        sent = server.requests - before
        assert sent <= killed["requests"] <= sent + under_way
        assert killed["images"] == whole["images"] and killed["lost"] <= 4 * under_way
    programs = [(tmp_path / run / "program.safetensors").read_bytes() for run in ("whole", "killed")]
    assert programs[0] == programs[1]
