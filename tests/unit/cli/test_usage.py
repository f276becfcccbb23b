"""What is given to a verb: options that aren't there, given twice, empty, or in the environment under a wrong name."""

import json
import os

import pytest

from helpers_runs import cli, make_run


def refused(code, *arguments):
    """The line that a call is refused with."""
    got, out, err = cli(*arguments)
    assert (got, out, err.count("\n")) == (code, "", 1), err
    return err


@pytest.mark.parametrize(
    "arguments",
    [
        ("predict", "p", "a.png", "--csv"),
        ("predict", "p", "-csv", "a.png"),
        ("predict", "p", "--csv=1", "-"),
        ("predict", "--csv", "p"),
        ("inspect", "--csv"),
        ("convert", "-x", "y"),
        ("report", "--foo"),
        ("sweep", "--foo"),
        ("runs", "remove", "--foo"),
        ("runs", "compare", "-f", "b"),
        ("runs", "show", "-f"),
        ("list", "hosts", "-x"),
    ],
)
def test_a_verb_that_takes_paths_refuses_what_looks_like_an_option(tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    option = next(argument for argument in arguments if argument[0] == "-" and len(argument) > 1)
    assert option.partition("=")[0] in refused(2, *arguments)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [("paper", "a", "b"), ("fit", "b"), ("sweep", "a", "b"), ("inspect", "a", "b")])
def test_one_argument_too_many_is_named(arguments):
    assert f"{arguments[0]}: 'b' is one argument too many" in refused(2, *arguments)


def test_two_names_of_one_option_are_both_named(monkeypatch):
    line = refused(2, "fit", "--num-microbatches", "2", "--parts=2")
    assert "--num-microbatches and --parts are two names of one option" in line
    assert "--seed is given twice" in refused(2, "fit", "--seed", "1", "--seed", "1")
    monkeypatch.setenv("REPROGRAM_PARTS", "2")
    monkeypatch.setenv("REPROGRAM_NUM_MICROBATCHES", "2")
    assert "REPROGRAM_PARTS" in (line := refused(2, "fit")) and "REPROGRAM_NUM_MICROBATCHES" in line


@pytest.mark.parametrize("call", ["fit", "evaluate p --task squares", "predict p", "sweep g", "list tasks", "doctor"])
def test_a_misspelt_variable_is_refused_with_the_nearest_option(monkeypatch, call):
    monkeypatch.setenv("REPROGRAM_SEDE", "1")
    line = refused(3, *call.split())
    assert "REPROGRAM_SEDE" in line and "'--seed'" in line


@pytest.mark.parametrize("name", ["IMAGES", "SEED", "RUNS", "PARTS", "NO_DOWNLOAD", "EPOCHS", "RETRIES"])
def test_options_of_other_verbs_may_be_set(monkeypatch, name):
    monkeypatch.setenv(f"REPROGRAM_{name}", "7")
    code, out, err = cli("list", "programs")
    assert code == 0 and "frame" in out, err


def test_images_in_the_environment_are_the_budget_alone(monkeypatch):
    monkeypatch.setenv("REPROGRAM_IMAGES", "16")
    monkeypatch.setenv("REPROGRAM_PROGRAM_FILE", "")
    assert "no images" in refused(3, "predict", "p.safetensors")


@pytest.mark.parametrize(
    "arguments",
    [
        ("fit", "--out", ""),
        ("fit", "--out="),
        ("fit", "--config", ""),
        ("fit", "--resume", ""),
        ("sweep", "grid.toml", "--out", ""),
        ("demo", "--out", ""),
        ("paper", "table1", "--out", ""),
        ("predict", "p", ""),
        ("inspect", ""),
        ("runs", "list", "--runs", ""),
        ("runs", "show", ""),
    ],
)
def test_an_empty_value_is_refused_and_nothing_is_written(tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    assert "is empty" in refused(3, *arguments)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_variable_is_one_that_is_not_set(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path / "runs/a")
    for name in ("RUNS", "OUT", "SEED", "SEDE"):
        monkeypatch.setenv(f"REPROGRAM_{name}", "")
    code, out, _ = cli("runs", "list")
    assert code == 0 and "a " in out
    assert "grid" in refused(3, "sweep", os.devnull)


def test_a_variable_in_small_letters_is_told_from_an_unknown_one(monkeypatch):
    monkeypatch.setenv("REPROGRAM_seed", "1")
    code, out, err = cli("list", "tasks")
    assert (code, out) == (3, "") and "set REPROGRAM_SEED instead" in err


@pytest.mark.parametrize("folder", ["a" * 300, "/dev/null/x", "loop/x"])
def test_doctor_shows_caches_that_cannot_be_looked_at(tmp_path, monkeypatch, folder):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    monkeypatch.setenv("HF_HOME", folder)
    code, out, err = cli("doctor", "--json")
    assert (code, err) == (0, "") and folder in json.loads(out)["caches"]["HF_HOME"]


def test_a_removed_current_folder_is_one_line(tmp_path, monkeypatch):
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    assert "the current folder can't be used" in refused(3, "list", "hosts")
