"""The loop of `fit`: order, budgets, validations, and what it refuses."""

import math

import pytest
import torch

import reprogram
from helpers import random_task, tiny_model
from reprogram.utils.seeding import epoch_order


def test_order_is_a_permutation_of_seed_and_epoch_alone():
    orders = {(s, e): tuple(epoch_order(50, s, e).tolist()) for s in range(3) for e in range(3)}
    assert all(sorted(order) == list(range(50)) for order in orders.values())
    assert len(set(orders.values())) == 9
    torch.manual_seed(123)
    assert tuple(epoch_order(50, 1, 2).tolist()) == orders[1, 2]


def test_every_training_image_is_seen_once_an_epoch():
    task = random_task(n=(41, 12, 16))
    keys = task.train.images.flatten(1).double() @ torch.arange(192.0).double()
    assert len(set(keys.tolist())) == 41
    seen = []
    model = tiny_model(task)
    inner = model.canvas.forward

    def spy(images):
        if torch.is_grad_enabled():
            seen.extend((images.flatten(1).double() @ torch.arange(192.0).double()).tolist())
        return inner(images)

    model.canvas.forward = spy
    reprogram.fit(model, task, epochs=2, batch_size=8, seed=5)
    assert len(seen) == 82
    assert sorted(seen[:41]) == sorted(seen[41:]) == sorted(keys.tolist())
    assert seen[:41] != seen[41:]


ARGUMENTS = {"epochs": 3, "batch_size": 8, "validations": 6, "seed": 2}


def test_validations_are_spread_and_counted():
    task, model = random_task(), tiny_model()
    reports = []
    fitted = reprogram.fit(model, task, on_progress=reports.append, **ARGUMENTS)
    assert [row["step"] for row in fitted.history] == [3, 5, 8, 10, 13, 15]
    assert [row["images"] for row in fitted.history] == [24, 40, 64, 80, 104, 120]
    assert len(reports) == 15 and reports[-1].fraction == 1.0
    fractions = [report.fraction for report in reports]
    assert fractions == sorted(fractions) and all(math.isfinite(r.loss) and r.images_per_s > 0 for r in reports)


@pytest.mark.alone
def test_a_budget_of_seconds_is_kept():
    task, model = random_task(), tiny_model()
    fitted = reprogram.fit(model, task, seconds=0.6, batch_size=8, validations=4)
    assert 0.6 <= fitted.seconds < 3
    assert len(fitted.history) <= 5 and fitted.images_seen > 40


def test_part_of_an_epoch_is_a_budget():
    task, model = random_task(), tiny_model()
    assert reprogram.fit(model, task, epochs=0.4, batch_size=8).images_seen == 16


def test_images_are_a_budget_whatever_the_size_of_the_training_split():
    small, large = random_task(n=(16, 8, 8)), random_task(n=(64, 8, 8))
    for task in (small, large):
        assert reprogram.fit(tiny_model(task), task, images=80, batch_size=8).images_seen == 80
    assert reprogram.fit(tiny_model(small), small, images=80, epochs=1, batch_size=8).images_seen == 16


@pytest.mark.parametrize(
    "key,value",
    [
        ("epochs", 0),
        ("epochs", -1),
        ("epochs", 1e-6),
        ("epochs", math.nan),
        ("images", 0),
        ("images", 3),
        ("seconds", 0),
        ("seconds", math.inf),
    ],
)
def test_budgets_that_are_none_are_refused(key, value, one_line):
    with pytest.raises(reprogram.BudgetError) as error:
        reprogram.fit(tiny_model(), random_task(), **{key: value})
    one_line(error)


@pytest.mark.parametrize("options", [{"batch_size": 0}, {"validations": 0}, {"learner": "gradiant"}, {"loss": "hosts"}])
def test_bad_options_are_refused(options, one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        reprogram.fit(tiny_model(), random_task(), epochs=1, **options)
    one_line(error)


def test_another_task_is_refused(one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        reprogram.fit(tiny_model(random_task(num_classes=4)), random_task(num_classes=5), epochs=1)
    one_line(error)


def test_a_host_that_gives_no_gradient_is_refused(one_line):
    @torch.no_grad()
    def black_box(x):
        return x.mean((2, 3)).repeat(1, 2)

    task = random_task()
    host = reprogram.Host.wrap(black_box, size=16)
    assert host.info.access == "scores"
    with pytest.raises(reprogram.ConfigError) as error:
        reprogram.fit(reprogram.Reprogrammed.build(host, task), task, epochs=1)
    one_line(error, "gradient", "scores")
