"""Label maps that are fitted to the host's answers: NumPy's own fit of recorded scores, resuming, odd data."""

import itertools
import signal

import numpy as np
import pytest
import torch

import reprogram
from helpers import random_task, tiny_model
from helpers_components import chosen_labels, published_greedy
from reprogram.labelmaps._assign import assign, benefit_of
from reprogram.labelmaps.base import LabelMap
from reprogram.registry import configure
from reprogram.utils.seeding import epoch_order

FITTED = ["frequency", "frequency(assignment='optimal')", "iterative", "iterative(assignment='optimal')"]


REFITTED = ["iterative", "bayesian(top_fraction=0.5)", "greedy(refit='epochs')"]


ALL = [*FITTED, *REFITTED[1:], "bayesian", "greedy", "confidence(labels_per_class=2)", "linear(init='frequency')"]


@pytest.mark.parametrize("spec", FITTED)
def test_no_images_to_look_at_is_refused(spec, one_line):
    name, _, rest = spec.partition("(")
    with pytest.raises(reprogram.ConfigError) as error:
        configure("label-maps", f"{name}(images=0, {rest}" if rest else f"{name}(images=0)")
    one_line(error, "images=0")


def one_hot_counts(scores, labels, k):
    counts = np.zeros((k, scores.shape[1]), dtype=int)
    np.add.at(counts, (labels, scores.argmax(axis=1)), 1)
    return counts


def host_answers(model, images):
    with torch.no_grad():
        return model.host(model.program(model.canvas(images))).numpy()


@pytest.mark.parametrize("images", [10, 2000])
def test_frequency_is_fitted_once_to_the_start_of_the_program(images):
    task = random_task(num_classes=5, n=(90, 12, 16))
    model = tiny_model(task, label_map=f"frequency(images={images})", std=(0.05,) * 3)
    seen = epoch_order(90, 0, 0)[:images]
    counts = one_hot_counts(host_answers(model, task.train.images[seen]), task.train.labels[seen].numpy(), 5)
    model.host.meter.calls = model.host.meter.images = 0
    reprogram.fit(model, task, epochs=2, batch_size=15, validations=2)
    assert model.host.meter.images == min(images, 90) + 2 * 90 + 2 * 12
    found = chosen_labels(model.label_map)
    for task_label, host_label in published_greedy(counts).items():
        assert found[task_label] == host_label


def recorded(model):
    """What the host answers in training calls, and the map that each is read with."""
    calls, inner = [], model.label_map.forward

    def spy(scores):
        if torch.is_grad_enabled():
            calls.append((scores.detach().numpy().copy(), model.label_map.groups[:, 0].tolist()))
        return inner(scores)

    model.label_map.forward = spy
    return calls


@pytest.mark.parametrize("loss", ["task", "host"])
def test_iterative_is_refitted_from_the_epochs_own_scores(loss):
    task = random_task(num_classes=5, n=(90, 12, 16))
    model = tiny_model(task, label_map="iterative", mean=(0.5,) * 3, std=(0.05,) * 3)
    calls = recorded(model)
    model.host.meter.calls = model.host.meter.images = 0
    reprogram.fit(
        model,
        task,
        epochs=4,
        batch_size=16,
        num_microbatches=1,
        validations=2,
        seed=3,
        loss=loss,
        sampling="shuffled",
        learner="adam(learning_rate=0.5)",
    )
    assert len(calls) == 4 * 6
    assert model.host.meter.images == 90 + 4 * 90 + 2 * 12  # No second pass.
    maps = []
    for epoch in range(3):
        scores = np.concatenate([scores for scores, _ in calls[6 * epoch : 6 * epoch + 6]])
        counts = one_hot_counts(scores, task.train.labels[epoch_order(90, 3, epoch)].numpy(), 5)
        used = {tuple(groups) for _, groups in calls[6 * epoch + 6 : 6 * epoch + 12]}
        assert len(used) == 1
        maps += used
        for task_label, host_label in published_greedy(counts).items():
            assert maps[-1][task_label] == host_label
    assert len({*maps, tuple(calls[0][1])}) > 1, "the map never changed: this test shows nothing"


@pytest.mark.parametrize("spec", ALL)
def test_program_and_map_of_the_selected_moment_are_kept_together(spec):
    task = random_task(num_classes=5)
    model = tiny_model(task, label_map=spec, std=(0.05,) * 3)
    fitted = reprogram.fit(model, task, epochs=6, batch_size=8, validations=12, learner="adam(learning_rate=2.0)")
    best = max(fitted.history, key=lambda row: (row["validation_accuracy"], -row["validation_loss"]))
    again = reprogram.evaluate(model, task.validation)
    assert fitted.best_step == best["step"] and again.accuracy == best["validation_accuracy"]
    assert again.loss == pytest.approx(best["validation_loss"], rel=1e-5)


ARGUMENTS = {"epochs": 4, "batch_size": 16, "validations": 3, "seed": 2, "learner": "adam(learning_rate=0.5)"}


def state_of(model, fitted):
    return {name: value.tolist() for name, value in model.learned_state().items()}, fitted.best_step


@pytest.mark.parametrize("spec", REFITTED)
def test_interrupted_at_every_step_it_comes_to_the_same(spec, tmp_path):
    task = random_task(num_classes=5)

    def fresh():
        return tiny_model(task, label_map=spec, mean=(0.5,) * 3, std=(0.05,) * 3)

    whole = fresh()
    expected = state_of(whole, reprogram.fit(whole, task, **ARGUMENTS))
    interruptions = 0
    while interruptions < 40:
        model = fresh()
        try:
            fitted = reprogram.fit(
                model,
                task,
                checkpoint=tmp_path / "c",
                on_progress=lambda report: signal.raise_signal(signal.SIGINT),
                **ARGUMENTS,
            )
            break
        except KeyboardInterrupt:
            interruptions += 1
    assert interruptions == 12
    assert state_of(model, fitted) == expected


class Killed(BaseException):
    pass


@pytest.mark.parametrize("spec", REFITTED)
@pytest.mark.parametrize("at", range(1, 12, 2))
def test_from_any_saved_state_it_comes_to_the_same(spec, at, tmp_path):
    """As after SIGKILL: what comes after the last save is lost, in the middle of an epoch too."""
    task = random_task(num_classes=5)

    def fresh():
        return tiny_model(task, label_map=spec, mean=(0.5,) * 3, std=(0.05,) * 3)

    whole = fresh()
    expected = state_of(whole, reprogram.fit(whole, task, **ARGUMENTS))
    count = itertools.count(1)

    def die(report):
        if next(count) == at:
            raise Killed

    options = {**ARGUMENTS, "checkpoint": tmp_path / "c", "checkpoint_every": 2}
    with pytest.raises(Killed):
        reprogram.fit(fresh(), task, on_progress=die, **options)
    model = fresh()
    assert state_of(model, reprogram.fit(model, task, **options)) == expected


@pytest.mark.parametrize("spec", FITTED)
def test_map_alone_is_fitted_without_the_program(spec):
    """The baseline: what the host gives away by itself, read by a map that suits it; the model's own map stays."""
    from reprogram.evaluation.baselines.map_alone import label_map_alone

    task = random_task(num_classes=5)
    model = tiny_model(task, label_map=spec, std=(0.05,) * 3)
    before = model.label_map.assignment()
    measured = label_map_alone(model, task)
    with torch.no_grad():
        answers = model.host(model.canvas(task.train.images)).numpy()
        test = model.host(model.canvas(task.test.images)).numpy()
    counts = torch.from_numpy(one_hot_counts(answers, task.train.labels.numpy(), 5)).double()
    groups = assign(benefit_of(counts), "optimal" if "optimal" in spec else "greedy").numpy()
    assert measured["accuracy"] == (test[:, groups].argmax(axis=1) == task.test.labels.numpy()).mean()
    assert model.label_map.assignment() == before


def one_label(name, **members):
    """A map of an author who wrote no more than has to be."""

    class Written(LabelMap):
        def run(self, scores):
            return scores[:, : self.num_task_labels]

        def assignment(self):
            return [[label] for label in range(self.num_task_labels)]

        def refit(self, counts):
            self.refits.append(counts.clone())

    return type(name, (Written,), members)


def test_a_map_that_follows_the_steps_is_fitted_after_each_by_default():
    label_map = one_label("Follows", refit_schedule="steps")(None, num_host_labels=6, num_task_labels=3)
    label_map.refits = []
    for _ in range(2):
        label_map.on_step(torch.eye(6), torch.arange(6) % 3)
    assert [float(counts.sum()) for counts in label_map.refits] == [6, 12] and label_map.statistics is not None


def test_sums_of_another_precision_are_summed():
    half = {"refit_schedule": "once", "empty_statistics": lambda self: torch.zeros(3, 6)}
    label_map = one_label("Float32", **half)(None, num_host_labels=6, num_task_labels=3)
    label_map.update(torch.eye(6), torch.arange(6) % 3)
    assert float(label_map.statistics.sum()) == 6


def test_a_misspelt_schedule_is_an_error_where_it_is_written():
    with pytest.raises(TypeError, match="'step'"):
        one_label("Misspelt", refit_schedule="step")
