"""What isn't finite stops a run before the update, and the best program is kept."""

import pytest
import torch
from torch import nn

import reprogram
from helpers import random_task, tiny_model
from reprogram.learners.adam import Adam
from reprogram.learners.base import Progress
from reprogram.training.checkpoint import Checkpoint


@pytest.mark.parametrize("where", ["loss", "gradient", "square of the gradient"])
def test_what_is_not_finite_stops_before_the_update(where, one_line):
    parameter = nn.Parameter(torch.tensor([1.0, 0.0]))
    built = Adam(Adam.Config())
    built.start([parameter])

    def objective():
        if where == "loss":
            return parameter.sum() * float("nan")
        return parameter.sqrt().sum() if where == "gradient" else parameter.sum() * 1e30

    built.step(lambda: parameter.square().sum(), Progress(fraction=0, epoch=0))
    parameter.data = torch.tensor([1.0, 0.0])
    before = parameter.detach().clone(), {k: v.clone() for k, v in built.state_dict().items()}
    with pytest.raises(reprogram.DataError) as error:
        built.step(objective, Progress(fraction=0, epoch=0))
    one_line(error, "finite")
    assert torch.equal(parameter, before[0])
    assert all(torch.equal(value, before[1][key]) for key, value in built.state_dict().items())


def test_divergence_names_the_step_and_keeps_the_best(tmp_path, one_line):
    """Scores turn to NaN at the seventh training call; the best program before it stays in the model."""
    task = random_task()
    weight = torch.randn(3 * 16 * 16, 6, generator=torch.Generator().manual_seed(0)) / 10
    calls = []

    def classify(x):
        if x.requires_grad and len(x) > 1:
            calls.append(len(x))
        scores = x.flatten(1) @ weight
        return scores * float("nan") if len(calls) == 7 and x.requires_grad else scores

    model = reprogram.Reprogrammed.build(reprogram.Host.wrap(classify, size=16), task)
    with pytest.raises(reprogram.DataError) as error:
        reprogram.fit(model, task, epochs=4, batch_size=8, num_microbatches=1, validations=10)
    one_line(error, "step 6", "training images")
    assert torch.isfinite(model.program.weight).all()
    assert torch.isfinite(reprogram.evaluate(model, task).loss * torch.ones(1)).all()


def test_a_validation_that_is_not_finite_stops_and_names_the_images(tmp_path, one_line):
    """Validation image 5 has no finite scores from the second validation on; the state before is kept."""
    task, calls = random_task(), []
    weight = torch.randn(3 * 16 * 16, 6, generator=torch.Generator().manual_seed(0)) / 10

    def classify(x):
        scores = x.flatten(1) @ weight
        if len(x) == len(task.validation):
            calls.append(1)
            scores[5] *= float("inf") if len(calls) > 1 else 1.0
        return scores

    model = reprogram.Reprogrammed.build(reprogram.Host.wrap(classify, size=16), task)
    with pytest.raises(reprogram.DataError) as error:
        reprogram.fit(model, task, epochs=4, batch_size=8, validations=4, checkpoint=tmp_path / "c")
    one_line(error, "step 10", "validation images [5]")
    assert error.value.details == ("5",)
    tensors, record = Checkpoint(tmp_path / "c").load()
    assert record["state"]["step"] == 10 and len(record["state"]["history"]) == 1
    assert all(bool(torch.isfinite(value).all()) for value in tensors.values() if value.is_floating_point())
    assert torch.equal(model.program.weight, tensors["best/program.weight"])


def test_huge_learning_rates_never_give_invalid_pixels():
    task, model = random_task(), tiny_model()
    reprogram.fit(model, task, learner="adam(learning_rate=1e6)", epochs=1, batch_size=8)
    pixels = model.program(model.canvas(task.test.images)).dense()
    assert torch.isfinite(pixels).all() and pixels.min() >= 0 and pixels.max() <= 1
