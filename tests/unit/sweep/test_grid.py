"""Grid files: what cells they give, how cells are called, and what is refused."""

import io
import itertools
import re

import pytest

from reprogram.cli import main
from reprogram.errors import ConfigError
from reprogram.runs.config import RunConfig
from reprogram.sweep.cells import Cell, CellEvent, placed
from reprogram.sweep.grid import read_grid
from reprogram.sweep.scheduler import run_cells
from reprogram.utils.text import slug


@pytest.fixture
def write(tmp_path):
    def written(text):
        path = tmp_path / "grid.toml"
        path.write_text(text)
        return path

    return written


def test_lists_are_axes(write):
    cells = read_grid(
        write(
            '[grid]\nhost = ["linear:40", "linear:30"]\ntask = "digits"\nseed = [0, 1, 2]\nlabel-map = ["first"]\n'
            'epochs = 2\nbaselines = ["map-alone"]\nprogram = ["frame(init=0.1)", "full"]\n'
        )
    )
    got = {(c.config.host, c.config.seed, c.config.program) for c in cells}
    assert got == set(itertools.product(["linear:40", "linear:30"], range(3), ["frame(init=0.1)", "full"]))
    assert len(cells) == 12 == len({c.name for c in cells})
    assert {c.config.baselines for c in cells} == {("map-alone",)} and {c.config.epochs for c in cells} == {2.0}
    for cell in placed(cells, "some/where"):
        assert cell.config.out == f"some/where/{cell.name}" and re.fullmatch(r"[A-Za-z0-9._-]{1,200}", cell.name)


def test_trackers_of_a_run_are_no_axis(write):
    (cell,) = read_grid(write('[grid]\ntrack = ["tensorboard", "mlflow"]\n'))
    assert cell.config.track == ("tensorboard", "mlflow")
    assert read_grid(write('[grid]\ntrack = "mlflow"\n'))[0].config.track == ("mlflow",)
    with pytest.raises(ConfigError, match="the same run"):
        read_grid(write('[grid]\ntrack = [["tensorboard"], ["mlflow"]]\n'))


@pytest.mark.parametrize(
    "more", ['track = "mlflow"', "keep_answers = true", "total_queries = 9000", 'device = "cpu"', "download = true"]
)
def test_what_changes_no_program_changes_no_folder(more, write):
    """A finished cell stays finished where such an option is added to its grid."""
    assert read_grid(write(f"[grid]\n{more}\n"))[0].name == read_grid(write("[grid]\nseed = 0\n"))[0].name


def test_baselines_vary_as_lists_of_lists(write):
    """They don't decide what is learned, so their values need seeds or the like beside them."""
    with pytest.raises(ConfigError, match="the same run"):
        read_grid(write('[grid]\nbaselines = [["map-alone"], []]\n'))
    cells = read_grid(write('[grid]\nbaselines = [["map-alone", "untrained"]]\n'))
    assert [c.config.baselines for c in cells] == [("map-alone", "untrained")]
    assert read_grid(write('[grid]\nbaselines = "none"\n'))[0].config.baselines == ()


def test_several_tables_are_joined(write):
    cells = read_grid(write('[[grid]]\ntask = "digits"\nseed = [0, 1]\n[[grid]]\ntask = "squares"\nepochs = 3\n'))
    assert [(c.config.task, c.config.seed) for c in cells] == [("digits", 0), ("digits", 1), ("squares", 0)]


def test_a_grid_that_grows_keeps_its_names(write):
    small = {c.name: c.config for c in read_grid(write('[grid]\ntask = "digits"\n'))}
    large = {c.name: c.config for c in read_grid(write('[grid]\ntask = ["squares", "digits"]\nseed = [0, 1]\n'))}
    assert large.items() >= small.items()


BAD = {
    "": "[grid]",
    "[grid": "TOML",
    "[fit]\nseed = 1": "found fit",
    "grid = 3": "[grid]",
    "grid = []": "no table",
    "[grid]\nseed = []": "seed is an empty list",
    "[grid]\nsede = 1": "did you mean 'seed'",
    "[grid]\nseed = ['a']": "seed",
    "[grid]\nseed = [0, 0]": "the same run",
    "[grid]\nseed = -1": "seed=-1",
    "[grid]\nseed = [[0]]": "seed",
    "[grid]\nout = 'x'": "--out",
    "[grid]\nhost = 3": "host",
    "[grid]\nhost = {a = 1}": "host",
    "[grid]\nprogram = ['frame', 'farme']": "did you mean 'frame'",
    "[grid]\nprogram = 'frame(inti=1)'": "inti",
    "[grid]\nbaselines = ['nothing']": "nothing",
    "[grid]\nepochs = [1, -1]": "epochs=-1",
    f"[grid]\nseed = {list(range(400))}\nbatch-size = {list(range(1, 401))}": "160,000 cells",
    "[grid]\nseed = " + "[" * 9999 + "]" * 9999: "grid.toml",
}


@pytest.mark.parametrize("text", BAD, ids=[words[:20] for words in BAD.values()])
def test_bad_grids_are_refused_in_one_line(write, one_line, text):
    path = write(text)
    with pytest.raises(ConfigError) as error:
        read_grid(path)
    one_line(error, str(path), BAD[text])


def test_a_grid_that_is_not_there(tmp_path, one_line):
    for path in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(ConfigError) as error:
            read_grid(path)
        one_line(error, str(path), "can't be read")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError):
        read_grid(tmp_path / "bytes.toml")


def test_a_sweep_into_a_file_is_refused_at_once(write, tmp_path, capsys):
    grid = write('[grid]\nhost = "linear:40"\ntask = "digits"\nepochs = 1\n')
    for out in (tmp_path / "file", tmp_path / "file" / "runs"):
        (tmp_path / "file").write_text("x")
        assert main(["sweep", str(grid), "--out", str(out)]) == 3
        captured = capsys.readouterr()
        assert captured.out == "" and captured.err.count("\n") == 1 and "is a file" in captured.err


def test_names_of_folders_stay():
    """Runs are found again by them."""
    assert slug("squares(train=2000, test=50)") == "squares_train_2000_test_50"
    assert (
        slug("checkpoint:../a/b-c.safetensors?architecture=timm:x")
        == "checkpoint_.._a_b_c.safetensors_architecture_timm_x"
    )
    assert slug("..") == "x"


def test_cells_need_names_and_folders_of_their_own(tmp_path, one_line):
    one, other = (RunConfig(out=str(tmp_path / name)) for name in "ab")
    with pytest.raises(ConfigError) as error:
        run_cells([Cell("x", one), Cell("x", other)])
    one_line(error, "2 cells are named x")
    with pytest.raises(ConfigError) as error:
        run_cells([Cell("x", one), Cell("y", one)])
    one_line(error, "in the folder")
    with pytest.raises(ConfigError) as error:
        run_cells([Cell("x", one)], executor="lcoal")
    one_line(error, "did you mean 'local'")
    with pytest.raises(ConfigError) as error:
        run_cells([Cell("x", one)], address="10.0.0.1:6379")
    one_line(error, "--executor ray")
    with pytest.raises(ConfigError):
        run_cells([Cell("x", one)], workers=-1)
    assert run_cells([]) == []


def test_the_live_table_shows_what_runs_and_counts_the_rest():
    from rich.console import Console

    from reprogram.cli.sweep import _Table

    table = _Table(3)
    one, other, third = (Cell(name, RunConfig(out=name)) for name in ("[red]one", "other", "third"))
    table(CellEvent(cell=one, state="running", worker="process 7", fraction=0.25, accuracy=0.5))
    table(CellEvent(cell=other, state="already"))
    table(CellEvent(cell=third, state="running", worker="process 8"))
    table(CellEvent(cell=third, state="waiting", error="its worker ended with signal 9"))
    table(CellEvent(cell=third, state="running", worker="process 9", fraction=0.5))
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(table.render())
    shown = console.export_text()
    assert "1 of 3 finished, 0 failed, 2 running" in shown
    (row,) = [line.split() for line in shown.splitlines() if "[red]one" in line]
    assert row == ["[red]one", "process", "7", "25", "%", "0.500"]
    assert "process 9" in shown and "process 8" not in shown
    table(CellEvent(cell=one, state="failed", error="why"))
    table(CellEvent(cell=third, state="finished", accuracy=1.0))
    console.print(table.render())
    assert "2 of 3 finished, 1 failed, 0 running" in console.export_text()


def test_an_option_of_every_cell_that_is_an_axis_is_refused(write, one_line):
    path = write('[grid]\nprecision = ["float32", "bfloat16"]\n')
    with pytest.raises(ConfigError, match=r"--precision: is an axis .*float32, bfloat16") as error:
        read_grid(path, {"precision": "float32"})
    one_line(error)
    (cell,) = read_grid(write('[grid]\nprecision = ["float32"]\n'), {"precision": "bfloat16"})
    assert cell.config.precision == "bfloat16"
