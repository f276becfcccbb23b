"""A run that is taken up from its checkpoint is the run that was never interrupted."""

import os
import signal

import pytest
import torch

import reprogram
from helpers import random_task, tiny_model
from reprogram.training.checkpoint import Checkpoint


@pytest.mark.parametrize("change", [{"epochs": 9}, {"validations": 3}, {"seconds": 5.0}, {"batch_size": 9}])
def test_another_setting_is_refused_by_name(tmp_path, change, one_line):
    task = random_task()
    reprogram.fit(tiny_model(task), task, checkpoint=tmp_path / "c", **ARGUMENTS)
    with pytest.raises(reprogram.ConfigError) as error:
        reprogram.fit(tiny_model(task), task, checkpoint=tmp_path / "c", **{**ARGUMENTS, **change})
    one_line(error, f"another {next(iter(change)).replace('_', ' ')}")


def result_of(model, fitted):
    rows = [{key: value for key, value in row.items() if key != "seconds"} for row in fitted.history]
    return {k: v.tolist() for k, v in model.learned_state().items()}, rows, fitted.best_step, fitted.images_seen


def test_fit_is_a_function_of_its_seed():
    task = random_task()
    results = []
    for seed in (0, 0, 1):
        model = tiny_model(task)
        results.append(result_of(model, reprogram.fit(model, task, epochs=2, batch_size=8, seed=seed)))
        torch.rand(7)  # The process's random state has no say.
    assert results[0] == results[1] != results[2]


class StopError(Exception):
    pass


ARGUMENTS = {"epochs": 3, "batch_size": 8, "validations": 6, "seed": 2}


@pytest.fixture(scope="module")
def uninterrupted():
    task, model = random_task(), tiny_model()
    return result_of(model, reprogram.fit(model, task, **ARGUMENTS))


@pytest.mark.parametrize("at", [1, 2, 3, 4, 5])
def test_resumed_at_any_validation_is_the_same_run(uninterrupted, tmp_path, at):
    task = random_task()

    def stop(report):
        count.append(report.validation)
        if len({id(v) for v in count if v}) == at:
            raise StopError

    count = []
    with pytest.raises(StopError):
        reprogram.fit(tiny_model(task), task, checkpoint=tmp_path / "c", on_progress=stop, **ARGUMENTS)
    model = tiny_model(task)
    model.program.weight.data.normal_()  # What the model held has no say.
    fitted = reprogram.fit(model, task, checkpoint=tmp_path / "c", **ARGUMENTS)
    assert result_of(model, fitted) == uninterrupted
    assert model.host.meter.images >= 3 * 40 + 6 * 12


def test_averages_and_a_map_that_follows_are_resumed(tmp_path):
    """Interrupted at every third step: their memory is part of the state."""
    task = random_task()
    parts = {"program": "frame", "label_map": "discriminant(images=8)"}
    arguments = {**ARGUMENTS, "learner": "adam(ema=0.9)"}
    whole = tiny_model(task, **parts)
    expected, calls = result_of(whole, reprogram.fit(whole, task, **arguments)), 0

    def stop(report):
        nonlocal calls
        calls += 1
        if calls % 3 == 0:
            signal.raise_signal(signal.SIGINT)

    while True:
        model = tiny_model(task, **parts)
        try:
            fitted = reprogram.fit(model, task, checkpoint=tmp_path / "c", on_progress=stop, **arguments)
            break
        except KeyboardInterrupt:
            pass
    assert calls > 9
    assert result_of(model, fitted) == expected


def test_what_an_earlier_version_counted_otherwise_is_refused_in_one_line(tmp_path, one_line):
    """Two maps keep two matrices where they kept one; a run that was interrupted then can't be taken up."""
    task, path = random_task(), tmp_path / "c"

    def stop(report):
        signal.raise_signal(signal.SIGINT)

    def run(**more):
        model = tiny_model(task, program="frame", label_map="evidence-bayes(images=8)")
        return reprogram.fit(model, task, checkpoint=path, loss="task", **more, **ARGUMENTS)

    with pytest.raises(KeyboardInterrupt):
        run(on_progress=stop)
    tensors, record = Checkpoint(path).load()
    tensors["heard/said"] = tensors["heard/said"][0].clone()
    Checkpoint(path).save(tensors, record)
    with pytest.raises(reprogram.ConfigError) as error:
        run()
    one_line(error, str(path), "an earlier version", "label map evidence-bayes", "start elsewhere")


def test_resumed_again_and_again_is_the_same_run(uninterrupted, tmp_path):
    """Interrupted by a signal at every step, in the middle of epochs and between validations."""
    task, steps = random_task(), 0
    while True:
        model = tiny_model(task)
        try:
            fitted = reprogram.fit(
                model,
                task,
                checkpoint=tmp_path / "c",
                on_progress=lambda report: signal.raise_signal(signal.SIGINT),
                **ARGUMENTS,
            )
            break
        except KeyboardInterrupt:
            steps += 1
            assert steps < 40
    assert steps >= 14
    assert result_of(model, fitted) == uninterrupted


@pytest.mark.parametrize("number,raised", [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_signals_save_first_and_handlers_come_back(tmp_path, number, raised):
    task, handlers = random_task(), [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]

    def interrupt(report):
        if report.images == 32:
            os.kill(os.getpid(), number)

    with pytest.raises(raised) as error:
        reprogram.fit(tiny_model(task), task, checkpoint=tmp_path / "c", on_progress=interrupt, **ARGUMENTS)
    if raised is SystemExit:
        assert error.value.code == 143
    assert Checkpoint(tmp_path / "c").load()[1]["state"]["images"] == 32
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert {p.name for p in tmp_path.iterdir()} <= {"c", "c.previous"}


def test_a_finished_checkpoint_gives_the_same_again(uninterrupted, tmp_path):
    task = random_task()
    reprogram.fit(tiny_model(task), task, checkpoint=tmp_path / "c", **ARGUMENTS)
    model = tiny_model(task)
    fitted = reprogram.fit(model, task, checkpoint=tmp_path / "c", **ARGUMENTS)
    assert result_of(model, fitted) == uninterrupted
    assert fitted.validation.accuracy == reprogram.evaluate(model, task.validation).accuracy


def damage_file(path, damage):
    raw = path.read_bytes()
    if damage == "folder":
        path.unlink()
        path.mkdir()
    elif damage == "missing":
        path.unlink()
    elif damage == "one bit":
        path.write_bytes(raw[:-5] + bytes([raw[-5] ^ 4]) + raw[-4:])
    else:
        path.write_bytes({"truncated": raw[: len(raw) // 2], "empty": b"", "text": b"hello " * 99}[damage])


def interrupted(path, task):
    """A checkpoint and the one before it, of a run in its middle."""

    def stop(report):
        if report.images >= 64:
            raise StopError

    with pytest.raises(StopError):
        reprogram.fit(tiny_model(task), task, checkpoint=path, checkpoint_every=1, on_progress=stop, **ARGUMENTS)
    return Checkpoint(path)


@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "one bit", "missing"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(uninterrupted, tmp_path, damage):
    task = random_task()
    both = interrupted(tmp_path / "c", task)
    damage_file(both.path, damage)
    model = tiny_model(task)
    assert result_of(model, reprogram.fit(model, task, checkpoint=both.path, **ARGUMENTS)) == uninterrupted


@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "one bit", "folder"])
def test_two_damaged_checkpoints_are_refused(tmp_path, damage, one_line):
    task = random_task()
    both = interrupted(tmp_path / "c", task)
    damage_file(both.path, damage)
    damage_file(both.previous, damage)
    with pytest.raises(reprogram.DataError) as error:
        reprogram.fit(tiny_model(task), task, checkpoint=both.path, **ARGUMENTS)
    one_line(error, str(both.path))


def test_another_models_checkpoint_is_refused(tmp_path, one_line):
    task = random_task()
    interrupted(tmp_path / "c", task)
    with pytest.raises(reprogram.ConfigError) as error:
        reprogram.fit(tiny_model(task, size=20), task, checkpoint=tmp_path / "c", **ARGUMENTS)
    one_line(error, "another host")
