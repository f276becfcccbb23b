"""Runs followed in tools: what these are told, that a run never depends on them, and what each one has kept."""

import json
import random
import struct

import numpy as np
import pytest
import torch
from PIL import Image

import reprogram
from helpers import random_task, tiny_model
from helpers_runs import cli
from reprogram.programfile.card import folder_of
from reprogram.programfile.pictures import map_picture, program_picture, weight_matrix
from reprogram.runs.tracking import summary_of
from reprogram.trackers.base import Tracker

HOST = "linear(size=16, num_classes=12)"
FIT = ("fit", "--host", HOST, "--task", "digits(seed=0)", "--epochs", "2", "--validations", "4", "--baselines")
FIT += ("map-alone", "--test-images", "50", "--quiet")


class Recorder(Tracker):
    """Keeps what it is told."""

    def __init__(self, fails_at=()):
        super().__init__()
        self.told, self.fails_at = [], fails_at

    def _keep(self, what, *values):
        random.random(), np.random.rand(), torch.rand(1)
        self.told.append((what, *values))
        print("noise of a tool")
        if what in self.fails_at:
            raise RuntimeError(f"{what} went\nwrong")

    def begin(self, run):
        self._keep("begin", run)
        return "the id"

    def numbers(self, values, step):
        self._keep("numbers", values, step)

    def picture(self, name, pixels, step):
        self._keep("picture", name, pixels, step)

    def result(self, values, document, step):
        self._keep("result", values, document, step)

    def end(self, *, failed):
        self._keep("end", failed)


def fitted(*trackers):
    """The learned numbers of a model that the trackers followed, and what was said."""
    task, said = random_task(), []
    model = tiny_model(task, label_map="frequency")
    with reprogram.Tracking(trackers, model, name="a", say=said.append) as tracking:
        result = reprogram.fit(model, task, epochs=4, batch_size=8, validations=4, on_progress=tracking.on_progress)
        tracking.finish({"test": reprogram.evaluate(model, task).to_json()})
    return model.learned_state(), said, result


def test_a_tool_is_told_losses_validations_pictures_and_the_result(capsys):
    recorder = Recorder()
    _, said, result = fitted(recorder)
    names = [what for what, *_ in recorder.told]
    assert (names[0], names[-2:]) == ("begin", ["result", "end"]) and recorder.told[-1] == ("end", False)
    validations = [(v["validation/accuracy"], step) for what, v, step in
                   (t for t in recorder.told if t[0] == "numbers") if "validation/accuracy" in v]  # fmt: skip
    assert validations == [(row["validation_accuracy"], row["images"]) for row in result.history]
    assert any("learning/loss" in t[1] and "learning/images_per_s" in t[1] for t in recorder.told if t[0] == "numbers")
    pictures = [t for t in recorder.told if t[0] == "picture"]
    assert {t[1] for t in pictures} == {"program", "label_map"}
    programs = [t[2] for t in pictures if t[1] == "program"]
    assert len(programs) == 4 and not np.array_equal(programs[0], programs[-1])
    assert recorder.told[-2][1]["test/accuracy"] == recorder.told[-2][2]["test"]["accuracy"]
    captured = capsys.readouterr()
    assert "noise" not in captured.out and "noise" in captured.err and said == ["tracked in test-tracking"]


def named(tool, fails_at=()):
    """A recorder of another name."""
    return type(tool, (Recorder,), {"name": classmethod(lambda cls: tool), "__doc__": "A tool."})(fails_at)


def test_a_tool_that_fails_loses_neither_the_run_nor_another_tool():
    state, _, _ = fitted()
    broken = [named(what, (what,)) for what in ("begin", "numbers", "picture", "result", "end")]
    sound = named("sound")
    tracked, said, _ = fitted(*broken, sound)
    assert all(torch.equal(state[name], tracked[name]) for name in state)
    warnings = [line for line in said if "warning" in line]
    assert len(warnings) == 5 and all("\n" not in line and "the run goes on" in line for line in warnings)
    assert sound.told[-1] == ("end", False) and any(t[0] == "result" for t in sound.told)
    assert [tool.told[-1][0] for tool in broken] == ["begin", "numbers", "picture", "result", "end"]


def test_a_run_that_goes_on_is_told_nothing_twice(tmp_path):
    first, second = Recorder(), Recorder()
    task = random_task()

    class StopError(Exception):
        pass

    def learn(recorder, stop_after):
        model = tiny_model(task)
        with reprogram.Tracking([recorder], model, folder=tmp_path, say=lambda _: None) as tracking:

            def watch(progress):
                tracking.on_progress(progress)
                if len(progress.history) >= stop_after:
                    raise StopError

            reprogram.fit(
                model, task, epochs=4, batch_size=8, validations=4, on_progress=watch, checkpoint=tmp_path / "state"
            )

    with pytest.raises(StopError):
        learn(first, 2)
    learn(second, 99)
    assert first.told[-1] == ("end", True) and second.told[0][1].id == "the id"
    steps = [t[2] for r in (first, second) for t in r.told if t[0] == "numbers" and "validation/accuracy" in t[1]]
    assert steps == sorted(set(steps)) and len(steps) == 4


def test_pictures_show_what_the_map_holds():
    model = tiny_model(label_map="many-to-one(labels_per_class=3)")
    matrix = weight_matrix(model.label_map)
    assert matrix.shape == (4, 24) and np.allclose(matrix.sum(axis=1), 1) and (matrix > 0).sum() == 12
    picture = map_picture(model.label_map)
    cells = picture.reshape(4, -1, 24, picture.shape[1] // 24, 3)
    coloured = (cells != 255).any(axis=(1, 3, 4))
    assert np.array_equal(coloured, matrix > 0)
    assert program_picture(model).shape == (16, 16, 3)


def test_numbers_of_a_result():
    result = {"test": {"accuracy": 0.5, "n": 10, "interval": [0.2, 0.8]}, "baselines": {"chance": {"accuracy": 0.1}}}
    result |= {"program_worth": {"difference": -0.1, "n": 10, "interval": [-0.3, 0.1]}, "images_seen": 7}
    wanted = {"test/accuracy": 0.5, "test/n": 10, "test/low": 0.2, "test/high": 0.8, "baselines/chance": 0.1}
    wanted |= {"program_worth/difference": -0.1, "program_worth/n": 10, "program_worth/low": -0.3}
    assert summary_of(result) == {**wanted, "program_worth/high": 0.1, "images_seen": 7}


def test_what_can_not_work_is_refused_before_anything_is_learned(tmp_path, monkeypatch):
    code, _, err = cli(*FIT, "--track", "tensorbord", "--out", tmp_path / "a")
    assert code == 3 and "did you mean 'tensorboard'" in err and not (tmp_path / "a").exists()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    code, _, err = cli(*FIT, "--track", "mlflow", "--out", tmp_path / "a")
    assert code == 3 and "pip install 'reprogram[mlflow]'" in err and not (tmp_path / "a").exists()
    monkeypatch.undo()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    places = {"mlflow(uri='https://elsewhere.example')": "elsewhere.example", "wandb(mode='online')": "api.wandb.ai"}
    monkeypatch.setenv("TRACKIO_SERVER_URL", "https://third.example/?write_token=x")
    for spec, host in {**places, "trackio": "third.example"}.items():
        with pytest.raises(reprogram.ConfigError, match=f"--i-am-authorised.*{host}"):
            reprogram.Tracking([spec])
    monkeypatch.delenv("DATABRICKS_HOST", raising=False)
    for uri in ("databricks", "databricks-uc", "databricks://profile"):
        with pytest.raises(reprogram.ConfigError, match=f"{uri} is a workspace elsewhere; set DATABRICKS_HOST"):
            reprogram.Tracking([f"mlflow(uri='{uri}')"])
    monkeypatch.setenv("DATABRICKS_HOST", "https://acme.cloud.example")
    with pytest.raises(reprogram.ConfigError, match=r"--i-am-authorised.*acme\.cloud\.example"):
        reprogram.Tracking(["mlflow(uri='databricks')"])


def test_tools_and_cards_are_told_no_folder(tmp_path, monkeypatch):
    from safetensors.torch import save_file

    from reprogram.runs import execute

    images, weights, recorder = tmp_path / "acme merger/secret/images", tmp_path / "alice/w.safetensors", Recorder()
    for label in ("a", "b"):
        (images / label).mkdir(parents=True)
        for number in range(20):
            pixels = np.random.default_rng(number).integers(0, 256, (8, 8), dtype=np.uint8)
            Image.fromarray(pixels).save(images / label / f"{number}.png")
    weights.parent.mkdir()
    net = reprogram.load_host("timm:test_resnet(pretrained=False, num_classes=4, size=32)").net
    save_file({name: value.contiguous() for name, value in net.state_dict().items()}, weights)
    host = f"checkpoint:{weights}?architecture=timm:test_resnet&num_classes=4&size=32"
    monkeypatch.setattr(execute, "trackers_of", lambda specs: [recorder])
    monkeypatch.chdir(tmp_path / "alice")
    fit = ("fit", "--host", host, "--task", f"folder:{images}?size=8", "--epochs", "1", "--baselines", "none")
    monkeypatch.setattr("sys.argv", ["reprogram", *fit])
    code, _, err = cli(*fit, "--quiet")
    assert code == 0, err
    run = next((tmp_path / "alice/runs").glob("*/result.json")).parent
    assert {what for what, *_ in recorder.told} == {"begin", "numbers", "picture", "result", "end"}
    begun, document = recorder.told[0][1], next(t for t in recorder.told if t[0] == "result")[2]
    assert begun.folder.resolve() == run.resolve() and begun.config["task"] == "folder:images?size=8"
    assert begun.config["host"].startswith("checkpoint:w.safetensors?architecture=timm:test_resnet")
    written = json.loads((run / "result.json").read_text())
    assert "secret" in written["command"] and {**written, "command": ""} == {**document, "command": ""}
    card = folder_of(run)["README.md"].decode()
    assert "command: reprogram fit --host" in card
    for told in (begun.name, str(begun.config), json.dumps(document), card):
        assert not [name for name in ("alice", "acme", "merger", "secret", tmp_path.name) if name in told], told


def run_with(tracker, tmp_path):
    """A tracked run beside one that isn't; both have the same program."""
    for name, track in {"plain": (), "run": ("--track", tracker)}.items():
        code, _, err = cli(*FIT, *track, "--out", tmp_path / name)
        assert code == 0 and "warning" not in err, err
    programs = [(tmp_path / name / "program.safetensors").read_bytes() for name in ("plain", "run")]
    assert programs[0] == programs[1]
    history = [json.loads(line) for line in (tmp_path / "run" / "history.jsonl").read_text().splitlines()]
    return [(row["images"], row["validation_accuracy"]) for row in history], json.loads(
        (tmp_path / "run" / "result.json").read_text()
    )


@pytest.mark.judge
def test_tensorboard_has_kept_it(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    history, result = run_with("tensorboard", tmp_path)
    events = accumulator.EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    kept = [(e.step, e.value) for e in events.Scalars("validation/accuracy")]
    assert kept == [(step, pytest.approx(value)) for step, value in history]
    assert events.Scalars("result/test/accuracy")[0].value == pytest.approx(result["test"]["accuracy"])
    assert events.Scalars("result/baselines/map_alone") and events.Scalars("learning/images_per_s")
    assert len(events.Images("program")) == len(history) and len(events.Images("label_map")) >= 1
    code, out, _ = cli("runs", "remove", tmp_path / "run", "--json")
    assert code == 0 and not (tmp_path / "run").exists(), out


@pytest.mark.judge
@pytest.mark.filterwarnings("default")
def test_mlflow_has_kept_it(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.chdir(tmp_path)
    history, result = run_with("mlflow(uri='sqlite:///mlflow.db')", tmp_path)
    client = mlflow.tracking.MlflowClient("sqlite:///mlflow.db")
    run = client.search_runs([client.get_experiment_by_name("reprogram").experiment_id])[0]
    kept = [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, "validation/accuracy")]
    assert kept == [(step, pytest.approx(value)) for step, value in history]
    assert run.data.params["host"] == HOST and run.info.status == "FINISHED" and run.info.run_name == "run"
    assert run.data.metrics["result/test/accuracy"] == pytest.approx(result["test"]["accuracy"])
    names = {a.path for a in client.list_artifacts(run.info.run_id)}
    assert "result.json" in names and len(client.list_artifacts(run.info.run_id, "images")) >= len(history)


def leveldb_records(raw):
    """The records of a W&B file: a head of 7 bytes, then LevelDB's log format, blocks of 32 KiB with fragments."""
    assert raw[:4] == b":W&B"
    at, parts = 7, []
    while at + 7 <= len(raw):
        if 2**15 - at % 2**15 < 7:  # A block's rest that is too short for a fragment's head.
            at += 2**15 - at % 2**15
            continue
        _, length, kind = struct.unpack_from("<IHB", raw, at)
        parts.append(raw[at + 7 : at + 7 + length])
        at += 7 + length
        if kind in (1, 4):  # Whole, or the last fragment.
            yield b"".join(parts)
            parts = []


@pytest.mark.judge
@pytest.mark.filterwarnings("default")
def test_wandb_has_kept_it(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    from wandb.proto import wandb_internal_pb2

    monkeypatch.chdir(tmp_path)
    history, result = run_with("wandb", tmp_path)
    file = next((tmp_path / "wandb").glob("offline-run-*/run-*.wandb"))
    kept, summary = [], {}
    for raw in leveldb_records(file.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(raw)
        row = {i.key or "/".join(i.nested_key): json.loads(i.value_json) for i in record.history.item}
        if "validation/accuracy" in row:
            kept.append((row["images"], row["validation/accuracy"]))
        summary |= {i.key or "/".join(i.nested_key): json.loads(i.value_json) for i in record.summary.update}
    assert kept == [(step, pytest.approx(value)) for step, value in history]
    assert summary["result/test/accuracy"] == pytest.approx(result["test"]["accuracy"])
    assert len(list(file.parent.glob("files/media/images/program*.png"))) == len(history)


@pytest.mark.judge
@pytest.mark.filterwarnings("default")
def test_trackio_has_kept_it(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))  # Trackio reads it when it is imported.
    pytest.importorskip("trackio")
    history, result = run_with("trackio", tmp_path)
    from trackio.sqlite_storage import SQLiteStorage

    rows = SQLiteStorage.get_logs("reprogram", "run")
    kept = [(row["step"], row["validation/accuracy"]) for row in rows if "validation/accuracy" in row]
    assert kept == [(step, pytest.approx(value)) for step, value in history]
    assert [row["result/test/accuracy"] for row in rows if "result/test/accuracy" in row] == [
        pytest.approx(result["test"]["accuracy"])
    ]
    assert sum("program" in row for row in rows) == len(history)
    assert (tmp_path / "trackio" / "reprogram.db").exists()
