"""A worker whose parent is gone ends, even where the exception that ends it is lost on its way."""

import subprocess
import sys

import pytest

from helpers_processes import Fork

LOSES = """
import sys, time
from reprogram.sweep.executors import local

class Held:
    def __del__(self):
        time.sleep(0.3)  # Python prints and forgets what a finalizer raises, the exception of a signal's handler too.

def attempt(*arguments):
    while True:
        Held()

local.attempt, local.config_from = attempt, lambda values: values
local.serve(1, sys.argv[1])
"""


@pytest.mark.slow
def test_a_worker_ends_where_the_exception_is_lost(tmp_path):
    worker = Fork(
        [sys.executable, "-c", LOSES, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    worker.stdin.write("{}\n")
    worker.stdin.flush()
    assert '"ready"' in worker.stdout.readline()
    worker.stdin.close()  # As when the parent is killed.
    assert worker.wait(timeout=60) == 143
    worker.stdout.close()
