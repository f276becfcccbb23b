"""The first classes of a task are read as the task is."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from reprogram.errors import ConfigError
from reprogram.runs.config import RunConfig
from reprogram.sweep.cells import Cell
from reprogram.sweep.scheduler import run_cells
from reprogram.tasks._factory import load_task


@pytest.fixture
def folder(tmp_path):
    """Three classes of images of several sizes."""
    for label, name in enumerate("abc"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(10):
            pixels = np.random.default_rng([label, i]).integers(0, 256, (20 + i, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / name / f"{i}.png")
    return tmp_path / "data"


@pytest.mark.parametrize("how", [{}, {"size_of_unequal": lambda: (16, 20)}, {"image_shape": (1, 8, 9)}])
def test_sizes_and_channels_are_those_of_the_whole_task(how, folder):
    whole = load_task(f"folder:{folder}", **how)
    first = load_task(f"first-classes(task='folder:{folder}', classes=3)", **how)
    assert first.name == whole.name and first.image_shape == whole.image_shape
    assert first.fingerprint == whole.fingerprint


def test_bad_files_may_be_left_out(folder):
    (folder / "a" / "3.png").write_bytes(b"no image")
    task = load_task(f"first-classes(task='folder:{folder}?size=8')", skip_bad=True)
    assert task.class_names == ("a", "b") and task.name == "folder:data (first 2 classes)"
    assert len(task.skipped) == 1 and "3.png" in task.skipped[0]


def test_data_lie_where_it_is_said(tmp_path):
    images, labels = np.zeros((40, 32, 32, 3), dtype=np.uint8), np.arange(40) % 10
    np.savez(tmp_path / "x.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    task = load_task("first-classes(task='cifar10', classes=4)", data=tmp_path / "x.npz")
    assert (task.num_classes, len(task.test)) == (4, 16)
    with pytest.raises(ConfigError, match="takes no data folder"):
        load_task("first-classes(task='digits')", data=tmp_path)


def test_cells_of_a_sweep_share_images_of_one_size_alone(folder, tmp_path):
    base = {"images": 8, "batch_size": 8, "validations": 1, "device": "cpu", "baselines": (), "canvas": "centre"}
    task = f"first-classes(task='folder:{folder}')"
    cells = [
        Cell(str(s), RunConfig(host=f"linear:{s}", task=task, out=str(tmp_path / str(s)), **base)) for s in (48, 64)
    ]
    assert [outcome.error for outcome in run_cells(cells, executor="inline")] == ["", ""]
    for cell, side in zip(cells, (48, 64), strict=True):
        alone = load_task(f"folder:{folder}?size={side // 2}")
        kept = torch.tensor([name in "ab" for name in alone.class_names])
        test = alone.test.images[kept[alone.test.labels]]
        shared = load_task(task, size_of_unequal=lambda side=side: (side // 2, side // 2))
        assert torch.equal(shared.test.images, test)
        result = json.loads((cell.config.folder / "result.json").read_text())
        assert result["task_fingerprint"] == shared.fingerprint
