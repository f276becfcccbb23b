"""A batch in microbatches: the mean loss and its gradient, against the whole batch in float64."""

import pytest
import torch

import reprogram
from helpers import random_task, tiny_model
from reprogram.training.losses import loss_of
from reprogram.training.microbatch import mean_loss, usual_number
from reprogram.utils.distributed import ProcessGroup


@pytest.mark.parametrize("num_microbatches", [1, 2, 3, 7, 13, 40])
def test_microbatches_give_the_batch_s_mean_and_its_gradient(num_microbatches):
    task = random_task(n=(13, 4, 4))
    model = tiny_model(task).double()
    parameters = model.learned_parameters()

    def loss_of_microbatch(microbatch):
        assert microbatch.stop > microbatch.start
        return loss_of(model, task.train.images[microbatch], task.train.labels[microbatch], "task")

    whole = loss_of_microbatch(slice(0, 13))
    expected = torch.autograd.grad(whole + 0.1 * parameters[0].square().sum(), parameters)
    loss = mean_loss(loss_of_microbatch, 13, num_microbatches, parameters, ProcessGroup())
    got = torch.autograd.grad(loss + 0.1 * parameters[0].square().sum(), parameters)
    torch.testing.assert_close(loss, whole, rtol=1e-12, atol=0)
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-15)
    with torch.no_grad():
        value = mean_loss(loss_of_microbatch, 13, num_microbatches, parameters, ProcessGroup())
    assert not value.requires_grad
    torch.testing.assert_close(value, whole.detach(), rtol=1e-12, atol=0)


def test_a_run_in_microbatches_is_the_run_but_for_rounding():
    """In float64, and with a label map that is refitted."""
    for label_map in ("first", "iterative"):
        programs = []
        for num_microbatches in (1, 3):
            task = random_task()
            model = tiny_model(task, label_map=label_map).double()
            reprogram.fit(model, task, epochs=3, batch_size=7, num_microbatches=num_microbatches, validations=2)
            programs.append(model.learned_state()["program.weight"])
        assert not torch.equal(*programs)
        torch.testing.assert_close(*programs, rtol=1e-9, atol=1e-12)


def test_no_microbatch_is_refused(one_line):
    task = random_task()
    with pytest.raises(reprogram.ConfigError) as error:
        reprogram.fit(tiny_model(task), task, epochs=1, num_microbatches=0)
    one_line(error, "num_microbatches=0")


@pytest.mark.parametrize(
    ("batch_size", "processes", "num_microbatches"),
    [(1, 1, 1), (1, 2, 1), (16, 1, 1), (16, 2, 2), (16, 3, 3), (64, 1, 4), (64, 4, 4), (65, 2, 5)],
)
def test_there_are_usually_no_more_microbatches_than_processes_and_caches_need(batch_size, processes, num_microbatches):
    assert usual_number(batch_size, processes, torch.device("cpu")) == num_microbatches


def test_a_gpu_computes_a_batch_in_one_microbatch():
    assert usual_number(64, 1, torch.device("cuda")) == 1
