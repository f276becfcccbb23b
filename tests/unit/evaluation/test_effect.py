"""What a program adds to the scores: the same for every image on a linear host, as algebra says."""

import pytest
import torch
from torch import nn

import reprogram
from helpers import random_task
from reprogram.evaluation.effect import IMAGES, program_effect

SIZE = 24
LINEAR = "linear(size=24, num_classes=16)"


def model_on(host, task, **components):
    model = reprogram.Reprogrammed.build(host, task, **components)
    with torch.no_grad():
        for parameter in model.program.parameters():
            parameter.normal_(generator=torch.Generator().manual_seed(1))
    return model


@pytest.fixture
def task():
    return random_task()


def test_on_a_linear_host_it_is_a_constant(task):
    model = model_on(LINEAR, task)
    effect = program_effect(model, task.test.images)
    weight = model.host.net[1].weight.double()
    # The program's pixels, normalised as the host does, are all that the scores get beside A x + b.
    framed = model.program(model.canvas(task.test.images[:1])).dense().double()
    bare = model.canvas(task.test.images[:1]).dense().double()
    expected = ((framed - bare) / model.host.std.double()).flatten(1) @ weight.T
    found = (model.host_scores(task.test.images) - model.host(model.canvas(task.test.images))).double()
    assert torch.allclose(found, expected.expand_as(found), atol=1e-4)
    assert effect["spread"] < 1e-4 and effect["n"] == min(IMAGES, len(task.test))


@pytest.mark.parametrize(("slope", "constant"), [(1.0, True), (0.9, False), (0.0, False)])
def test_bent_hosts_add_something_else_to_every_image(task, slope, constant):
    host = f"two-layer(size={SIZE}, width=32, num_classes=16, slope={slope})"
    assert (program_effect(model_on(host, task), task.test.images)["spread"] < 1e-3) is constant


def test_a_module_of_ones_own_is_found_to_be_linear_too(task):
    torch.manual_seed(0)
    module = nn.Sequential(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(3 * 12 * 12, 16)).eval()
    host = reprogram.Host.wrap(module, size=SIZE, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    assert program_effect(model_on(host, task), task.test.images)["spread"] < 1e-4


def test_nothing_is_said_where_there_is_nothing_to_compare(task):
    assert program_effect(model_on(LINEAR, task, program="none", label_map="linear"), task.test.images) is None
    same = task.test.images[:1].expand(5, -1, -1, -1)
    assert program_effect(model_on(LINEAR, task), same) is None
