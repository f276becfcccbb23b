"""Odd TOML files, as configuration, grid and preset: read as the format says, or refused in one line."""

import codecs
import os
from pathlib import Path

import pytest

from helpers_runs import cli
from reprogram.errors import ConfigError
from reprogram.paper.preset import read_preset
from reprogram.runs.config import from_values, read_toml
from reprogram.sweep.grid import read_grid
from reprogram.utils.toml import read_table

READERS = {"fit": read_toml, "grid": read_grid, "preset": lambda path: read_preset(str(path))}
BAD = {
    "many digits": b"seed = " + b"9" * 5000,
    "many hexadecimal digits": b"seed = 0x" + b"f" * 5000,
    "more than 64 bits": b"seed = 9223372036854775808",
    "in a list": b"seeds = [[1, -9223372036854775809]]",
    "deep": b"seed = " + b"[" * 20000 + b"]" * 20000,
    "UTF-16": codecs.BOM_UTF16_LE + "seed = 1".encode("utf-16-le"),
    "Latin-1": b"task = 'caf\xe9'",
    "no TOML": b"seed: 1",
    "twice": b"seed = 1\nseed = 2",
    "NUL": b"task = 'a\0b'",
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("reader", READERS)
def test_what_is_wrong_is_one_line_with_the_files_name(tmp_path, one_line, reader, name):
    path = tmp_path / "c.toml"
    path.write_bytes(b"[grid]\n" * (reader == "grid") + b"[fit]\n" * (reader != "grid") + BAD[name])
    with pytest.raises(ConfigError) as error:
        READERS[reader](path)
    assert str(path) in one_line(error) and len(str(error.value)) < 400 + len(str(path))


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", ["a" * 300 + ".toml", "loop.toml", "folder.toml", "file/c.toml", "missing.toml"])
def test_a_file_that_cannot_be_read_is_one_line(tmp_path, one_line, reader, name):
    (tmp_path / "loop.toml").symlink_to("loop.toml")
    (tmp_path / "folder.toml").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError) as error:
        READERS[reader](tmp_path / name)
    assert name in one_line(error)


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="this system has no endless file")  # noqa: PTH110
def test_an_endless_file_is_refused():
    with pytest.raises(ConfigError, match="more than"):
        read_toml(Path("/dev/zero"))


def test_a_byte_order_mark_and_windows_line_ends_are_read(tmp_path):
    path = tmp_path / "c.toml"
    path.write_bytes(codecs.BOM_UTF8 + '[fit]\r\nseed = 7\r\ntask = "写真"\r\n'.encode())
    assert read_toml(path) == {"seed": 7, "task": "写真"}
    path.write_bytes(codecs.BOM_UTF8 + b"[grid]\r\nseed = [1, 2]\r\n")
    assert [cell.config.seed for cell in read_grid(path)] == [1, 2]


def test_numbers_of_64_bits_are_kept(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text("least = -9223372036854775808\nmost = 9223372036854775807\n", encoding="utf-8")
    assert read_table(path) == {"least": -(2**63), "most": 2**63 - 1}


@pytest.mark.parametrize("value", ["9" * 5000, "0x" + "f" * 3000, "0x" + "f" * 4000, "-" + "9" * 3000])
@pytest.mark.parametrize("form", ["squares(train={})", "squares?train={}", "squares(seed={})", "squares?seed={}"])
def test_numbers_of_many_digits_in_specs_are_one_line(value, form):
    code, out, err = cli("fit", "--task", form.format(value))
    assert (code, out, err.count("\n")) == (3, "", 1) and "Traceback" not in err


@pytest.mark.parametrize("option", ["seed", "images", "batch-size", "shots", "validations", "epochs", "parts"])
def test_numbers_of_many_digits_on_the_command_line_are_one_line(option):
    code, out, err = cli("fit", f"--{option}", "9" * 5000)
    assert code in (2, 3) and (out, err.count("\n")) == ("", 1) and "Traceback" not in err


@pytest.mark.parametrize("option", ["out", "task", "host", "data", "warm_start"])
def test_bytes_that_are_not_utf8_are_refused_in_an_option(one_line, option):
    value = os.fsdecode(b"caf\xe9")
    with pytest.raises(ConfigError, match=option) as error:
        from_values({option: value})
    one_line(error)


def test_a_run_folder_whose_name_is_no_text_is_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "g.toml").write_text('[grid]\nhost = "linear:40"\n', encoding="utf-8")
    name = os.fsdecode(b"caf\xe9")
    for call in (["fit", "--host", "linear:40"], ["sweep", "g.toml"], ["demo"], ["paper", "table1"]):
        code, out, err = cli(*call, "--out", name, "--quiet")
        assert (code, out, err.count("\n")) == (3, "", 1), err
        assert "UTF-8" in err
    assert [path.name for path in tmp_path.iterdir()] == ["g.toml"]


WRONG_KINDS = {
    "seed = true": "a whole number",
    "seed = '1'": "a whole number",
    "epochs = '2'": "a number",
    "seconds = false": "a number",
    "test_images = true": "a whole number",
    "download = 1": "true or false",
    "skip_bad = 'yes'": "true or false",
    "seed = 2024-01-01": "a whole number",
    "host = 3": "text",
}


@pytest.mark.parametrize("line", WRONG_KINDS)
def test_a_value_of_another_kind_is_refused_with_the_files_name(tmp_path, line):
    path = tmp_path / "c.toml"
    path.write_text(f"[fit]\n{line}\n", encoding="utf-8")
    code, out, err = cli("fit", "--config", path)
    assert (code, out, err.count("\n")) == (3, "", 1)
    assert f"{path}: {line.partition(' ')[0]}=" in err and f"{WRONG_KINDS[line]} is expected" in err


def test_numbers_that_are_whole_and_steps_are_taken():
    config = from_values({"images": 2e4, "epochs": 2, "checkpoint_every": 100, "test_images": "250"})
    assert (config.images, config.epochs, config.checkpoint_every, config.test_images) == (20_000, 2.0, "100", 250)


@pytest.mark.parametrize(
    "text,what",
    [
        ("", "is empty"),
        ("# nothing\n", "is empty"),
        ("[grid]\nseed = [1, 2]\n", "give it to reprogram sweep"),
        ("[[fit]]\nseed = 1\n", "[[fit]]"),
        ("[fit]\nbatch-size = 4\nbatch_size = 8\n", "given twice"),
    ],
)
def test_a_file_that_says_nothing_or_two_things_is_refused(tmp_path, one_line, text, what):
    (tmp_path / "c.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as error:
        read_toml(tmp_path / "c.toml")
    assert what in one_line(error) and "c.toml" in str(error.value)


def test_a_grid_refuses_one_option_by_two_names(tmp_path, one_line):
    (tmp_path / "g.toml").write_text("[grid]\nbatch-size = 4\nbatch_size = [8, 16]\n", encoding="utf-8")
    with pytest.raises(ConfigError) as error:
        read_grid(tmp_path / "g.toml")
    assert "given twice" in one_line(error)
