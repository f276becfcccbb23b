"""Label maps that are fitted to the host's answers: NumPy's own fit of recorded scores, resuming, odd data."""

import itertools
import signal

import numpy as np
import pytest
import torch

import reprogram
from helpers import random_task, tiny_model
from reprogram.labelmaps._assign import assign, benefit_of
from reprogram.labelmaps.base import LabelMap
from reprogram.losses import epoch_order
from reprogram.registry import configure

FITTED = ["frequency", "frequency(assignment='optimal')", "iterative", "iterative(assignment='optimal')"]
REFITTED = ["iterative", "bayesian(top_fraction=0.5)", "greedy(refit='epochs')"]
ALL = [*FITTED, *REFITTED[1:], "bayesian", "greedy", "confidence(labels_per_class=2)", "linear(init='frequency')"]


def build(spec, host=12, task=5):
    variant, config = configure("label-maps", spec)
    return variant(config, num_host_labels=host, num_task_labels=task)


def told(label_map, said, rng):
    """Have a map hear answers of these counts, in batches of any size, and fit it."""
    pairs = np.array([(i, j) for (i, j), n in np.ndenumerate(said) for _ in range(n)])
    for part in np.array_split(rng.permutation(pairs), 4):
        scores = rng.normal(size=(len(part), said.shape[1]))
        scores[np.arange(len(part)), part[:, 1]] = 9
        label_map.hear(torch.from_numpy(scores).float(), torch.from_numpy(part[:, 0]))
    np.testing.assert_array_equal(label_map.heard.numpy(), said)
    label_map.refit_to_heard()
    assert label_map.heard is None
    return label_map


def published_greedy(said):
    """Pairs of task and host label as ILM-VP and BayesianLM choose them, for as long as an answer is left."""
    left, pairs = said.T.copy(), {}
    while left.max() > 0:
        host, task = np.unravel_index(left.argmax(), left.shape)
        pairs[task] = host
        left[host], left[:, task] = -1, -1
    return pairs


def chosen(label_map):
    rows = label_map.assignment()
    assert all(len(row) == 1 for row in rows)
    return [row[0] for row in rows]


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("name", ["frequency", "iterative"])
def test_greedy_is_the_published_choice(name, seed):
    rng = np.random.default_rng(seed)
    said = rng.integers(0, 4, (5, 12)) * (rng.random((5, 12)) < 0.4)  # Many ties, many zeros.
    said[0, 0] += 1
    found = chosen(told(build(name), said, rng))
    assert len(set(found)) == 5
    for task, host in published_greedy(said).items():
        assert found[task] == host


@pytest.mark.parametrize("seed", range(20))
def test_optimal_is_the_best_of_all_one_to_one_maps(seed):
    rng = np.random.default_rng(seed)
    said = rng.integers(0, 6, (4, 7)) * (rng.random((4, 7)) < 0.6)
    said[1, 2] += 1
    found = chosen(told(build("frequency(assignment='optimal')", 7, 4), said, rng))
    best = max(said[range(4), list(p)].sum() for p in itertools.permutations(range(7), 4))
    assert len(set(found)) == 4 and said[range(4), found].sum() == best
    greedy = chosen(told(build("frequency", 7, 4), said, rng))
    assert said[range(4), greedy].sum() <= best


def test_optimal_beats_greedy_where_greedy_is_short_sighted():
    said = np.array([[10, 9], [8, 0]])
    rng = np.random.default_rng(0)
    assert chosen(told(build("frequency", 2, 2), said, rng)) == [0, 1]
    assert chosen(told(build("frequency(assignment='optimal')", 2, 2), said, rng)) == [1, 0]


@pytest.mark.parametrize("how", ["greedy", "optimal"])
def test_an_absent_class_shifts_nothing_and_gets_what_the_others_say_least(how):
    """Peers loop over the labels that they see: later classes move (facts/peers.md, fault 6)."""
    said = np.zeros((4, 6), dtype=int)
    said[0, 3], said[2, 1], said[3, 5] = 5, 7, 2  # Class 1 has no images.
    said[0, 0] = said[2, 2] = 1
    found = chosen(told(build(f"frequency(assignment={how!r})", 6, 4), said, np.random.default_rng(0)))
    assert found == [3, 4, 1, 5]


@pytest.mark.parametrize("how", ["greedy", "optimal"])
def test_a_frequent_class_keeps_no_other_from_its_own_label(how):
    said = np.array([[900, 80, 0, 20], [0, 3, 1, 0], [0, 0, 2, 0]])
    found = chosen(told(build(f"frequency(assignment={how!r})", 4, 3), said, np.random.default_rng(0)))
    assert found == [0, 1, 2]


def test_the_preference_among_unsaid_labels_never_outweighs_an_answer():
    rng = np.random.default_rng(5)
    for _ in range(200):
        said = torch.from_numpy(rng.integers(0, 2, (4, 6)) * rng.integers(0, 2, (4, 6))).double()
        rows = torch.arange(4)
        value = said[rows, assign(benefit_of(said), "optimal")].sum()
        assert value == said[rows, assign(said, "optimal")].sum()


@pytest.mark.parametrize("spec", FITTED)
def test_a_host_of_too_few_labels_is_refused(spec, one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        build(spec, host=4, task=5)
    one_line(error, "5", "4")
    rng = np.random.default_rng(0)
    assert sorted(chosen(told(build(spec, 5, 5), rng.integers(0, 9, (5, 5)), rng))) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("spec", FITTED)
def test_no_images_to_look_at_is_refused(spec, one_line):
    name, _, rest = spec.partition("(")
    with pytest.raises(reprogram.ConfigError) as error:
        configure("label-maps", f"{name}(images=0, {rest}" if rest else f"{name}(images=0)")
    one_line(error, "images=0")


def one_hot_counts(scores, labels, k):
    said = np.zeros((k, scores.shape[1]), dtype=int)
    np.add.at(said, (labels, scores.argmax(axis=1)), 1)
    return said


def host_answers(model, images):
    with torch.no_grad():
        return model.host(model.program(model.canvas(images))).numpy()


@pytest.mark.parametrize("images", [10, 2000])
def test_frequency_is_fitted_once_to_the_start_of_the_program(images):
    task = random_task(num_classes=5, n=(90, 12, 16))
    model = tiny_model(task, label_map=f"frequency(images={images})", std=(0.05,) * 3)
    seen = epoch_order(90, 0, 0)[:images]
    said = one_hot_counts(host_answers(model, task.train.images[seen]), task.train.labels[seen].numpy(), 5)
    model.host.meter.calls = model.host.meter.images = 0
    reprogram.fit(model, task, epochs=2, batch_size=15, validations=2)
    assert model.host.meter.images == min(images, 90) + 2 * 90 + 2 * 12
    found = chosen(model.label_map)
    for task_label, host_label in published_greedy(said).items():
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
        parts=1,
        validations=2,
        seed=3,
        loss=loss,
        learner="gradient(learning_rate=0.5)",
    )
    assert len(calls) == 4 * 6
    assert model.host.meter.images == 90 + 4 * 90 + 2 * 12  # No second pass.
    maps = []
    for epoch in range(3):
        scores = np.concatenate([scores for scores, _ in calls[6 * epoch : 6 * epoch + 6]])
        said = one_hot_counts(scores, task.train.labels[epoch_order(90, 3, epoch)].numpy(), 5)
        used = {tuple(groups) for _, groups in calls[6 * epoch + 6 : 6 * epoch + 12]}
        assert len(used) == 1
        maps += used
        for task_label, host_label in published_greedy(said).items():
            assert maps[-1][task_label] == host_label
    assert len({*maps, tuple(calls[0][1])}) > 1, "the map never changed: this test shows nothing"


@pytest.mark.parametrize("spec", ALL)
def test_program_and_map_of_the_selected_moment_are_kept_together(spec):
    task = random_task(num_classes=5)
    model = tiny_model(task, label_map=spec, std=(0.05,) * 3)
    fitted = reprogram.fit(model, task, epochs=6, batch_size=8, validations=12, learner="gradient(learning_rate=2.0)")
    best = max(fitted.history, key=lambda row: (row["validation_accuracy"], -row["validation_loss"]))
    again = reprogram.evaluate(model, task.validation)
    assert fitted.best_step == best["step"] and again.accuracy == best["validation_accuracy"]
    assert again.loss == pytest.approx(best["validation_loss"], rel=1e-5)


ARGUMENTS = {"epochs": 4, "batch_size": 16, "validations": 3, "seed": 2, "learner": "gradient(learning_rate=0.5)"}


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
                observe=lambda report: signal.raise_signal(signal.SIGINT),
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
        reprogram.fit(fresh(), task, observe=die, **options)
    model = fresh()
    assert state_of(model, reprogram.fit(model, task, **options)) == expected


@pytest.mark.parametrize("spec", FITTED)
def test_map_alone_is_fitted_without_the_program(spec):
    """The baseline: what the host gives away by itself, read by a map that suits it; the model's own map stays."""
    from reprogram.baselines import label_map_alone

    task = random_task(num_classes=5)
    model = tiny_model(task, label_map=spec, std=(0.05,) * 3)
    before = model.label_map.assignment()
    measured = label_map_alone(model, task)
    with torch.no_grad():
        answers = model.host(model.canvas(task.train.images)).numpy()
        test = model.host(model.canvas(task.test.images)).numpy()
    said = torch.from_numpy(one_hot_counts(answers, task.train.labels.numpy(), 5)).double()
    groups = assign(benefit_of(said), "optimal" if "optimal" in spec else "greedy").numpy()
    assert measured["accuracy"] == (test[:, groups].argmax(axis=1) == task.test.labels.numpy()).mean()
    assert model.label_map.assignment() == before


def one_label(name, **members):
    """A map of an author who wrote no more than has to be."""

    class Written(LabelMap):
        def run(self, scores):
            return scores[:, : self.num_task_labels]

        def assignment(self):
            return [[label] for label in range(self.num_task_labels)]

        def refit(self, said):
            self.told.append(said.clone())

    return type(name, (Written,), members)


def test_a_map_that_follows_the_steps_is_fitted_after_each_by_default():
    label_map = one_label("Follows", fitted="steps")(None, num_host_labels=6, num_task_labels=3)
    label_map.told = []
    for _ in range(2):
        label_map.follow(torch.eye(6), torch.arange(6) % 3)
    assert [float(said.sum()) for said in label_map.told] == [6, 12] and label_map.heard is not None


def test_sums_of_another_precision_are_summed():
    half = {"fitted": "once", "statistics": lambda self: torch.zeros(3, 6)}
    label_map = one_label("Float32", **half)(None, num_host_labels=6, num_task_labels=3)
    label_map.hear(torch.eye(6), torch.arange(6) % 3)
    assert float(label_map.heard.sum()) == 6


def test_a_misspelt_fitted_is_an_error_where_it_is_written():
    with pytest.raises(TypeError, match="'step'"):
        one_label("Misspelt", fitted="step")
