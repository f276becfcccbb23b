"""The batch size "auto": as many images of each class as go into 16."""

import json

import pytest
import torch

import reprogram
from helpers import ConvNet, seeded
from helpers_runs import cli
from reprogram.registry import configure
from reprogram.runs.folder import RunFolder
from reprogram.runs.record import describe
from reprogram.training.batches import Batches


@pytest.mark.parametrize(
    ("num_classes", "size"),
    [(1, 16), (2, 16), (3, 15), (5, 15), (6, 12), (8, 16), (9, 9), (10, 10), (16, 16), (17, 16), (1000, 16)],
)
def test_auto_is_a_multiple_of_the_number_of_classes(num_classes, size):
    assert reprogram.FitOptions().settled_batch_size(num_classes) == size
    assert reprogram.FitOptions(batch_size=7).settled_batch_size(num_classes) == 7


def test_a_stratified_batch_of_that_size_has_one_image_of_each_of_ten_classes():
    labels = torch.arange(10).repeat_interleave(30)
    split = reprogram.Split(images=torch.zeros(300, 1, 2, 2, dtype=torch.uint8), labels=labels)
    variant, config = configure("augmentations", "none")
    batches = Batches(split, variant(config), 10, 0, "stratified")
    counts = torch.stack([labels[batches.indices(0, i)].bincount(minlength=10) for i in range(30)])
    assert counts.max() <= 2 and (counts == 1).float().mean() > 0.5
    assert counts.double().var() < 0.9 / 1.5  # 0.9 at random: ten draws of one in ten.


def model(task):
    host = reprogram.Host.wrap(seeded(lambda: ConvNet(num_classes=32, width=16)), size=48, name="host")
    return reprogram.Reprogrammed.build(host, task)


def test_auto_is_the_number_that_it_stands_for(squares):
    learned = {}
    for size in ("auto", 10, 16):
        one = model(squares)
        reprogram.fit(one, squares, images=40, validations=1, batch_size=size)
        learned[size] = one.program.weight.detach().clone()
    assert torch.equal(learned["auto"], learned[10]) and not torch.equal(learned["auto"], learned[16])


def test_a_checkpoint_of_auto_goes_on_with_the_number(squares, tmp_path, one_line):
    class StoppedError(Exception):
        pass

    def stop(progress):
        raise StoppedError

    given = {"images": 80, "validations": 1, "checkpoint": tmp_path / "c.safetensors", "checkpoint_every": 1}
    with pytest.raises(StoppedError):
        reprogram.fit(model(squares), squares, on_progress=stop, **given)
    with pytest.raises(reprogram.ConfigError) as error:
        reprogram.fit(model(squares), squares, batch_size=16, **given)
    one_line(error, "batch size", "another")
    again, whole = model(squares), model(squares)
    reprogram.fit(again, squares, batch_size=10, **given)
    reprogram.fit(whole, squares, images=80, validations=1)
    assert torch.equal(again.program.weight, whole.program.weight)


def test_a_result_says_what_auto_stood_for(tmp_path):
    flags = ("--host", "linear:40", "--task", "squares(train=40, validation=20, test=20)", "--images", "20")
    assert cli("fit", *flags, "--baselines", "none", "--quiet", "--out", tmp_path / "run")[0] == 0
    assert json.loads((tmp_path / "run" / "result.json").read_text())["batch_size"] == 10
    assert 'batch_size = "auto"' in (tmp_path / "run" / "config.toml").read_text()
    assert describe(RunFolder(tmp_path / "run"))["config"]["batch_size"] == 10


@pytest.mark.parametrize(
    ("flag", "value", "words"),
    [
        ("--batch-size", "0", ("batch_size", "at least 1")),
        ("--batch-size", "many", ("batch_size='many'", "'auto'")),
        ("--num-microbatches", "17", ("num_microbatches=17", "16")),
    ],
)
def test_what_is_no_batch_size_is_refused_in_a_line(tmp_path, flag, value, words):
    code, out, err = cli("fit", "--host", "linear:40", "--task", "digits", flag, value, "--out", tmp_path / "run")
    assert code in (2, 3) and out == "" and err.count("\n") == 1 and all(word in err for word in words), err
    assert not (tmp_path / "run").exists()
