"""Expectation over transformation: the gradient is the mean over draws, and each draw is asked for."""

import pytest
import torch

import reprogram
from reprogram.learners.base import Progress
from reprogram.registry import configure


class Drawn:
    """A loss whose target moves with each call: 0, 1, 2, ..."""

    num_images, whole_batch = 3, False

    def __init__(self, parameter):
        self.parameter, self.calls = parameter, 0

    def __call__(self):
        self.calls += 1
        return (self.parameter - (self.calls - 1)).square().sum() / 2


def step(spec):
    variant, config = configure("learners", spec)
    learner, parameter = variant(config), torch.nn.Parameter(torch.zeros(2))
    learner.start([parameter])
    objective = Drawn(parameter)
    loss = learner.step(objective, Progress(fraction=0.0, epoch=0))
    return parameter.detach(), objective.calls, loss


def test_a_step_follows_the_mean_gradient_of_its_draws():
    """Targets 0, 1, 2, 3: mean 1.5, so a step of 0.1 goes to 0.15; the loss is the mean of 0, 1/2, 2, 9/2, twice."""
    found, calls, loss = step("eot(learner='sgd(learning_rate=0.1, momentum=0.0)', samples=4)")
    torch.testing.assert_close(found, torch.full((2,), 0.15))
    assert calls == 4 and loss == pytest.approx(3.5)


def test_the_host_is_asked_for_each_draw(digits):
    host = reprogram.load_host("defended(host='linear:12', by='random-padding')")
    model = reprogram.Reprogrammed.build(host, digits)
    options = {"images": 32, "batch_size": 16, "validations": 1, "validation_images": 20}
    fitted = reprogram.fit(model, digits, learner="eot(samples=3)", **options)
    assert fitted.images_seen == 32 and fitted.queries == 3 * 32 + 20


@pytest.mark.parametrize("inner", ["snes", "none", "eot"])
def test_only_learners_that_follow_gradients(inner, one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        step(f"eot(learner={inner!r})")
    one_line(error, "follows gradients")
