"""What a finished run was made of may be something else by now: then it is no answer."""

import json
import struct
import unittest.mock
from dataclasses import replace
from importlib.resources import files

import jsonschema
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import reprogram
from helpers_runs import make_run
from reprogram.detectors._detect import load_detector
from reprogram.errors import ConfigError, ReprogramError
from reprogram.model import Reprogrammed
from reprogram.programfile.file import read
from reprogram.runs import changed
from reprogram.runs.config import RunConfig
from reprogram.runs.execute import execute
from reprogram.runs.folder import RunFolder
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


HOST = """
import torch
torch.manual_seed({seed})
host = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 16 * 16, 12))
"""


@pytest.mark.parametrize("around", ["{}", "restricted(host={!r}, access='scores')"])
def test_a_finished_run_is_no_answer_for_another_host(around, tmp_path, one_line):
    file = tmp_path / "host.py"
    file.write_text(HOST.format(seed=0))
    access = {} if around == "{}" else {"learner": "spsa", "label_map": "first", "queries": 300}
    made = config(tmp_path / "run", host=around.format(f"python:{file}:host?size=16"), **access)
    result = execute(made)
    cells = [Cell("run", made)]
    assert run_cells(cells, executor="inline")[0].state == "already"
    file.write_text(HOST.format(seed=0) + "# The same.")
    assert execute(made) == result and run_cells(cells, executor="inline")[0].state == "already"
    file.write_text(HOST.format(seed=1))
    with pytest.raises(ConfigError) as error:
        execute(made)
    one_line(error, "another host", "choose another --out")
    assert run_cells(cells, executor="inline")[0].state == "failed"
    file.unlink()
    with pytest.raises(ReprogramError) as error:
        execute(made)
    one_line(error, "host.py")


def test_a_finished_run_is_no_answer_for_another_start(tmp_path, one_line):
    programs = []
    for seed in (0, 1):
        model = Reprogrammed.build("linear:40", "digits", seed=seed)
        programs.append(model.save(tmp_path / f"{seed}.safetensors").read_bytes())
    start = tmp_path / "start.safetensors"
    start.write_bytes(programs[0])
    made = config(tmp_path / "run", warm_start=str(start))
    result = execute(made)
    jsonschema.validate(result, json.loads(files("reprogram.runs").joinpath("result.schema.json").read_text("utf-8")))
    assert result["warm_start"] == read(start).header.digest
    start.write_bytes(programs[0])
    assert execute(made) == result
    start.write_bytes(programs[1])
    with pytest.raises(ConfigError) as error:
        execute(made)
    one_line(error, "another program", "start.safetensors")
    earlier = {key: value for key, value in result.items() if key != "warm_start"}
    (tmp_path / "run" / "result.json").write_text(json.dumps(earlier))  # An earlier version noted no digest.
    start.write_bytes(programs[1])
    assert execute(made) == earlier
    start.unlink()
    with pytest.raises(ReprogramError) as error:
        execute(made)
    one_line(error, "start.safetensors")


def photograph(path, seed):
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(path)


def embeddings(path, seed):
    generator = torch.Generator().manual_seed(seed)
    save_file({name: torch.randn(n, 8, generator=generator) for name, n in (("host", 16), ("task", 10))}, path)


def detector(path, seed):
    calibrated = load_detector("energy")
    calibrated.threshold = float(seed)
    calibrated.save(path)


@pytest.mark.parametrize(
    ("option", "spec", "name", "write"),
    [
        ("program", "concealed(photo='{}')", "photo.png", photograph),
        ("label_map", "text:{}", "names.safetensors", embeddings),
        ("loss", "evading(loss='host', detector='{}')", "detector.safetensors", detector),
    ],
)
def test_a_finished_run_is_no_answer_for_another_file_of_its_parts(tmp_path, one_line, option, spec, name, write):
    file = tmp_path / name
    write(file, 0)
    made = config(tmp_path / "run", **{option: spec.format(file)})
    result = execute(made)
    jsonschema.validate(result, json.loads(files("reprogram.runs").joinpath("result.schema.json").read_text("utf-8")))
    write(file, 0)
    assert execute(made) == result
    cells = [Cell("run", made)]
    assert run_cells(cells, executor="inline")[0].state == "already"
    write(file, 1)
    with pytest.raises(ConfigError) as error:
        execute(made)
    one_line(error, "another file", name, "choose another --out")
    assert run_cells(cells, executor="inline")[0].state == "failed"
    earlier = {key: value for key, value in result.items() if key != f"{option}_file"}
    (tmp_path / "run" / "result.json").write_text(json.dumps(earlier))  # An earlier version noted no digest.
    write(file, 1)
    assert execute(made) == earlier
    (tmp_path / "run" / "result.json").write_text(json.dumps(result))
    file.unlink()
    with pytest.raises(ReprogramError) as error:
        execute(made)
    one_line(error, name)


def test_a_loss_reads_its_file_anew_for_each_run(tmp_path):
    file, learned = tmp_path / "detector.safetensors", []
    for threshold in (-100, 100, -100):
        detector(file, threshold)
        made = config(tmp_path / f"{len(learned)}", loss=f"evading(loss='host', weight=100.0, detector='{file}')")
        execute(made)
        learned.append(read(made.folder / "program.safetensors").tensors["program.weight"])
    assert [torch.equal(learned[0], other) for other in learned[1:]] == [False, True]


def test_an_interrupted_run_doesnt_go_on_with_another_label_map_of_the_same_spec(tmp_path, one_line, monkeypatch):
    file = tmp_path / "names.safetensors"
    embeddings(file, 0)
    made = config(tmp_path / "run", label_map=f"text:{file}", images=64, checkpoint_every=1)
    with monkeypatch.context() as patch:
        patch.setattr("reprogram.training.validation.Validator.scores", _interrupted)
        with pytest.raises(KeyboardInterrupt):
            execute(made)
    assert (tmp_path / "run" / "checkpoint.safetensors").exists()
    embeddings(file, 1)
    with pytest.raises(ConfigError) as error:
        execute(made)
    one_line(error, "another contents of the label map's files")
    embeddings(file, 0)
    assert execute(made)["test"] == execute(replace(made, out=str(tmp_path / "whole")))["test"]


def test_a_loaded_program_is_learned_further_without_the_file_of_its_label_map(tmp_path):
    file, task = tmp_path / "names.safetensors", reprogram.load_task("digits")
    embeddings(file, 0)
    model = Reprogrammed.build("linear:40", task, label_map=f"text:{file}")
    program = model.save(tmp_path / "program.safetensors")
    file.unlink()
    again = reprogram.load(program, host=model.host)
    assert reprogram.fit(again, task, images=32, checkpoint=tmp_path / "c").images_seen == 30


def _interrupted(*args, **kwargs):
    raise KeyboardInterrupt


def test_the_host_of_many_cells_is_looked_at_once(tmp_path):
    file = tmp_path / "host.py"
    file.write_text(HOST.format(seed=0))
    host = f"python:{file}:host?size=16"
    cells = [Cell(str(seed), config(tmp_path / str(seed), host=host, seed=seed)) for seed in range(3)]
    for cell in cells:
        make_run(cell.config.folder, **{**OPTIONS, "host": host, "seed": cell.config.seed, "baselines": ()})
    with unittest.mock.patch.object(changed, "last_change", side_effect=lambda paths: 0.0) as looked:
        together = changed.ChangedInputs()
        assert all(together.of(cell.config, RunFolder(cell.config.folder)) == set() for cell in cells)
    assert looked.call_args_list == [unittest.mock.call([file])]
