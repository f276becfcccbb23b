"""What a finished run was made of may be something else by now: then it is no answer."""

import json
import struct

import numpy as np
import pytest

from reprogram.errors import ConfigError
from reprogram.runs.config import RunConfig
from reprogram.runs.execute import execute
from reprogram.sweep.cells import Cell
from reprogram.sweep.scheduler import run_cells
from reprogram.tasks import mnist

OPTIONS = {"host": "linear:40", "task": "digits", "images": 16, "batch_size": 8, "validations": 1, "device": "cpu"}


def config(folder, **options):
    return RunConfig(**OPTIONS | {"out": str(folder), "baselines": (), "test_images": 20, **options})


@pytest.fixture
def fetched(tmp_path, monkeypatch):
    """All of MNIST, which is small here, as a download would bring it."""
    folder = tmp_path / "fetched"
    folder.mkdir()
    for names, count in ((mnist.FILES[:2], 60), (mnist.FILES[2:], 30)):
        pixels = np.random.default_rng(count).integers(0, 256, (count, 28, 28), dtype=np.uint8)
        (folder / names[0]).write_bytes(struct.pack(">HBB3I", 0, 8, 3, count, 28, 28) + pixels.tobytes())
        labels = np.arange(count, dtype=np.uint8) % 10
        (folder / names[1]).write_bytes(struct.pack(">HBBI", 0, 8, 1, count) + labels.tobytes())
    monkeypatch.setattr(mnist, "_download", lambda: folder)


def test_mnist_and_all_of_mnist_are_two_tasks(fetched, tmp_path, one_line):
    execute(config(tmp_path / "run", task="mnist"))
    with pytest.raises(ConfigError) as error:
        execute(config(tmp_path / "run", task="mnist", download=True))
    one_line(error, "other images of mnist")
    outcomes = run_cells([Cell("run", config(tmp_path / "run", task="mnist", download=True))], executor="inline")
    assert outcomes[0].state == "failed"


def test_cells_on_mnist_and_on_all_of_it_share_no_images(fetched, tmp_path):
    cells = [Cell(str(d), config(tmp_path / str(d), task="mnist", download=d)) for d in (False, True)]
    assert [outcome.state for outcome in run_cells(cells, executor="inline")] == ["finished"] * 2
    splits = [json.loads((cell.config.folder / "result.json").read_text())["splits"]["test"] for cell in cells]
    assert splits == [1000, 30]


def test_a_download_that_brings_nothing_else_costs_a_finished_run_nothing(tmp_path):
    result = execute(config(tmp_path / "run"))
    again = config(tmp_path / "run", download=True)
    assert execute(again) == result and run_cells([Cell("run", again)], executor="inline")[0].state == "already"
