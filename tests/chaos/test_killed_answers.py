"""A few killed runs on a host that only answers; python tests/chaos/answering.py --kills 200 does more."""

import json
import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).with_name("answering.py")


def test_killed_runs_end_with_the_same_program_and_the_hosts_own_count():
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--kills", "3", "--threads", "2"],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["kills"] >= 3 and not found["wrong"]
