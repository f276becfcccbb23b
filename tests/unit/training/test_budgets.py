"""Budgets of images, requests and money on hosts that count by themselves, with and without faults."""

import math
import random

import pytest
import torch

import reprogram
from helpers import random_task
from reprogram import BudgetError, Host, Reprogrammed
from reprogram.hosts._answering import AnsweringHost
from reprogram.hosts._info import HostInfo
from reprogram.learners.nes import NES
from reprogram.registry import configure
from reprogram.training.allowance import needs_of_run
from reprogram.training.answers import beside
from reprogram.training.budget import Budget, images_of
from reprogram.training.checkpoint import Checkpoint
from reprogram.training.options import FitOptions

LABELS = 8
OPTIONS = {"learner": "spsa", "batch_size": 8, "validations": 4}


class Service(AnsweringHost):
    """A linear classifier behind a line with faults, which counts by itself what reaches it."""

    is_local = False
    images_per_request = 4

    def __init__(self, fault=0.0, seed=0, from_request=0):
        super().__init__(
            torch.nn.Identity(), HostInfo(id="service", num_classes=LABELS, size=(12, 12), access="scores")
        )
        self.weight = torch.randn(432, LABELS, generator=torch.Generator().manual_seed(0))
        self.fault, self.chance, self.from_request = fault, random.Random(seed), from_request
        self.images, self.requests = 0, 0

    def ask(self, images):
        while True:
            with self.meter.request(len(images), retry=False) as sent:
                self.requests += 1
                fault = self.chance.random() if self.requests > self.from_request else 1.0
                if fault < self.fault / 3:
                    sent.refused()
                    continue
                self.images += len(images)
                if fault < self.fault:
                    continue
                sent.answered()
                return images.flatten(1) @ self.weight


def model_of(host, task, **options):
    return Reprogrammed.build(host, task, canvas="centre", program="tiles(side=2)", **options)


def learned(host, task=None, **options):
    task = task or random_task()
    model = model_of(host, task)
    return reprogram.fit(model, task, **{**OPTIONS, **options}), model


@pytest.mark.parametrize(
    "options, images, requests",
    [
        ({"queries": 400}, 400, math.inf),
        ({"requests": 100}, math.inf, 100),
        ({"cost": 0.8, "price": 2.0}, 400, math.inf),
        ({"queries": 500, "requests": 90, "cost": 0.9, "price": 2.0}, 450, 90),
    ],
)
def test_nearly_all_of_a_budget_is_spent_and_never_more(options, images, requests):
    host = Service()
    result, _ = learned(host, **options)
    assert host.images == host.meter.images == result.queries and host.requests == host.meter.requests
    # A step has 16 images in 4 requests, a validation at most 12 in 3; a fiftieth is kept for losses, or a request.
    spare = max(0.02 * images, 4) + 16 + 12 if images < math.inf else math.inf
    nearly = images - spare < host.images or requests - max(0.02 * requests, 1) - 4 - 3 < host.requests
    assert host.images <= images and host.requests <= requests and nearly
    assert result.history and not result.ended_early
    assert host.meter.limit is host.meter.request_limit is None
    assert host.meter.cost == (None if "price" not in options else pytest.approx(2.0 * host.images / 1000))


class Wide(Service):
    """A batch fits into one request."""

    images_per_request = 64


@pytest.mark.parametrize("learner", ["snes", "nes", "cma", "snes(reliability=0.9)"])
@pytest.mark.parametrize("batch_size", [16, 40])
def test_a_race_is_paid_for_in_each_of_its_rounds(learner, batch_size):
    """Points that are asked in rounds take a request for each; every budget ends with a validation, not an error."""
    for requests in (130, 171):
        host = Wide()
        options = {"learner": learner, "batch_size": batch_size, "requests": requests}
        result, _ = learned(host, random_task(n=(80, 12, 12)), loss="task", **options)
        assert host.requests == host.meter.requests <= requests
        assert result.history and not result.ended_early


@pytest.mark.parametrize(("loss", "each"), [("task", 1 + 1 + 1 + 2), ("leave-one-out", 3)])
def test_what_a_step_needs_counts_the_rounds(loss, each):
    """40 images: 5, 5, 10 and 20, by calls of at most 14; a loss of the whole batch is asked by three calls at once."""
    model = model_of(Wide(), random_task(n=(80, 12, 12)))
    _, config = configure("learners", "nes(pairs=3)")
    learner = NES(config)
    learner.start(model.learned_parameters())
    options = FitOptions(loss=loss, batch_size=40, requests=500)
    _, requests = needs_of_run(model, learner, options, num_train=80, num_validation=12)
    assert requests.step == 6 * each


@pytest.mark.parametrize("options", [{"queries": 1}, {"requests": 1}, {"cost": 0.001, "price": 1.0}, {"queries": 16}])
def test_too_small_a_budget_asks_for_nothing(options):
    host = Service()
    name = next(iter(options))
    with pytest.raises(BudgetError, match=rf"{name}={options[name]}.* is less than the .* that the shortest run"):
        learned(host, **options)
    assert host.requests == host.meter.requests == 0


@pytest.mark.parametrize("name", ["queries", "requests", "cost", "price"])
@pytest.mark.parametrize("value", [0, -3])
def test_a_budget_is_positive(name, value):
    with pytest.raises(BudgetError, match=f"{name}="):
        learned(Service(), **{"queries": 400, "price": 1.0, name: value})


def test_money_needs_a_price_and_numbers():
    for value in (math.nan, math.inf):
        with pytest.raises(reprogram.ReprogramError, match="cost="):
            learned(Service(), cost=value, price=1.0)
        with pytest.raises(reprogram.ReprogramError, match="price="):
            learned(Service(), cost=1.0, price=value)
    with pytest.raises(BudgetError, match="needs the price"):
        learned(Service(), cost=1.0)


def test_faults_never_exceed_a_budget_and_every_run_ends_with_a_program():
    """Thirty in a hundred requests fail; the count is the host's own. Fifteen runs here, more by hand."""
    task, early = random_task(), 0
    for seed in range(15):
        host = Service(fault=0.3, seed=seed)
        limits = [{"queries": 300 + seed}, {"requests": 80 + seed}, {"cost": 0.3 + seed / 1000, "price": 1.0}][seed % 3]
        try:
            result, model = learned(host, task, **limits)
        except BudgetError as error:
            assert "no program was validated yet" in str(error)
        else:
            early += bool(result.ended_early)
            assert result.validation.n > 0 and torch.isfinite(model.program.weight).all()
        assert host.images == host.meter.billed <= limits.get("queries", math.inf)
        assert host.images <= 1000 * limits.get("cost", math.inf)
        assert host.requests == host.meter.requests <= limits.get("requests", math.inf)


def test_faults_that_eat_the_budget_end_the_run_with_its_best_program():
    host = Service(fault=1.0, from_request=60)
    result, model = learned(host, queries=400)
    assert "400 images at the most" in result.ended_early and host.images == 400 == host.meter.billed
    assert result.validation.n == 12 and result.best_step > 0
    assert "ended early" in repr(result)
    other = Service()
    other.meter.limit = None
    scores = Reprogrammed.of(model.adapter, other, model.task)(random_task().validation.images)
    assert int((scores.argmax(1) == random_task().validation.labels).sum()) == result.validation.correct


def test_a_few_losses_change_nothing_in_the_program():
    """What is kept for losses suffices: the program and what was asked are those of the run without faults."""
    whole, expected = learned(Service(), queries=900)
    for at in (30, 90, 150):
        host = Service()
        ask, calls = host.ask, []

        def once(images, host=host, ask=ask, calls=calls, at=at):
            calls.append(len(images))
            if len(calls) in (at, at + 1):
                with host.meter.request(len(images)):
                    host.images += len(images)
            return ask(images)

        host.ask = once
        result, model = learned(host, queries=900)
        assert torch.equal(model.program.weight, expected.program.weight)
        assert result.queries == whole.queries and host.meter.lost > 0 and host.images == host.meter.billed <= 900


def test_identical_images_are_asked_for_once_in_a_run():
    seen = []

    def classify(images):
        seen.extend(image.detach().numpy().tobytes() for image in images)
        return images.flatten(1) @ torch.ones(432, LABELS)

    host = Host.wrap(classify, size=12, access="scores")
    seen.clear()
    task = random_task()
    model = model_of(host, task, label_map="frequency")
    reprogram.fit(model, task, queries=600, **OPTIONS)
    assert len(seen) == len(set(seen))
    assert host.answers is None and host.meter.ledger is None


def test_a_state_of_an_earlier_version_goes_on_with_its_bill(tmp_path):
    """Such a state has no store beside it, and counts calls and images alone."""
    task, state = random_task(), tmp_path / "state"

    class StopError(Exception):
        pass

    def stop(progress):
        if progress.images >= 40:
            raise StopError

    first = Service()
    with pytest.raises(StopError):
        learned(first, task, queries=600, checkpoint=state, checkpoint_every="1", on_progress=stop)
    tensors, record = Checkpoint(state).load()
    record["meter"] = {name: record["meter"][name] for name in ("calls", "images")}
    del record["state"]["requests"]
    Checkpoint(state).save(tensors, record)
    beside(state).unlink()
    second = Service()
    result, _ = learned(second, task, queries=600, checkpoint=state)
    assert second.meter.images == record["meter"]["images"] + second.images
    assert result.queries == second.meter.images <= 600
    again = Service()
    learned(again, task, queries=600, checkpoint=state)
    assert not again.images and again.meter.images == second.meter.images, "opened again, nothing is added twice"


def test_a_file_of_answers_belongs_to_one_run(tmp_path):
    """A new run at the same place starts a new bill; one that is interrupted there keeps its file."""
    task, state = random_task(), tmp_path / "state"
    learned(Service(), task, queries=300, checkpoint=state)
    state.unlink()
    Checkpoint(state).previous.unlink(missing_ok=True)
    again = Service()
    learned(again, task, queries=300, checkpoint=state)
    assert again.images == 0, "the same run: all is answered already"
    with pytest.raises(reprogram.ConfigError, match="another host or run"):
        learned(Service(), task, queries=300, checkpoint=state, seed=1)
    assert beside(state).exists()
    state.unlink()
    Checkpoint(state).previous.unlink(missing_ok=True)
    other = Service()
    result, _ = learned(other, task, queries=300, checkpoint=state, seed=1)
    assert other.images == other.meter.images == result.queries


def test_losses_before_the_first_answer_do_not_end_a_run():
    """Nobody knows a rate of losses then: three lost requests are no reason to give up 300 images."""
    host = Service()
    ask = host.ask

    def lossy(images):
        while host.meter.lost < 12:
            with host.meter.request(len(images)):
                pass
        return ask(images)

    host.ask = lossy
    result, _ = learned(host, queries=300)
    assert result.queries > 200 and not result.ended_early


def test_the_limit_that_allows_no_step_is_the_one_that_is_named():
    for budget, said in [
        (Budget(epochs=0.01, images=100_000), "epochs=0.01 is half a step or less"),
        (Budget(epochs=5.0, images=8), "images=8 is half a step or less"),
    ]:
        with pytest.raises(BudgetError, match=said):
            budget.steps(16, 160)


@pytest.mark.parametrize("batch_size", [1, 7, 16, 64])
@pytest.mark.parametrize("num_train", [64, 70, 129])
@pytest.mark.parametrize("images", [64, 100, 640, 6400])
def test_images_are_counted_where_the_last_batch_of_a_pass_is_small(batch_size, num_train, images):
    """Against adding up the batches one by one: no other number of steps comes nearer, but for half a batch."""
    sizes = [min(batch_size, num_train - first) for first in range(0, num_train, batch_size)]
    steps = Budget(images=images).steps(batch_size, num_train)
    seen = sum(sizes[step % len(sizes)] for step in range(steps))
    assert abs(seen - images) <= batch_size / 2 and images_of(steps, batch_size, num_train) == seen
