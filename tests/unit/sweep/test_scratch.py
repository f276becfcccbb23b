"""The temporary folder of a sweep: it goes with the sweep, and what a killed sweep left goes with the next one."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from reprogram.sweep.scratch import LOCK, PREFIX, ScratchFolder, remove_abandoned
from reprogram.utils import lock

LONG_AGO = 1e9

needs_flock = pytest.mark.skipif(lock.flock is None, reason="this system has no flock")


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def aged(folder: Path) -> Path:
    os.utime(folder, (LONG_AGO, LONG_AGO))
    return folder


def test_it_goes_with_the_sweep(temporary):
    scratch = ScratchFolder()
    (scratch.path / "tasks").mkdir()
    assert scratch.path.parent == temporary and lock.owner(scratch.path / LOCK) is not None
    scratch.cleanup()
    assert not list(temporary.iterdir())


@needs_flock
def test_what_a_killed_sweep_left_goes_with_the_next(temporary):
    code = f"""if True:
        import tempfile; tempfile.tempdir = {str(temporary)!r}
        from reprogram.sweep.scratch import ScratchFolder
        folder = ScratchFolder(); (folder.path / "array.npy").write_bytes(bytes(1000))
        print(folder.path, flush=True); input()"""
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    left = Path(process.stdout.readline().strip())
    aged(left)
    remove_abandoned(temporary)
    assert (left / "array.npy").exists(), "its sweep is there"
    process.kill()
    process.communicate()
    os.utime(left)
    remove_abandoned(temporary)
    assert left.exists(), "it is too young: its sweep may be about to take the lock"
    aged(left)
    mine = ScratchFolder()
    assert not left.exists() and list(temporary.iterdir()) == [mine.path]
    mine.cleanup()


@needs_flock
def test_folders_of_others_stay(temporary):
    for name, locked in ((f"{PREFIX}older", False), ("elsewhere", True)):  # Earlier versions left no lock.
        (temporary / name).mkdir()
        if locked:
            (temporary / name / LOCK).touch()
        aged(temporary / name)
    (temporary / f"{PREFIX}link").symlink_to(temporary / "elsewhere")
    remove_abandoned(temporary)
    assert sorted(path.name for path in temporary.iterdir()) == ["elsewhere", f"{PREFIX}link", f"{PREFIX}older"]
