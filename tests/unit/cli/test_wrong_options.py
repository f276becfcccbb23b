"""What is wrong with an option is one line that names it, also where nothing would have come of it."""

import json
import tomllib
from pathlib import Path

import pytest

from helpers_runs import cli
from reprogram.utils.messages import nearest

FIT = ("fit", "--host", "linear:32", "--task", "digits")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("doctor", "--host", "nope"), "--host is for --verify and --engine, which look at one host; add one of them"),
        (("doctor", "--window", "abc"), "--window is for --verify and --engine"),
        (("doctor", "--download"), "--download is for --verify and --engine"),
        ((*FIT, "--validations", 0), "validations=0; at least 1 is expected"),
        ((*FIT, "--batch-size", 0), "batch_size=0; at least 1 is expected"),
        ((*FIT, "--label-map", "text:/nope"), "'/nope' is no encoder; give"),
        (("sweep", "{grid}", "--threads", 0), "a number from 1 to 1024 is expected"),
        (("sweep", "{twice}"), "batch_size is given twice, as batch-size and batch_size; leave"),
    ],
)
def test_a_line_names_what_is_wrong(arguments, said, tmp_path):
    (tmp_path / "grid.toml").write_text('[grid]\nhost = "linear:32"\ntask = "digits"\n')
    (tmp_path / "twice.toml").write_text("[grid]\nbatch-size = 8\nbatch_size = 9\n")
    paths = {"grid": tmp_path / "grid.toml", "twice": tmp_path / "twice.toml"}
    out_folder = () if arguments[0] == "doctor" else ("--out", tmp_path / "out")
    code, out, err = cli(*(str(argument).format(**paths) for argument in arguments), *out_folder)
    assert (code, out, err.count("\n")) == (3, "", 1) and said in err
    assert not (tmp_path / "out").exists()


def test_a_variable_for_other_verbs_says_nothing_against_doctor(monkeypatch):
    monkeypatch.setenv("REPROGRAM_HOST", "linear:32")
    assert cli("doctor")[0] == 0


def test_doctor_names_every_extra():
    """As pyproject.toml has them, but for those of the project's own tools."""
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    code, out, _ = cli("doctor", "--json")
    tools = {"dev", "docs", "judges"}
    assert code == 0 and json.loads(out)["extras"].keys() == project["optional-dependencies"].keys() - tools


def test_a_list_of_names_says_how_many_it_leaves_out():
    names = [f"{number:03}" for number in range(30)]
    assert nearest("zzz", names) == f"known: {', '.join(names[:20])} and 10 more"
    assert nearest("zzz", names[:20]) == f"known: {', '.join(names[:20])}"
