"""What files and folders of version 0.1 leave out is as it was then; all others have today's defaults."""

import pytest

from reprogram.cli.fit import resolve
from reprogram.errors import ConfigError
from reprogram.runs.config import MARK
from reprogram.runs.earlier import DEFAULTS_0_1, as_written
from reprogram.sweep.grid import read_grid

TODAY = {"canvas": "centre", "label_map": "first", "loss": "auto", "sampling": "stratified", "batch_size": "auto"}
OLD_CONFIG = f'{MARK}\n[fit]\nhost = "linear:40"\ntask = "digits"\ncanvas = "scaled"\nlabel_map = "discriminant"\n'
OLD_CONFIG += 'learner = "gradient"\nloss = "task"\nstart = ""\nepochs = 2.0\n'
NAMES = ["digits-linear_40-frame-s0-504b08f2", "digits-linear_40-frame-s0-a25c076c"]


def chosen(config):
    return {option: getattr(config, option) for option in TODAY}


@pytest.fixture
def written(tmp_path):
    def write(text, name="file.toml"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    return write


@pytest.mark.parametrize("old", ["parts = 3", 'start = ""', 'learner = "gradient"', 'learner = "momentum(average=0)"'])
def test_a_file_with_a_name_of_then_keeps_its_meaning(written, old):
    (cell,) = read_grid(written(f'[grid]\nhost = "linear:40"\ntask = "digits"\n{old}\n'))
    config = resolve({}, written(f'[fit]\nhost = "linear:40"\ntask = "digits"\n{old}\n'))
    assert chosen(cell.config) == chosen(config) == DEFAULTS_0_1
    assert chosen(resolve({"canvas": "tile"}, written(f"[fit]\n{old}\n"))) == {**DEFAULTS_0_1, "canvas": "tile"}
    assert resolve({"recipe": "ilm-vp"}, written(f"[fit]\n{old}\n")).label_map == "iterative"


def test_one_name_of_then_speaks_for_all_cells_of_a_grid(written):
    """Else an axis would compare label maps, canvases and losses beside what it names."""
    grid = '[[grid]]\nlearner = ["adam", "sgd", "normalized"]\n[[grid]]\nseed = 3\n'
    assert [chosen(cell.config) for cell in read_grid(written(grid))] == [DEFAULTS_0_1] * 4
    with_recipe = '[[grid]]\nlearner = "gradient"\n[[grid]]\nrecipe = "ilm-vp"\n'
    assert [cell.config.label_map for cell in read_grid(written(with_recipe))] == ["discriminant", "iterative"]


def test_a_misspelt_table_is_named(written, one_line):
    for text in ("[fits]\nepochs = 1\n", "[[fits]]\nepochs = 1\n", "[fit]\n[other]\n"):
        with pytest.raises(ConfigError) as error:
            resolve({}, written(text))
        one_line(error, "expected one table [fit], found", "fit")


def test_other_files_and_flags_have_todays_defaults(written):
    for new in ("num-microbatches = 3", 'learner = "adam"', "seed = 1"):
        (cell,) = read_grid(written(f"[grid]\n{new}\n"))
        assert chosen(cell.config) == chosen(resolve({}, written(f"[fit]\n{new}\n"))) == TODAY
    assert chosen(resolve({"num_microbatches": 3}, None)) == TODAY
    assert as_written({"learner": 3}) == {"learner": 3}  # Refused later, in one line.


def test_cells_have_the_names_that_0_1_gave_them(written):
    """Computed by 0.1 itself from these two grids."""
    names = []
    of_then = 'canvas = "centre"\nlabel-map = "first"\nloss = "host"\nsampling = "shuffled"\nbatch-size = 16'
    for options in ("parts = 3", of_then):
        names += [cell.name for cell in read_grid(written(f'[grid]\nhost = "linear:40"\ntask = "digits"\n{options}\n'))]
    assert names == NAMES


def test_the_command_of_then_goes_on_in_its_folder(written, tmp_path):
    flags = {"host": "linear:40", "task": "digits", "epochs": 2.0, "out": str(tmp_path / "run")}
    assert chosen(resolve(flags, None)) == TODAY
    written(OLD_CONFIG, "run/config.toml")
    assert chosen(resolve(flags, None)) == DEFAULTS_0_1
    assert chosen(resolve({**flags, "label_map": "first"}, None)) == {**DEFAULTS_0_1, "label_map": "first"}
    written(OLD_CONFIG.replace("start", "warm_start").replace("gradient", "adam"), "run/config.toml")
    assert chosen(resolve(flags, None)) == {**TODAY, "sampling": "shuffled"}  # A run wrote it, without the option.
    for size, meant in ((16, 16), (32, "auto")):  # The default of then; or somebody's choice, which he has to repeat.
        written(f'{MARK}\n[fit]\nsampling = "stratified"\nbatch_size = {size}\n', "run/config.toml")
        assert chosen(resolve(flags, None)) == {**TODAY, "batch_size": meant}


@pytest.mark.parametrize("old", ["parts = 3", 'start = ""', 'learner = "gradient"'])
def test_what_a_file_of_then_changes_is_said_in_one_line(written, old):
    lines = []
    resolve({}, written(f"[fit]\n{old}\n"), lines.append)
    read_grid(written(f"[grid]\nseed = [1, 2]\n{old}\n"), say=lines.append)
    assert len(lines) == 2
    assert all("canvas scaled, label-map discriminant, loss task" in line and "file.toml" in line for line in lines)
    resolve({"canvas": "tile", "loss": "task"}, written(f"[fit]\n{old}\n"), lines.append)
    assert "label-map discriminant" in lines[2] and "canvas" not in lines[2] and "loss" not in lines[2]


def test_nothing_is_said_where_nothing_is_changed(written):
    lines = []
    whole = 'parts = 3\ncanvas = "tile"\nlabel_map = "first"\nloss = "host"\nsampling = "stratified"\nbatch_size = 8'
    for text in ("num-microbatches = 3", whole, 'parts = 3\nrecipe = "best"'):
        resolve({}, written(f"[fit]\n{text}\n"), lines.append)
    resolve({"recipe": "best"}, written("[fit]\nparts = 3\n"), lines.append)
    assert lines == []
