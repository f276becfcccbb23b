"""A batch in parts: the mean loss and its gradient, against the whole batch in float64."""

import pytest
import torch

import reprogram
from helpers import random_task, tiny_model
from reprogram.distributed import Group
from reprogram.losses import loss_of
from reprogram.parts import mean_loss, usual_number


@pytest.mark.parametrize("num_parts", [1, 2, 3, 7, 13, 40])
def test_parts_give_the_batch_s_mean_and_its_gradient(num_parts):
    task = random_task(n=(13, 4, 4))
    model = tiny_model(task).double()
    parameters = model.learned_parameters()

    def loss_of_part(part):
        assert part.stop > part.start
        return loss_of(model, task.train.images[part], task.train.labels[part], "task")

    whole = loss_of_part(slice(0, 13))
    expected = torch.autograd.grad(whole + 0.1 * parameters[0].square().sum(), parameters)
    loss = mean_loss(loss_of_part, 13, num_parts, parameters, Group())
    got = torch.autograd.grad(loss + 0.1 * parameters[0].square().sum(), parameters)
    torch.testing.assert_close(loss, whole, rtol=1e-12, atol=0)
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-15)
    with torch.no_grad():
        value = mean_loss(loss_of_part, 13, num_parts, parameters, Group())
    assert not value.requires_grad
    torch.testing.assert_close(value, whole.detach(), rtol=1e-12, atol=0)


def test_a_run_in_parts_is_the_run_but_for_rounding():
    """In float64, and with a label map that listens."""
    for label_map in ("first", "iterative"):
        programs = []
        for parts in (1, 3):
            task = random_task()
            model = tiny_model(task, label_map=label_map).double()
            reprogram.fit(model, task, epochs=3, batch_size=7, parts=parts, validations=2)
            programs.append(model.learned_state()["program.weight"])
        assert not torch.equal(*programs)
        torch.testing.assert_close(*programs, rtol=1e-9, atol=1e-12)


def test_no_part_is_refused(one_line):
    task = random_task()
    with pytest.raises(reprogram.ConfigError) as error:
        reprogram.fit(tiny_model(task), task, epochs=1, parts=0)
    one_line(error, "parts=0")


@pytest.mark.parametrize(
    ("batch_size", "processes", "parts"),
    [(1, 1, 1), (16, 1, 2), (16, 2, 2), (16, 3, 3), (64, 1, 4), (64, 4, 4), (65, 2, 5)],
)
def test_the_usual_number_of_parts_depends_on_processes_only_where_there_are_more(batch_size, processes, parts):
    assert usual_number(batch_size, processes, torch.device("cpu")) == parts


def test_a_gpu_computes_a_batch_in_one_part():
    assert usual_number(64, 1, torch.device("cuda")) == 1
