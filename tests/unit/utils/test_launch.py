"""Variables of torchrun that are left over in the environment, whole and in part."""

import pytest

from helpers_processes import spawn
from helpers_runs import cli
from reprogram.errors import ConfigError
from reprogram.utils.process import LAUNCHED, launched_rank, launched_size

WHOLE = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29577", "WORLD_SIZE": "2", "RANK": "1"}


@pytest.fixture
def environment(monkeypatch):
    """A function that sets these variables of torchrun and no other."""
    for name in (*LAUNCHED, "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    return lambda variables: [monkeypatch.setenv(*item) for item in variables.items()]


@pytest.mark.parametrize(
    "alone", [{}, {"RANK": "3"}, WHOLE | {"WORLD_SIZE": "1"}, {"MASTER_ADDR": "a"}, {"WORLD_SIZE": ""}]
)
def test_what_names_no_other_process_is_one_process(environment, alone):
    environment(alone)
    assert (launched_size(), launched_rank()) == (1, 0)


def test_torchruns_variables_are_read(environment):
    environment(WHOLE | {"LOCAL_RANK": "1"})
    assert (launched_size(), launched_rank()) == (2, 1)


BAD = [
    {name: value for name, value in WHOLE.items() if name != missing} for missing in WHOLE if missing != "WORLD_SIZE"
]
BAD += [WHOLE | {"WORLD_SIZE": text} for text in ("0", "-2", "two", "1.5", "9" * 5000)]
BAD += [WHOLE | {"RANK": text} for text in ("2", "-1", "", "x")]
BAD += [WHOLE | {"MASTER_PORT": text} for text in ("0", "65536", "http")] + [
    WHOLE | {"LOCAL_RANK": "x"},
    {"WORLD_SIZE": "2"},
]


@pytest.mark.parametrize("variables", BAD)
def test_what_cannot_be_true_is_refused_at_once(environment, one_line, variables):
    environment(variables)
    with pytest.raises(ConfigError) as error:
        launched_size()
    assert "unset" in one_line(error) and all(name in str(error.value) for name in WHOLE)
    code, out, err = cli("fit", "--host", "linear:40", "--out", "nowhere/run")
    assert (code, out, err.count("\n")) == (3, "", 1) and "WORLD_SIZE" in err


def test_a_machine_that_is_not_there_is_named_at_once(tmp_path):
    line = ["fit", "--host", "linear:40", "--images", "16", "--quiet", "--out"]
    process = spawn(*line, tmp_path / "run", env=WHOLE | {"RANK": "1", "MASTER_ADDR": "nowhere.invalid"})
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err.count("\n")) == (3, "", 1) and "nowhere.invalid" in err


def test_others_that_are_not_there_are_named(tmp_path):
    task = "squares(train=160, validation=40, test=60)"
    line = ["fit", "--host", "linear:40", "--task", task, "--images", "16", "--quiet", "--out"]
    process = spawn(*line, tmp_path / "run", env=WHOLE | {"RANK": "0"})
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out, err.count("\n")) == (3, "", 1), err
    assert "WORLD_SIZE='2'" in err and "torchrun" in err and not (tmp_path / "run").exists()
