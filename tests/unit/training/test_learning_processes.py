"""A run in several processes: the same program and bill as in one, and which runs learn that way."""

import os
import signal

import pytest
import torch

import reprogram
from helpers import random_task, tiny_model
from reprogram.learners.adam import Adam
from reprogram.learners.spsa import SPSA
from reprogram.training.options import FitOptions
from reprogram.training.processes import num_processes
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
@pytest.mark.parametrize(
    ("options", "learner", "expected"),
    [
        ({}, Adam, 4),
        ({"batch_size": 5}, Adam, 2),
        ({"batch_size": 1}, Adam, 1),
        ({"queries": 5000}, Adam, 1),
        ({"requests": 5000}, Adam, 1),
        ({"loss": "leave-one-out"}, Adam, 1),
        ({}, SPSA, 1),
    ],
)
def test_only_runs_that_come_to_the_same_numbers_and_bill_learn_in_several_processes(options, learner, expected):
    model = tiny_model(random_task())
    assert num_processes(4, model, learner, FitOptions(epochs=1, **options)) == expected


def test_a_host_that_only_answers_or_draws_by_chance_is_asked_by_one_process():
    task, options = random_task(), FitOptions(epochs=1)
    for host in ("restricted:(linear:12)?access=scores", "defended:(linear:12)?by=noise(deviation=0.1)"):
        model = reprogram.Reprogrammed.build(host, task, canvas="centre", program="frame", label_map="first")
        assert num_processes(4, model, Adam, options) == 1


def test_a_run_on_another_device_or_another_system_learns_in_one_process(monkeypatch):
    model = tiny_model(random_task())
    monkeypatch.setattr("reprogram.training.processes.can_fork", lambda: False)
    assert num_processes(4, model, Adam, FitOptions(epochs=1)) == 1
