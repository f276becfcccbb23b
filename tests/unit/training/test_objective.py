"""The two faces of a step's objective: the mean loss with its gradient, and losses of many points without one."""

import pytest
import torch
from torch.nn.utils import parameters_to_vector, vector_to_parameters

import reprogram
from helpers import random_task
from reprogram.training.losses import losses_of
from reprogram.training.objective import BatchObjective
from reprogram.training.options import FitOptions
from reprogram.utils.distributed import ProcessGroup


def made(label_map="first", num_microbatches=3):
    task = random_task()
    model = reprogram.Reprogrammed.build(
        "linear:12", task, canvas="centre", program="frame", label_map=label_map, seed=1
    )
    maker = BatchObjective(model, FitOptions(loss="task"), num_microbatches, ProcessGroup())
    return model, task, maker.of(task.train.take, 11)


def points_of(model, count=3):
    start = parameters_to_vector(model.learned_parameters()).detach()
    return start + torch.randn(count, len(start), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("images", [slice(0, 11), slice(0, 1), slice(4, 9)])
def test_the_losses_are_those_of_each_image_at_each_point(images):
    model, task, objective = made()
    before, points = parameters_to_vector(model.learned_parameters()).detach().clone(), points_of(model)
    found = objective.losses(points, images)
    assert not found.requires_grad and objective.num_images == 11
    assert torch.equal(parameters_to_vector(model.learned_parameters()), before), "the parameters stay as they are"
    batch = task.train.take(images)
    for point, row in zip(points, found, strict=True):
        vector_to_parameters(point, model.learned_parameters())
        torch.testing.assert_close(row, losses_of(model, batch.images, batch.labels, "task").detach())


def test_the_mean_of_the_losses_is_the_objective():
    model, _, objective = made()
    here = parameters_to_vector(model.learned_parameters()).detach()[None]
    loss = objective()
    assert loss.requires_grad
    torch.testing.assert_close(objective.losses(here, slice(0, 11)).mean(), loss.detach())


def test_every_point_costs_its_images_and_a_failure_leaves_the_parameters():
    model, _, objective = made()
    before, start = parameters_to_vector(model.learned_parameters()).detach().clone(), model.host.meter.images
    objective.losses(points_of(model), slice(2, 7))
    assert model.host.meter.images - start == 3 * 5
    model.host.meter.limit = model.host.meter.images + 7
    with pytest.raises(reprogram.BudgetError):
        objective.losses(points_of(model), slice(0, 11))
    assert torch.equal(parameters_to_vector(model.learned_parameters()), before)


def test_a_map_that_follows_steps_is_given_every_answer_and_each_image_counts_once():
    model, task, objective = made("iterative")
    points, labels, counts = points_of(model), task.train.labels[:11], model.label_map.empty_statistics()
    objective.losses(points, slice(0, 4))
    objective.losses(points[1:2], slice(4, 11))  # Two points have left.
    objective.inform(model.label_map, labels)
    for index, last in ((0, 4), (1, 11), (2, 4)):
        vector_to_parameters(points[index], model.learned_parameters())
        with torch.no_grad():
            top = model.host_scores(task.train.images[:last]).argmax(1)
        for image in range(last):
            counts[labels[image], top[image]] += 1 / 3 if image < 4 else 1
    torch.testing.assert_close(model.label_map.statistics, counts)


def test_the_one_answer_of_a_gradient_step_has_no_weight():
    model, task, objective = made("iterative")
    told, model.label_map.on_step = [], lambda *answers: told.append(answers)
    objective().backward()
    objective.inform(model.label_map, task.train.labels[:11])
    ((scores, labels, weights),) = told
    with torch.no_grad():
        torch.testing.assert_close(scores, model.host_scores(task.train.images[:11]))
    assert torch.equal(labels, task.train.labels[:11]) and weights is None


def test_processes_share_the_microbatches_and_sum_what_they_have():
    """Two processes, each of which the other's losses are added to by hand: the bits of one process."""
    model, task, objective = made()
    whole, parts = objective.losses(points_of(model), slice(0, 11)), []

    class Two(ProcessGroup):
        def all_reduce(self, values):
            parts.append(values)
            return values

    for rank in (0, 1):
        maker = BatchObjective(model, FitOptions(loss="task"), 3, Two(rank, 2))
        maker.of(task.train.take, 11).losses(points_of(model), slice(0, 11))
    assert torch.equal(parts[0] + parts[1], whole) and (parts[0] == 0).any()
