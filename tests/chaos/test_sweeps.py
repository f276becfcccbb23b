"""A grid whose workers are killed at intervals comes to the same bytes."""

import sys
import time

import pytest
import sweeps


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("forks")
@pytest.mark.skipif(sys.platform != "linux", reason="finds the workers in /proc")
def test_killed_workers_spoil_nothing(tmp_path):
    done, exact, corrupt = sweeps.chaos(2, int(time.time()) % 1000, 1, tmp_path, pauses=(0.3, 1.5))
    assert done >= 2 and exact >= 8 and corrupt == 0
