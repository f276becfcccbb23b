"""The learner against hand-written NumPy, and the loop: order, budget, resume, divergence, signals."""

import math
import os
import signal

import numpy as np
import pytest
import torch
from torch import nn

import reprogram
from helpers import random_task, tiny_model
from reprogram.checkpoint import Checkpoint
from reprogram.learners.base import Progress
from reprogram.learners.gradient import Gradient
from reprogram.losses import epoch_order, losses_of

LR = 0.05


def learner(**options):
    return Gradient(Gradient.Config(**options))


def rate(built, fraction=0.0, epoch=0):
    return built.learning_rate(Progress(fraction=fraction, epoch=epoch))


@pytest.mark.parametrize(
    "fraction,factor", [(0, 1), (0.25, 0.853553391), (0.5, 0.5), (0.75, 0.146446609), (1, 0), (1.2, 0)]
)
def test_cosine_schedule(fraction, factor):
    assert rate(learner(learning_rate=0.1), fraction, epoch=77) == pytest.approx(0.1 * factor, abs=1e-9)


def test_step_schedule_advances_by_epochs_not_by_steps():
    """parth stepped it every batch: nothing was learned after one epoch (facts/peers.md, fault 5)."""
    built = learner(schedule="step")
    for epoch in range(20):
        for fraction in (0.0, 0.3, 0.999):
            assert rate(built, fraction, epoch) == pytest.approx(0.05 * 0.96 ** (epoch // 2))
    assert rate(learner(schedule="constant"), 0.9, 50) == 0.05


def test_the_loop_gives_the_schedule_epochs_and_fractions():
    task, model = random_task(n=(40, 12, 16)), tiny_model()
    seen = []

    class Spy(Gradient):
        def learning_rate(self, progress):
            seen.append((progress.epoch, progress.fraction))
            return super().learning_rate(progress)

    reprogram.fit(model, task, learner=Spy(Gradient.Config(schedule="step")), epochs=3, batch_size=16)
    assert [epoch for epoch, _ in seen] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert [fraction for _, fraction in seen] == pytest.approx([i / 9 for i in range(9)])


def numpy_adam(start, gradient, rates, betas=(0.9, 0.999), eps=1e-8):
    """Kingma and Ba (2015), algorithm 1, in float64."""
    w, m, v = start.copy(), np.zeros_like(start), np.zeros_like(start)
    for t, lr in enumerate(rates, 1):
        g = gradient(w, t - 1)
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g * g
        w = w - lr * (m / (1 - betas[0] ** t)) / (np.sqrt(v / (1 - betas[1] ** t)) + eps)
    return w


@pytest.mark.parametrize("schedule", ["cosine", "step", "constant"])
@pytest.mark.parametrize("penalty", [0.0, 0.05])
@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.5, 0.99)])
def test_adam_is_numpys(schedule, penalty, betas):
    rng = np.random.default_rng(0)
    a, start = rng.normal(size=(25, 7)), rng.normal(size=7)
    parameter = nn.Parameter(torch.from_numpy(start.copy()))
    built = learner(schedule=schedule, penalty=penalty, betas=betas)
    built.start([parameter])
    for i in range(25):
        row = torch.from_numpy(a[i])
        built.step(lambda row=row: torch.tanh((row * parameter).sum()), Progress(fraction=i / 25, epoch=i // 5))
    rates = {
        "cosine": [LR * 0.5 * (1 + math.cos(math.pi * i / 25)) for i in range(25)],
        "step": [LR * 0.96 ** (i // 5 // 2) for i in range(25)],
        "constant": [LR] * 25,
    }[schedule]

    def gradient(w, i):
        return (1 - np.tanh(a[i] @ w) ** 2) * a[i] + 2 * penalty * w

    np.testing.assert_allclose(parameter.detach().numpy(), numpy_adam(start, gradient, rates, betas), rtol=1e-10)


def test_smoothed_labels_are_numpys():
    task, model = random_task(), tiny_model()
    images, labels = task.train.images, task.train.labels
    with torch.no_grad():
        scores = model(images).numpy().astype(np.float64)
        found = losses_of(model, images, labels, "smoothed").numpy()
    logarithms = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    softened = 0.9 * np.eye(4)[labels.numpy()] + 0.1 / 4
    np.testing.assert_allclose(found, -(softened * logarithms).sum(axis=1), rtol=1e-5)


def test_penalty_is_lambda_times_the_sum_of_squares():
    """Against finite differences of loss + penalty in float64, through the whole model; reported without it."""
    task = random_task()
    model = tiny_model(task).double()
    images, labels = task.train.images[:8], task.train.labels[:8]
    weight = model.program.weight

    def loss():
        return nn.functional.cross_entropy(model(images), labels)

    captured = []

    class Catch(Gradient):
        def move(self, gradients, rate):
            captured.extend(gradients)

    built = Catch(Gradient.Config(penalty=0.05))
    built.start([weight])
    before = float(loss().detach())
    assert built.step(loss, Progress(fraction=0, epoch=0)) == pytest.approx(before, rel=1e-12)
    for place in (0, 5, 300, 700):
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                weight.view(-1)[place] += sign * 1e-5
                values.append(float(loss() + 0.05 * weight.square().sum()))
                weight.view(-1)[place] -= sign * 1e-5
        assert (values[0] - values[1]) / 2e-5 == pytest.approx(float(captured[0].view(-1)[place]), rel=1e-5, abs=1e-9)


def test_penalty_shrinks_the_program():
    norms = []
    for penalty in (0.0, 0.1):
        model, task = tiny_model(), random_task()
        reprogram.fit(model, task, learner=f"gradient(penalty={penalty})", epochs=4, batch_size=8, validations=1)
        norms.append(float(model.program.weight.detach().norm()))
    assert norms[1] < 0.8 * norms[0]


@pytest.mark.parametrize("where", ["loss", "gradient", "square of the gradient"])
def test_what_is_not_finite_stops_before_the_update(where, one_line):
    parameter = nn.Parameter(torch.tensor([1.0, 0.0]))
    built = learner()
    built.start([parameter])

    def objective():
        if where == "loss":
            return parameter.sum() * float("nan")
        return parameter.sqrt().sum() if where == "gradient" else parameter.sum() * 1e30

    built.step(lambda: parameter.square().sum(), Progress(fraction=0, epoch=0))
    parameter.data = torch.tensor([1.0, 0.0])
    before = parameter.detach().clone(), {k: v.clone() for k, v in built.state().items()}
    with pytest.raises(reprogram.DataError) as error:
        built.step(objective, Progress(fraction=0, epoch=0))
    one_line(error, "finite")
    assert torch.equal(parameter, before[0])
    assert all(torch.equal(value, before[1][key]) for key, value in built.state().items())


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
        reprogram.fit(model, task, epochs=4, batch_size=8, parts=1, validations=10)
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


@pytest.mark.parametrize("change", [{"epochs": 9}, {"validations": 3}, {"seconds": 5.0}, {"batch_size": 9}])
def test_another_setting_is_refused_by_name(tmp_path, change, one_line):
    task = random_task()
    reprogram.fit(tiny_model(task), task, checkpoint=tmp_path / "c", **ARGUMENTS)
    with pytest.raises(reprogram.ConfigError) as error:
        reprogram.fit(tiny_model(task), task, checkpoint=tmp_path / "c", **{**ARGUMENTS, **change})
    one_line(error, f"another {next(iter(change)).replace('_', ' ')}")


def test_huge_learning_rates_never_give_invalid_pixels():
    task, model = random_task(), tiny_model()
    reprogram.fit(model, task, learner="gradient(learning_rate=1e6)", epochs=1, batch_size=8)
    pixels = model.program(model.canvas(task.test.images)).dense()
    assert torch.isfinite(pixels).all() and pixels.min() >= 0 and pixels.max() <= 1


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


def result_of(model, fitted):
    rows = [{key: value for key, value in row.items() if key != "seconds"} for row in fitted.history]
    return {k: v.tolist() for k, v in model.learned_state().items()}, rows, fitted.best_step, fitted.images_seen


def test_fit_is_a_function_of_its_seed():
    task = random_task()
    results = []
    for seed in (0, 0, 1):
        model = tiny_model(task)
        results.append(result_of(model, reprogram.fit(model, task, epochs=2, batch_size=8, seed=seed)))
        torch.rand(7)  # The process's random state has no say.
    assert results[0] == results[1] != results[2]


class StopError(Exception):
    pass


ARGUMENTS = {"epochs": 3, "batch_size": 8, "validations": 6, "seed": 2}


@pytest.fixture(scope="module")
def uninterrupted():
    task, model = random_task(), tiny_model()
    return result_of(model, reprogram.fit(model, task, **ARGUMENTS))


@pytest.mark.parametrize("at", [1, 2, 3, 4, 5])
def test_resumed_at_any_validation_is_the_same_run(uninterrupted, tmp_path, at):
    task = random_task()

    def stop(report):
        count.append(report.validation)
        if len({id(v) for v in count if v}) == at:
            raise StopError

    count = []
    with pytest.raises(StopError):
        reprogram.fit(tiny_model(task), task, checkpoint=tmp_path / "c", observe=stop, **ARGUMENTS)
    model = tiny_model(task)
    model.program.weight.data.normal_()  # What the model held has no say.
    fitted = reprogram.fit(model, task, checkpoint=tmp_path / "c", **ARGUMENTS)
    assert result_of(model, fitted) == uninterrupted
    assert model.host.meter.images >= 3 * 40 + 6 * 12


def test_averages_and_a_map_that_follows_are_resumed(tmp_path):
    """Interrupted at every third step: their memory is part of the state."""
    task = random_task()
    parts = {"program": "frame", "label_map": "discriminant(images=8)"}
    arguments = {**ARGUMENTS, "learner": "gradient(average=0.9)"}
    whole = tiny_model(task, **parts)
    expected, calls = result_of(whole, reprogram.fit(whole, task, **arguments)), 0

    def stop(report):
        nonlocal calls
        calls += 1
        if calls % 3 == 0:
            signal.raise_signal(signal.SIGINT)

    while True:
        model = tiny_model(task, **parts)
        try:
            fitted = reprogram.fit(model, task, checkpoint=tmp_path / "c", observe=stop, **arguments)
            break
        except KeyboardInterrupt:
            pass
    assert calls > 9
    assert result_of(model, fitted) == expected


def test_resumed_again_and_again_is_the_same_run(uninterrupted, tmp_path):
    """Interrupted by a signal at every step, in the middle of epochs and between validations."""
    task, steps = random_task(), 0
    while True:
        model = tiny_model(task)
        try:
            fitted = reprogram.fit(
                model,
                task,
                checkpoint=tmp_path / "c",
                observe=lambda report: signal.raise_signal(signal.SIGINT),
                **ARGUMENTS,
            )
            break
        except KeyboardInterrupt:
            steps += 1
            assert steps < 40
    assert steps >= 14
    assert result_of(model, fitted) == uninterrupted


@pytest.mark.parametrize("number,raised", [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_signals_save_first_and_handlers_come_back(tmp_path, number, raised):
    task, handlers = random_task(), [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]

    def interrupt(report):
        if report.images == 32:
            os.kill(os.getpid(), number)

    with pytest.raises(raised) as error:
        reprogram.fit(tiny_model(task), task, checkpoint=tmp_path / "c", observe=interrupt, **ARGUMENTS)
    if raised is SystemExit:
        assert error.value.code == 143
    assert Checkpoint(tmp_path / "c").load()[1]["state"]["images"] == 32
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert {p.name for p in tmp_path.iterdir()} <= {"c", "c.previous"}


def test_a_finished_checkpoint_gives_the_same_again(uninterrupted, tmp_path):
    task = random_task()
    reprogram.fit(tiny_model(task), task, checkpoint=tmp_path / "c", **ARGUMENTS)
    model = tiny_model(task)
    fitted = reprogram.fit(model, task, checkpoint=tmp_path / "c", **ARGUMENTS)
    assert result_of(model, fitted) == uninterrupted
    assert fitted.validation.accuracy == reprogram.evaluate(model, task.validation).accuracy


def damage_file(path, damage):
    raw = path.read_bytes()
    if damage == "folder":
        path.unlink()
        path.mkdir()
    elif damage == "missing":
        path.unlink()
    elif damage == "one bit":
        path.write_bytes(raw[:-5] + bytes([raw[-5] ^ 4]) + raw[-4:])
    else:
        path.write_bytes({"truncated": raw[: len(raw) // 2], "empty": b"", "text": b"hello " * 99}[damage])


def interrupted(path, task):
    """A checkpoint and the one before it, of a run in its middle."""

    def stop(report):
        if report.images >= 64:
            raise StopError

    with pytest.raises(StopError):
        reprogram.fit(tiny_model(task), task, checkpoint=path, checkpoint_every=1, observe=stop, **ARGUMENTS)
    return Checkpoint(path)


@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "one bit", "missing"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(uninterrupted, tmp_path, damage):
    task = random_task()
    both = interrupted(tmp_path / "c", task)
    damage_file(both.path, damage)
    model = tiny_model(task)
    assert result_of(model, reprogram.fit(model, task, checkpoint=both.path, **ARGUMENTS)) == uninterrupted


@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "one bit", "folder"])
def test_two_damaged_checkpoints_are_refused(tmp_path, damage, one_line):
    task = random_task()
    both = interrupted(tmp_path / "c", task)
    damage_file(both.path, damage)
    damage_file(both.previous, damage)
    with pytest.raises(reprogram.DataError) as error:
        reprogram.fit(tiny_model(task), task, checkpoint=both.path, **ARGUMENTS)
    one_line(error, str(both.path))


def test_another_models_checkpoint_is_refused(tmp_path, one_line):
    task = random_task()
    interrupted(tmp_path / "c", task)
    with pytest.raises(reprogram.ConfigError) as error:
        reprogram.fit(tiny_model(task, size=20), task, checkpoint=tmp_path / "c", **ARGUMENTS)
    one_line(error, "another host")


def test_validations_are_spread_and_counted():
    task, model = random_task(), tiny_model()
    reports = []
    fitted = reprogram.fit(model, task, observe=reports.append, **ARGUMENTS)
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


def test_the_papers_loss_teaches_the_host_to_say_it():
    """With the loss over all host labels the mapped labels' probability rises, not only their share."""
    task, model = random_task(), tiny_model(std=(0.05,) * 3, mean=(0.5,) * 3)

    def mass():
        with torch.no_grad():
            return float(model.host_scores(task.train.images).softmax(1)[:, :4].sum(1).mean())

    before = mass()
    reprogram.fit(model, task, loss="host", epochs=6, batch_size=8, validations=1)
    assert mass() > before + 0.01


def test_a_linear_host_can_not_be_reprogrammed():
    """A program shifts every sample's scores alike (paper, section 3.1): score differences between images stay."""
    task = random_task(separable=False)
    model = reprogram.Reprogrammed.build("linear:16", task)
    scores = []
    for value in (0.0, 1.5):
        model.program.weight.data.fill_(value)
        with torch.no_grad():
            scores.append(model(task.test.images))
    torch.testing.assert_close(scores[0] - scores[0][:1], scores[1] - scores[1][:1], rtol=0, atol=1e-5)
    assert (scores[0] - scores[1]).abs().max() > 0.01


def quadratic_steps(learner, start, count):
    """Where a learner gets to on the loss Σ a w² / 2, from a start."""
    from reprogram.registry import configure

    scale = torch.tensor([1.0, 3.0, 0.5], dtype=torch.float64)
    variant, config = configure("learners", learner)
    parameter = torch.nn.Parameter(torch.tensor(start, dtype=torch.float64))
    built = variant(config)
    built.start([parameter])
    for step in range(count):
        built.step(lambda: (scale * parameter.square()).sum() / 2, Progress(fraction=step / count, epoch=0))
    return parameter.detach().numpy(), built


def test_momentum_is_the_heavy_ball():
    w, velocity = np.array([1.0, -2.0, 0.3]), np.zeros(3)
    found, built = quadratic_steps("momentum(learning_rate=0.1, momentum=0.8, schedule='constant')", w.tolist(), 5)
    for _ in range(5):
        velocity = 0.8 * velocity + np.array([1.0, 3.0, 0.5]) * w
        w = w - 0.1 * velocity
    np.testing.assert_allclose(found, w, rtol=1e-12)
    state = built.state()
    assert list(state) == ["0.momentum_buffer"]
    np.testing.assert_allclose(state["0.momentum_buffer"].numpy(), velocity, rtol=1e-12)


def test_normalized_steps_are_as_long_as_the_rate():
    found, _ = quadratic_steps("normalized(learning_rate=0.25, schedule='constant')", [1.0, -2.0, 0.3], 1)
    assert np.linalg.norm(found - [1.0, -2.0, 0.3]) == pytest.approx(0.25, rel=1e-12)
    still, _ = quadratic_steps("normalized", [0.0, 0.0, 0.0], 2)
    np.testing.assert_array_equal(still, 0)


def test_milestones_divide_by_ten_at_half_and_at_72_per_cent():
    learner = Gradient(Gradient.Config(learning_rate=0.2, schedule="milestones"))
    rates = [learner.learning_rate(Progress(fraction=f, epoch=0)) for f in (0, 0.49, 0.5, 0.71, 0.72, 1.0)]
    np.testing.assert_allclose(rates, [0.2, 0.2, 0.02, 0.02, 0.002, 0.002], rtol=1e-12)
