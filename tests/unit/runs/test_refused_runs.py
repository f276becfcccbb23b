"""A run that is refused before it has learned anything leaves nothing behind; one that was begun keeps what it has."""

import pytest

from helpers_runs import cli
from reprogram.errors import BudgetError, ConfigError
from reprogram.runs.config import RunConfig
from reprogram.runs.folder import RunFolder
from reprogram.runs.index import RunIndex, recorded
from reprogram.trackers.tensorboard import Tensorboard

HOST = "linear(size=16, num_classes=12)"
LABELS_ALONE = f"restricted:({HOST})?access=label"
REFUSED = {
    "no gradient": ["--host", LABELS_ALONE, "--learner", "adam"],
    "no gradient of the loss": ["--host", HOST, "--loss", "leave-one-out"],
    "too few queries": ["--host", HOST, "--queries", "1"],
    "too few requests": ["--host", HOST, "--requests", "1"],
    "no lower bound": ["--host", HOST, "--loss", "host", "--label-map", "linear", "--images", "10"],
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_refused_run_leaves_no_folder(case, tmp_path):
    out = tmp_path / "runs" / "deep" / "refused"
    code, _, err = cli("fit", "--task", "digits", *REFUSED[case], "--out", out, "--quiet", "--threads", 1)
    assert code == 3 and err.count("\n") == 1
    assert not out.exists() and RunIndex(out.parent).runs() == []


@pytest.mark.parametrize("error", [ConfigError("no"), BudgetError("too little")])
@pytest.mark.parametrize("name", ["", "checkpoint.safetensors", "history.jsonl", "a note of mine"])
def test_what_else_is_in_the_folder_stays(error, name, tmp_path):
    run = RunFolder(tmp_path / "run")
    with pytest.raises(type(error)), run.owned(), recorded(run, RunConfig(), pytest.fail):
        if name:
            (run.path / name).write_bytes(b"{}")
        raise error
    assert run.path.exists() == bool(name)
    assert [record["state"] for record in RunIndex(tmp_path).runs()] == (["failed"] if name else [])


def test_a_refused_run_that_was_tracked_leaves_no_folder(tmp_path, monkeypatch):
    def begin(tracker, run):
        (run.folder / "tensorboard").mkdir()
        (run.folder / "tensorboard" / "events.out.tfevents.1.host.2.0").touch()
        return "the id"

    monkeypatch.setattr(Tensorboard, "begin", begin)
    monkeypatch.setattr(Tensorboard, "check", lambda tracker: None)
    monkeypatch.setattr(Tensorboard, "where", lambda tracker: "")
    monkeypatch.setattr(Tensorboard, "end", lambda tracker, failed: None)
    command = ("fit", "--task", "digits", "--out", tmp_path / "run", "--quiet", "--track", "tensorboard")
    for case in ("no gradient", "no gradient of the loss", "too few queries"):
        assert cli(*command, *REFUSED[case], "--threads", 1)[0] == 3
        assert not (tmp_path / "run").exists()


def test_other_files_beside_those_of_trackers_stay(tmp_path):
    run = RunFolder(tmp_path / "run")
    with pytest.raises(ConfigError), run.owned(), recorded(run, RunConfig(), pytest.fail):
        run.events.mkdir()
        (run.events / "a note of mine").touch()
        raise ConfigError("no")
    assert [path.name for path in run.events.iterdir()] == ["a note of mine"]
