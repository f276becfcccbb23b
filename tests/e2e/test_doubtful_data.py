"""What is wrong with the images of a run is said wherever its accuracy is, and a finished run keeps to its images."""

import json
import os
import unittest.mock

import numpy as np
import pytest
from PIL import Image

import reprogram
from helpers_runs import cli
from reprogram.tasks.base import TaskSource


def images(folder, count, seed):
    folder.mkdir(parents=True)
    for i in range(count):
        pixels = np.random.default_rng([seed, i]).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")


@pytest.fixture
def leaking(tmp_path):
    """A task whose test images are all among the training images, with a class that training lacks."""
    data = tmp_path / "data"
    for split in ("train", "val", "test"):
        for seed, name in enumerate(("a", "b")):
            images(data / split / name, 6, seed + (10 if split == "val" else 0))
    images(data / "test" / "c", 4, 5)
    return data


FIT = ("--host", "linear:40", "--epochs", "1", "--baselines", "none")


def test_a_quiet_run_says_it_and_its_result_does(leaking, tmp_path):
    code, out, err = cli("fit", *FIT, "--task", f"folder:{leaking}", "--out", tmp_path / "run", "--quiet")
    assert code == 0
    assert "reprogram: warning: 12 test images are among the train images too, pixel for pixel\n" in err
    assert all(line.startswith("reprogram: warning: ") for line in err.splitlines())
    said = ("Of the test images 12 are among the train images, pixel", "There is no training image of class c.")
    assert all(sentence in out for sentence in said)
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert {"seen_images", "unseen_classes"} <= result["doubts"].keys()
    page = (tmp_path / "run" / "report.html").read_text()
    assert all(sentence in page for sentence in said)
    code, out, err = cli("evaluate", tmp_path / "run", "--task", f"folder:{leaking}", "--quiet")
    assert code == 0 and said[0] in out and "reprogram: warning: 12 test images" in err
    assert said[0] not in cli("evaluate", tmp_path / "run", "--task", f"folder:{leaking}", "--split", "train")[1]


def test_a_sweep_says_it_once(leaking, tmp_path):
    grid = tmp_path / "grid.toml"
    grid.write_text(
        f'[grid]\nhost = "linear:40"\ntask = "folder:{leaking}"\nepochs = 1\nbaselines = ["none"]\nseed = [0, 1]\n'
    )
    code, _, err = cli("sweep", grid, "--out", tmp_path / "out", "--quiet", "--workers", "0")
    assert code == 0, err
    assert err.count("12 test images are among the train images") == 1 and f"folder:{leaking}" in err


def test_a_finished_run_is_refused_where_its_images_have_changed(tmp_path):
    for seed, name in enumerate(("a", "b")):
        images(tmp_path / "data" / name, 12, seed)
    command = ("fit", *FIT, "--task", f"folder:{tmp_path / 'data'}", "--out", tmp_path / "run", "--quiet")
    assert cli(*command)[0] == 0
    result = (tmp_path / "run" / "result.json").read_bytes()
    for path in (tmp_path / "data").rglob("*"):
        os.utime(path)  # Younger, but the same.
    assert cli(*command)[0] == 0
    (tmp_path / "data" / "a" / "3.png").unlink()
    code, out, err = cli(*command)
    assert (code, out, err.count("\n")) == (3, "", 1) and "other images" in err and "choose another --out" in err
    assert (tmp_path / "run" / "result.json").read_bytes() == result


def test_a_finished_run_notices_other_images_behind_a_link(tmp_path):
    (tmp_path / "data").mkdir()
    for seed, name in enumerate(("a", "b")):
        images(tmp_path / "store" / name, 12, seed)
        (tmp_path / "data" / name).symlink_to(tmp_path / "store" / name)
    command = ("fit", *FIT, "--task", f"folder:{tmp_path / 'data'}", "--out", tmp_path / "run", "--quiet")
    assert cli(*command)[0] == 0
    (tmp_path / "store" / "a" / "3.png").write_bytes((tmp_path / "store" / "a" / "4.png").read_bytes())
    code, out, err = cli(*command)
    assert (code, out, err.count("\n")) == (3, "", 1) and "other images" in err


def test_a_finished_run_does_not_answer_for_other_files(tmp_path):
    for number, name in enumerate(("one", "two")):
        rng, labels = np.random.default_rng(number), np.arange(40) % 10
        pixels = {f"x_{part}": rng.integers(0, 256, (40, 32, 32, 3), dtype=np.uint8) for part in ("train", "test")}
        np.savez(tmp_path / f"{name}.npz", y_train=labels, y_test=labels, **pixels)
        os.utime(tmp_path / f"{name}.npz", (1e9, 1e9))
    command = ("fit", *FIT, "--task", "cifar10", "--out", tmp_path / "run", "--quiet")
    assert cli(*command, "--data", tmp_path / "one.npz")[0] == 0
    assert cli(*command, "--data", tmp_path / "one.npz")[0] == 0
    code, out, err = cli(*command, "--data", tmp_path / "two.npz")
    assert (code, out, err.count("\n")) == (3, "", 1) and "other images" in err


def test_a_sweep_refuses_a_finished_cell_whose_images_have_changed(tmp_path):
    for seed, name in enumerate(("a", "b")):
        images(tmp_path / "data" / name, 12, seed)
    grid = tmp_path / "grid.toml"
    grid.write_text(f"""[grid]
host = "linear:40"
task = "folder:{tmp_path / "data"}"
images = 64
seed = [0, 1, 2]
baselines = []
""")
    assert cli("sweep", grid, "--out", tmp_path / "out", "--quiet")[0] == 0
    with unittest.mock.patch.object(TaskSource, "last_change", autospec=True, side_effect=lambda _: 0.0) as looked:
        assert "0 finished, 3 finished before" in cli("sweep", grid, "--out", tmp_path / "out", "--quiet")[1]
    assert looked.call_count == 1  # Of a folder of 70,000 images, say.
    (tmp_path / "data" / "a" / "3.png").unlink()
    code, _, err = cli("sweep", grid, "--out", tmp_path / "out", "--quiet")
    assert code == 3 and "other images" in err


def test_the_folder_of_a_run_that_is_not_finished_is_said_to_be_one(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.toml").write_text("[fit]\n")
    code, _, err = cli("evaluate", tmp_path / "run", "--task", "digits")
    assert code == 4 and err.count("\n") == 1 and "isn't finished" in err


def test_few_shots_are_the_same_images_again(tmp_path):
    command = ("fit", *FIT, "--task", "digits", "--shots", "5", "--out", tmp_path / "run", "--quiet")
    assert cli(*command)[0] == 0
    assert "note: " not in cli("evaluate", tmp_path / "run", "--task", "digits")[2]
    assert "other images" in cli("evaluate", tmp_path / "run", "--task", "digits(seed=1)")[2]


@pytest.mark.parametrize(
    "metrics", [{"shots": "many"}, {"shots": -3}, {"shots": 5, "seed": -1}, {"seed": "x"}, {"shots": 10**9}]
)
def test_what_a_stranger_says_of_his_run_breaks_nothing(tmp_path, metrics):
    model = reprogram.Reprogrammed.build("linear:40", "digits")
    model.provenance.metrics = metrics
    model.save(tmp_path / "p.safetensors")
    for more in ((), ("--test-images", "50")):
        code, _, err = cli("evaluate", tmp_path / "p.safetensors", "--task", "digits", *more)
        assert code == 0 and "Traceback" not in err, err
