"""Paths as people give them to the library and the command line, and what a new file must not replace."""

import os
import stat
from pathlib import Path

import pytest

import reprogram
from helpers import random_task
from helpers_runs import cli
from reprogram.errors import WriteError
from reprogram.utils.files import user_path, why_missing, write_atomic


class Named:
    """A path-like object."""

    def __init__(self, path):
        self.path = path

    def __fspath__(self):
        return self.path


@pytest.fixture(scope="module")
def model():
    return reprogram.Reprogrammed.build("linear:16", random_task((1, 8, 8)))


@pytest.mark.parametrize("make", [str, os.fsencode, Path, Named, lambda path: Named(os.fsencode(path))])
def test_text_bytes_and_path_likes_are_one_path(model, tmp_path, make):
    given = make(str(tmp_path / "猫 p.safetensors"))
    assert model.save(given) == tmp_path / "猫 p.safetensors"
    assert reprogram.load(given).task == model.task


def test_home_is_not_a_folder_called_tilde(model, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    model.save("~/a.safetensors")
    model.save(Path("~") / "b.safetensors")
    assert reprogram.load("~/b.safetensors").task == model.task
    assert cli("inspect", "~/a.safetensors")[0] == 0
    line = ("fit", "--host", "linear:40", "--task", "squares(train=32, validation=10, test=10)", "--images", "16")
    assert cli(*line, "--baselines", "none", "--quiet", "--out=~/runs/a")[0] == 0
    for arguments in (("runs", "show", "~/runs/a"), ("runs", "list", "--runs=~/runs"), ("report", "~/runs/a")):
        assert cli(*arguments)[0] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


@pytest.mark.parametrize("value", ["", b"", "a\0b", None, 3, True, ["a"]])
def test_what_is_no_path_is_one_line(model, value, one_line):
    for call in (model.save, reprogram.load, model.warm_start):
        with pytest.raises(reprogram.ConfigError) as error:
            call(value)
        assert "is no path" in one_line(error)


def test_a_data_folder_may_be_a_path(tmp_path, one_line):
    for data in (tmp_path, os.fsencode(tmp_path), Named(str(tmp_path))):
        with pytest.raises(reprogram.DataError) as error:
            reprogram.load_task("mnist", data=data)
        assert str(tmp_path) in one_line(error)
    with pytest.raises(reprogram.ConfigError):
        reprogram.load_task("mnist", data=3)


@pytest.mark.parametrize("kind", ["pipe", "folder", "link to a folder", "stream", "."])
def test_only_an_ordinary_file_is_replaced(tmp_path, kind):
    path = tmp_path / "x"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "stream":  # As /dev/stdout is one.
        path.symlink_to("/proc/self/fd/0")
    elif kind == "link to a folder":
        path.symlink_to(tmp_path)
    else:
        path.mkdir()
        path = path if kind == "folder" else path / ".."
    before = stat.S_IFMT(os.lstat(tmp_path / "x").st_mode)
    if kind == "stream" and not path.exists():
        pytest.skip("this system has no /proc")
    with pytest.raises(WriteError, match="no ordinary file"):
        write_atomic(path, b"1")
    assert stat.S_IFMT(os.lstat(tmp_path / "x").st_mode) == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["x"]


def test_a_file_and_a_link_to_one_or_to_nowhere_are_replaced(tmp_path):
    for name, target in (("a", None), ("link", "a"), ("nowhere", "missing")):
        path = tmp_path / name
        path.write_bytes(b"0") if target is None else path.symlink_to(target)
        assert write_atomic(path, b"1").read_bytes() == b"1"


def test_a_closed_path_is_not_said_to_be_missing(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").touch()
    assert why_missing(tmp_path / "none") == why_missing(tmp_path / "file/x") == "no such file"
    for path, reason in ((tmp_path / "loop/x", "symbolic links"), (tmp_path / ("a" * 300), "too long")):
        assert "can't be looked at" in why_missing(path) and reason in why_missing(path)
        assert reason in cli("inspect", path)[2] and reason in cli("predict", path, "x.png")[2]


def test_messages_say_what_the_system_said(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "loop.png").symlink_to("loop.png")
    model = reprogram.Reprogrammed.build("linear:16", random_task((1, 8, 8)))
    program = model.save(tmp_path / "p.safetensors")
    for arguments in (
        ("report", tmp_path / "file"),
        ("convert", tmp_path / "loop.png", tmp_path / "new.safetensors"),
        ("predict", program, tmp_path / "loop.png"),
    ):
        code, out, err = cli(*arguments)
        assert (code, out, err.count("\n")) == (3, "", 1)
        assert "can't be read (" in err and "damaged" not in err and "Errno" not in err


def test_the_current_folder_is_a_run_too(tmp_path, monkeypatch):
    from helpers_runs import four_runs

    four_runs(tmp_path)
    monkeypatch.chdir(tmp_path / "a")
    code, out, err = cli("runs", "show", ".")
    assert (code, err) == (0, "") and "digits" in out
    monkeypatch.chdir(tmp_path / "d")
    assert cli("runs", "show", "../a")[1] == out


def test_a_path_is_expanded_once(monkeypatch):
    monkeypatch.setenv("HOME", "/homes/me")
    assert user_path("~/x") == user_path(b"~/x") == Path("/homes/me/x") and user_path("a/~") == Path("a/~")
