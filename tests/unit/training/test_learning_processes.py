"""A run in several processes: the same program and bill as in one, and which runs learn that way."""

import os
import signal
import time

import pytest
import torch

import reprogram
from helpers import random_task, tiny_model
from reprogram.learners.adam import Adam
from reprogram.learners.spsa import SPSA
from reprogram.training.objective import StepObjective
from reprogram.training.options import FitOptions
from reprogram.training.processes import num_processes
from reprogram.training.validation import Validator
from reprogram.utils.forks import can_fork, one_thread

forking = pytest.mark.skipif(not can_fork(), reason="forks can't compute gradients here")
MAPS = ["first", "bayesian(top_fraction=0.5)", "discriminant", "linear"]


@forking
@pytest.mark.parametrize("label_map", MAPS)
def test_any_number_of_processes_comes_to_the_same_bits_and_the_same_bill(label_map):
    task, found = random_task(n=(121, 31, 16)), {}
    for processes in (1, 2, 3):
        model = tiny_model(task, label_map=label_map)
        with one_thread():
            result = reprogram.fit(model, task, epochs=3, batch_size=12, validations=3, parts=4, processes=processes)
        bill = model.host.meter.images, result.queries
        found[processes] = model.learned_state(), bill, result.validation, [row["loss"] for row in result.history]
    state, *same = found[1]
    for other, *others in (found[2], found[3]):
        assert others == same
        assert all(torch.equal(value, other[name]) for name, value in state.items())


@forking
def test_more_processes_than_parts_wait_for_the_others():
    task, programs = random_task(n=(60, 20, 16)), []
    for processes in (1, 3):
        model = tiny_model(task)
        with one_thread():
            reprogram.fit(model, task, epochs=2, batch_size=12, validations=1, parts=1, processes=processes)
        programs.append(model.program.weight)
    assert torch.equal(*programs)


@forking
def test_an_interrupted_run_goes_on_with_another_number_of_processes(tmp_path):
    task, programs, bills = random_task(n=(121, 31, 16)), [], []

    def run(processes, checkpoint, stop_at=None):
        def observe(progress):
            if stop_at is not None and progress.images >= stop_at:
                os.kill(os.getpid(), signal.SIGINT)

        model = tiny_model(task)
        options = {"epochs": 4, "batch_size": 12, "validations": 4}
        with one_thread():
            reprogram.fit(
                model, task, **options, processes=processes, checkpoint=tmp_path / checkpoint, on_progress=observe
            )
        programs.append(model.program.weight)
        bills.append(model.host.meter.images)

    for name, numbers in {"always": (2, 2, 2), "other": (2, 1, 3)}.items():
        for processes, stop_at in zip(numbers, (240, 360, None), strict=True):
            if stop_at is None:
                run(processes, name)
            else:
                with pytest.raises(KeyboardInterrupt):
                    run(processes, name, stop_at)
    run(2, "whole")
    always, other, whole = programs
    assert torch.equal(always, whole) and torch.equal(other, whole) and bills[0] == bills[1]


@forking
def test_time_decides_alike_in_processes_that_take_different_times(monkeypatch):
    task, scores = random_task(n=(60, 40, 16)), Validator.scores

    def slowly(self, *args, **kwargs):
        time.sleep(0.01 * self.group.rank)
        return scores(self, *args, **kwargs)

    monkeypatch.setattr(Validator, "scores", slowly)
    model = tiny_model(task)
    with one_thread():
        result = reprogram.fit(model, task, seconds=1, batch_size=12, validations=40, processes=3)
    assert len(result.history) > 5 and all(0 < row["validation_loss"] < 100 for row in result.history)
    right = model(task.validation.images).argmax(1) == task.validation.labels
    assert int(right.sum()) == result.validation.correct


@forking
@pytest.mark.parametrize("label_map", ["iterative", "discriminant"])
def test_a_process_lost_after_the_gradients_costs_no_byte(label_map, tmp_path, monkeypatch):
    task, programs, inform = random_task(n=(60, 20, 16)), [], StepObjective.inform

    def run(checkpoint):
        model = tiny_model(task, label_map=label_map)
        with one_thread():
            options = {"epochs": 2, "batch_size": 12, "validations": 1, "parts": 2}
            reprogram.fit(model, task, **options, processes=2, checkpoint=tmp_path / checkpoint)
        programs.append(model.learned_state())

    def killed(self, *args):
        calls.append(self)
        if self.maker.group.rank == 1 and len(calls) == 6:
            os.kill(os.getpid(), signal.SIGKILL)
        return inform(self, *args)

    run("whole")
    calls = []
    monkeypatch.setattr(StepObjective, "inform", killed)
    with pytest.raises(reprogram.ProcessLostError):
        run("broken")
    monkeypatch.undo()
    run("broken")
    whole, resumed = programs
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())


@forking
def test_a_run_that_began_in_one_part_goes_on_in_one_process(tmp_path, monkeypatch):
    task = random_task(n=(60, 20, 16))
    options = {"epochs": 2, "batch_size": 12, "validations": 1, "checkpoint": tmp_path / "state"}
    with pytest.raises(KeyboardInterrupt):
        reprogram.fit(tiny_model(task), task, **options, on_progress=lambda _: os.kill(os.getpid(), signal.SIGINT))
    monkeypatch.setattr("reprogram.training.processes.forked", None)
    assert reprogram.fit(tiny_model(task), task, **options, processes=3).images_seen == 120


@pytest.mark.parametrize("processes", [0, -1, 2.5, "x", None])
def test_a_wrong_number_of_processes_is_one_line(processes, one_line):
    task = random_task()
    with pytest.raises(reprogram.ConfigError) as error:
        reprogram.fit(tiny_model(task), task, epochs=1, processes=processes)
    one_line(error, f"processes={processes!r}", "from 1 on")


@forking
@pytest.mark.parametrize(
    ("options", "learner", "expected"),
    [
        ({}, Adam, 4),
        ({"batch_size": 5}, Adam, 2),
        ({"batch_size": 1}, Adam, 1),
        ({"num_microbatches": 3}, Adam, 3),
        ({"num_microbatches": 1}, Adam, 1),
        ({"queries": 5000}, Adam, 1),
        ({"requests": 5000}, Adam, 1),
        ({"loss": "leave-one-out"}, Adam, 1),
        ({}, SPSA, 1),
    ],
)
def test_only_runs_that_come_to_the_same_numbers_and_bill_learn_in_several_processes(options, learner, expected):
    model = tiny_model(random_task())
    assert num_processes(4, model, learner, FitOptions(epochs=1, **options), num_train=100) == expected


def test_a_host_that_only_answers_or_draws_by_chance_is_asked_by_one_process():
    task, options = random_task(), FitOptions(epochs=1)
    for host in ("restricted:(linear:12)?access=scores", "defended:(linear:12)?by=noise(deviation=0.1)"):
        model = reprogram.Reprogrammed.build(host, task, canvas="centre", program="frame", label_map="first")
        assert num_processes(4, model, Adam, options, num_train=100) == 1


@forking
def test_a_task_of_few_images_needs_no_process_more():
    model = tiny_model(random_task())
    assert [num_processes(9, model, Adam, FitOptions(epochs=1), num_train=n) for n in (1, 5, 8, 100)] == [1, 2, 4, 8]


def test_a_run_on_another_device_or_another_system_learns_in_one_process(monkeypatch):
    model = tiny_model(random_task())
    monkeypatch.setattr("reprogram.training.processes.can_fork", lambda: False)
    assert num_processes(4, model, Adam, FitOptions(epochs=1), num_train=100) == 1
