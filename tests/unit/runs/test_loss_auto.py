"""The loss "auto" and the one that it stands for are the same run."""

import json

import pytest

import reprogram
from helpers_runs import cli, make_run
from reprogram.runs.config import RunConfig
from reprogram.runs.folder import RunFolder
from reprogram.runs.index import RunIndex
from reprogram.sweep.grid import read_grid
from reprogram.training.losses import settled, settled_by_spec

HOST = "linear(size=24, num_classes=24)"
STANDS_FOR = {
    # One fixed host label for each class: the paper's loss.
    "first": "host",
    "random": "host",
    "random(seed=3)": "host",
    "frequency": "host",
    "text:spelling": "host",
    "many-to-one(labels_per_class=1)": "host",
    # Several labels, or ones that change while the program is learned, or weights that are learned.
    "many-to-one(labels_per_class=2)": "task",
    "iterative": "task",
    "bayesian": "task",
    "discriminant": "task",
    "linear": "task",
}


@pytest.mark.parametrize("label_map", STANDS_FOR)
def test_the_spec_alone_says_what_auto_stands_for(label_map):
    task = reprogram.load_task("digits")
    model = reprogram.Reprogrammed.build(HOST, task, label_map=label_map)
    assert settled_by_spec("auto", label_map) == settled("auto", model.label_map) == STANDS_FOR[label_map]
    assert settled_by_spec("smoothed", label_map) == "smoothed"
    same = RunConfig(label_map=label_map, loss=STANDS_FOR[label_map])
    assert RunConfig(label_map=label_map).identity() == same.identity()
    other = "task" if STANDS_FOR[label_map] == "host" else "smoothed"
    assert RunConfig(label_map=label_map).identity() != RunConfig(label_map=label_map, loss=other).identity()


def test_a_grid_with_both_names_one_run_twice(tmp_path, one_line):
    grid = tmp_path / "grid.toml"
    grid.write_text('[grid]\nloss = ["auto", "host"]\n')
    with pytest.raises(reprogram.ConfigError) as error:
        read_grid(grid)
    one_line(error, "two cells are the same run")
    grid.write_text('[grid]\nloss = ["auto", "task"]\n')
    assert len(read_grid(grid)) == 2


def test_a_folder_of_the_one_is_gone_on_with_by_the_other(tmp_path, one_line):
    run = make_run(tmp_path / "a", "interrupted", loss="auto")
    assert RunFolder(run.path).prepare(RunConfig(loss="host")) == "interrupted"
    with pytest.raises(reprogram.ConfigError) as error:
        RunFolder(run.path).prepare(RunConfig(loss="task"))
    one_line(error, "loss='auto'")


@pytest.mark.parametrize(("option", "value"), [("loss", "host"), ("precision", "bfloat16")])
def test_finished_runs_are_compared_by_what_auto_stood_for(option, value, tmp_path):
    for name, given in (("a", "auto"), ("b", value)):
        run = make_run(tmp_path / name, **{option: given})
        run.result.write_text(json.dumps({**json.loads(run.result.read_text()), option: value}))
    code, out, _ = cli("runs", "compare", "a", "b", "--runs", tmp_path, "--json")
    assert code == 0 and json.loads(out)["differences"] == {}
    assert {record["config"][option] for record in RunIndex(tmp_path).runs()} == {value}
