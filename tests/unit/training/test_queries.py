"""The budget of queries: never exceeded, spent well, and the same after an interruption."""

import itertools
from types import SimpleNamespace

import pytest
import torch

import reprogram
from helpers import random_task
from reprogram import BudgetError, Host, Reprogrammed
from reprogram.learners.adam import Adam
from reprogram.training.options import FitOptions
from reprogram.training.queries import QueryBudget


def counting_host(asked):
    """A host of 16 labels that only answers, and that counts by itself."""
    weight = torch.randn(3 * 12 * 12, 16, generator=torch.Generator().manual_seed(0))

    def classify(images):
        asked.append(len(images))
        return images.flatten(1) @ weight

    host = Host.wrap(classify, size=12, access="label", name="counting")
    asked.clear()
    return host


def model_of(host, task, label_map="first"):
    return Reprogrammed.build(host, task, canvas="centre", program="frame", label_map=label_map)


@pytest.mark.parametrize("learner", ["spsa", "snes(population=7)", "rgf(directions=3)"])
@pytest.mark.parametrize("label_map", ["first", "frequency"])
def test_never_exceeded_and_nearly_all_of_it_is_spent(learner, label_map):
    task, asked = random_task(), []
    host = counting_host(asked)
    step = {"spsa": 2, "snes(population=7)": 7, "rgf(directions=3)": 4}[learner] * 8
    for queries in (400, 401, 457):
        asked.clear()
        host.meter.calls = host.meter.images = 0
        result = reprogram.fit(
            model_of(host, task, label_map), task, learner=learner, queries=queries, batch_size=8, validations=4
        )
        spent = sum(asked)
        # What a killed process may have under way is kept, at the most: all images of the map's fit, or a validation's.
        kept = 40 if label_map == "frequency" else len(task.validation)
        assert queries - step - len(task.validation) - kept - 8 < spent <= queries
        assert host.meter.images == sum(asked), "the meter is the host's own count"
        assert result.history[-1]["step"] > 0 and host.meter.limit is None


@pytest.mark.parametrize("queries", [1, 7, 16])
def test_too_small_a_budget_asks_for_nothing(queries):
    task, asked = random_task(), []
    with pytest.raises(BudgetError, match=rf"queries={queries} is less than .* images that the shortest run asks for"):
        reprogram.fit(model_of(counting_host(asked), task), task, learner="spsa", queries=queries, batch_size=8)
    assert not asked


@pytest.mark.parametrize("queries", [0, -5])
def test_a_budget_is_positive(queries):
    task = random_task()
    with pytest.raises(BudgetError, match="queries="):
        reprogram.fit(model_of(counting_host([]), task), task, learner="spsa", queries=queries)


@pytest.mark.parametrize(
    "learner", ["spsa-gc", "snes(race=2.0)", "nes(pairs=2)", "rgf(directions=3)", "cma(reliability=0.9, race=1.5)"]
)
def test_an_interrupted_run_goes_on_to_the_same_program_with_the_same_bill(tmp_path, learner):
    task, asked = random_task(), []
    options = {"learner": learner, "queries": 900, "batch_size": 8, "validations": 3, "checkpoint_every": "1"}
    whole = model_of(counting_host(asked), task)
    reprogram.fit(whole, task, **options)
    bill = sum(asked)

    class StopError(Exception):
        pass

    steps = itertools.count()

    def stop(_):
        if next(steps) == 3:
            raise StopError

    first, again = model_of(counting_host(asked), task), None
    with pytest.raises(StopError):
        reprogram.fit(first, task, checkpoint=tmp_path / "state", on_progress=stop, **options)
    before = sum(asked)
    second_count = []
    again = model_of(counting_host(second_count), task)
    reprogram.fit(again, task, checkpoint=tmp_path / "state", **options)
    assert before + sum(second_count) == bill
    assert torch.equal(again.program.weight, whole.program.weight)


def test_gradient_learners_have_the_budget_too():
    task = random_task()
    host = Host.wrap(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 12 * 12, 16)), size=12)
    before = host.meter.images
    reprogram.fit(model_of(host, task), task, queries=300, batch_size=8, validations=3)
    assert 200 < host.meter.images - before <= 300


def test_several_processes_are_refused():
    """Each would count its own images alone."""
    task = random_task()
    model = model_of(counting_host([]), task)
    validator = SimpleNamespace(group=SimpleNamespace(size=2), split=task.validation)
    options = FitOptions(queries=900)
    with pytest.raises(reprogram.ConfigError, match="use one process"):
        QueryBudget.of_run(model, Adam(Adam.Config()), validator, options, len(task.train))


def test_a_learner_that_needs_gradients_is_refused():
    task = random_task()
    with pytest.raises(reprogram.ConfigError, match="needs gradient access"):
        reprogram.fit(model_of(counting_host([]), task), task, learner="adam", epochs=1)


def test_a_run_in_which_nothing_can_be_learned_is_told_so_before_its_learner_is_judged():
    model = reprogram.Reprogrammed.build(counting_host([]), random_task(), program="none")
    with pytest.raises(
        reprogram.ConfigError, match="nor the label map 'first' has anything to learn; take a label map"
    ):
        reprogram.fit(model, random_task(), learner="adam", epochs=1)
