"""A stranger's run folder, whose files are pipes, devices, endless or deep: one line, at once."""

import os
import shutil

import pytest

from helpers_runs import cli
from reprogram.utils.files import read_json, read_ordinary

FILES = ("result.json", "examples.json", "config.toml")
TRAPS = ("pipe", "device", "endless", "deep", "folder", "loop", "bytes")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "digits"
    code, _, err = cli("fit", "--host", "linear(size=16, num_classes=12)", "--task", "digits", "--images", "32",
                       "--baselines", "none", "--test-images", "20", "--out", folder, "--quiet")  # fmt: skip
    assert code == 0, err
    return folder


def set_trap(path, kind):
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "endless":
        with path.open("wb") as file:
            file.truncate(2**34)
    elif kind == "deep":
        path.write_text("[" * 200_000)
    elif kind == "folder":
        path.mkdir()
    elif kind == "loop":
        path.symlink_to(path.name)
    else:
        path.write_bytes(b"\xff\xfe{")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
@pytest.mark.parametrize("kind", TRAPS)
@pytest.mark.parametrize("name", FILES)
def test_every_verb_says_it_in_one_line(run, tmp_path, name, kind):
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    set_trap(folder / name, kind)
    for arguments in (
        ("report", folder),
        ("report", folder, run, "--out", tmp_path / "page.html"),
        ("runs", "show", folder),
        ("push", folder, "me/digits", "--dry-run"),
        ("fit", "--resume", folder, "--quiet"),
    ):
        code, _, err = cli(*arguments)
        lines = [line for line in err.splitlines() if not line.startswith(("would send", "  "))]
        assert code in (0, 3), err
        assert len(lines) == (code == 3) or (arguments[0] == "fit" and code == 0), err


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_what_is_no_ordinary_file_is_not_read(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"[1]")
    (tmp_path / "link").symlink_to("x")
    assert read_ordinary(path) == read_ordinary(tmp_path / "link", 3) == b"[1]" and read_json(path) == [1]
    with pytest.raises(OSError, match="more than 2 bytes"):
        read_ordinary(path, 2)
    for kind in ("pipe", "device"):
        set_trap(path, kind)
        with pytest.raises(OSError, match="no ordinary file"):
            read_ordinary(path)
    path.unlink()
    set_trap(path, "deep")
    with pytest.raises(ValueError, match="nested too deeply"):
        read_json(path)
