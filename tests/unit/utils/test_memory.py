"""What a process of many runs keeps, and gives back between them."""

import platform
import subprocess
import sys

import pytest

MANY_SIZES = """
import gc, sys
from reprogram.utils.process import free_memory, start_torch
start_torch(1)
import torch

def resident():
    line = next(line for line in open("/proc/self/status") if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024

torch.ones(10) + torch.ones(10)
before, left = resident(), []
for size in range(1, 80):  # Blocks of many sizes, with something small behind each that stays.
    blocks = [torch.ones(size * 10_000) for _ in range(10)]
    left.append(torch.ones(100))
    more = torch.ones(size * 5_000)
    del blocks, more
grown = resident() - before
free_memory()
print(grown, resident() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc alone is told to keep memory")
def test_a_worker_gives_back_what_a_cell_took():
    done = subprocess.run([sys.executable, "-c", MANY_SIZES], capture_output=True, text=True, check=True)
    grown, kept = map(float, done.stdout.split())
    assert grown > 15 and kept < grown / 4, (grown, kept)
