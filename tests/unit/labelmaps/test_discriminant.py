"""The discriminant against scikit-learn and NumPy, with odd data, and while a program is learned."""

import numpy as np
import pytest
import torch
from sklearn.covariance import OAS
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

import reprogram
from helpers import fitted, random_task, tiny_model
from reprogram.labelmaps._calibration import fit_without_program
from reprogram.registry import configure


def build(spec="discriminant", host=12, task=5):
    variant, config = configure("label-maps", spec)
    return variant(config, num_host_labels=host, num_task_labels=task).double()


def answers(seed, n=200, k=5, host=12, absent=()):
    """Scores around a mean of each class, with a covariance and an offset; labels, the first ones more frequent."""
    rng = np.random.default_rng(seed)
    labels = np.minimum(rng.geometric(0.4, n) - 1, k - 1)
    labels = labels[~np.isin(labels, absent)]
    noise = rng.normal(size=(len(labels), host)) @ rng.normal(size=(host, host))
    return noise + rng.normal(size=(k, host))[labels] * 2 - 7, labels


def mapped(label_map, scores):
    with torch.no_grad():
        return label_map(torch.from_numpy(scores)).numpy()


def numpy_discriminant(scores, labels, k, shrinkage, temperature):
    """Image by image and class by class; what the formula in the class's docstring says."""
    mean = scores.mean(axis=0)
    means = np.array([scores[labels == i].mean(axis=0) if (labels == i).any() else mean for i in range(k)])
    within = sum(np.outer(s - means[i], s - means[i]) for s, i in zip(scores, labels, strict=True)) / len(labels)
    shrunk = (1 - shrinkage) * within + shrinkage * np.trace(within) / len(mean) * np.eye(len(mean))
    inverse = np.linalg.inv(shrunk)
    result = np.empty((len(scores), k))
    for n, s in enumerate(scores):
        for i in range(k):
            prior = np.log((np.sum(labels == i) + 1) / (len(labels) + k))
            towards = means[i] - mean
            result[n, i] = towards @ inverse @ (s - mean) - towards @ inverse @ towards / 2 + prior
            result[n, i] = result[n, i] if (labels == i).any() else -3e4  # A class without images is never the answer.
    return result / temperature


@pytest.mark.parametrize("absent", [(), (0,), (2, 4)])
@pytest.mark.parametrize("shrinkage,temperature", [(0.0, 1.0), (0.3, 1.0), (1.0, 4.0)])
def test_the_formula_is_numpys(shrinkage, temperature, absent):
    scores, labels = answers(len(absent), absent=absent)
    label_map = fitted(build(f"discriminant(shrinkage={shrinkage}, temperature={temperature})"), scores, labels)
    expected = numpy_discriminant(scores, labels, 5, shrinkage, temperature)
    np.testing.assert_allclose(mapped(label_map, scores), expected, rtol=1e-5, atol=1e-5)  # The buffers were float32.


@pytest.mark.parametrize("shrinkage", [0.01, 0.5])
def test_probabilities_are_scikit_learns_where_classes_are_alike_frequent(shrinkage):
    scores, _ = answers(3, n=150)
    labels = np.arange(150) % 5
    scores += np.random.default_rng(0).normal(size=(5, 12))[labels] * 3
    label_map = fitted(build(f"discriminant(shrinkage={shrinkage}, temperature=1.0)"), scores, labels)
    oracle = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage).fit(scores, labels)
    ours = torch.from_numpy(mapped(label_map, scores)).softmax(dim=1).numpy()
    np.testing.assert_allclose(ours, oracle.predict_proba(scores), atol=1e-5)


@pytest.mark.parametrize("n", [9, 40, 1000])
def test_the_chosen_shrinkage_is_scikit_learns(n):
    scores, labels = answers(n, n=n)
    inner = scores - np.array([scores[labels == i].mean(axis=0) for i in labels])
    share = OAS(assume_centered=True).fit(inner).shrinkage_
    assert 0 < share <= 1
    by_itself = fitted(build(), scores, labels)
    given = fitted(build(f"discriminant(shrinkage={share})"), scores, labels)
    np.testing.assert_allclose(mapped(by_itself, scores), mapped(given, scores), rtol=1e-4, atol=1e-4)


def test_images_that_are_counted_twice_change_nothing():
    scores, labels = answers(5, n=40)
    once, often = fitted(build(), scores, labels), build()
    often.different_images = 40
    fitted(often, np.tile(scores, (25, 1)), np.tile(labels, 25))
    np.testing.assert_allclose(often.matrix, once.matrix, rtol=1e-5, atol=1e-7)
    taken_for_new = fitted(build(), np.tile(scores, (25, 1)), np.tile(labels, 25))
    assert (taken_for_new.matrix - once.matrix).abs().max() > 0.01


def test_a_host_of_many_labels_is_looked_at_in_part():
    scores, labels = answers(1, host=30)
    some = fitted(build("discriminant(labels=10)", host=30), scores, labels)
    rest = np.setdiff1d(np.arange(30), some.looked_at.numpy())
    assert len(some.looked_at) == 10 and not some.matrix[:, rest].any()
    alone = fitted(build(host=10), scores[:, some.looked_at.numpy()], labels)
    np.testing.assert_allclose(mapped(some, scores), mapped(alone, scores[:, some.looked_at.numpy()]), atol=1e-6)
    assert {label for row in some.assignment() for label in row} <= set(some.looked_at.tolist())


def test_one_image_a_class_is_the_nearest_of_them():
    rng = np.random.default_rng(2)
    known, asked = rng.normal(size=(5, 12)), rng.normal(size=(200, 12))
    label_map = fitted(build("discriminant(shrinkage=1.0)"), known, np.arange(5))
    nearest = np.square(asked[:, None] - known).sum(axis=2).argmin(axis=1)
    found = mapped(label_map, asked)
    np.testing.assert_array_equal(found.argmax(axis=1), nearest)
    assert np.abs(found).max() < 100


@pytest.mark.parametrize("what", ["constant", "one image", "one class", "fewer images than labels", "large"])
def test_odd_answers_give_finite_scores(what):
    scores, labels = answers(7)
    scores, labels = {
        "constant": (np.full_like(scores, 3.0), labels),
        "one image": (scores[:1], labels[:1]),
        "one class": (scores, np.full_like(labels, 2)),
        "fewer images than labels": (scores[:6], labels[:6]),
        "large": (scores * 1e8, labels),
    }[what]
    label_map = fitted(build(), scores, labels)
    assert np.isfinite(mapped(label_map, scores)).all()
    assert len(label_map.assignment()) == 5


def test_it_follows_what_changes():
    """A host that begins to say something else: after ten times as many images the map is that of the new answers."""
    label_map = build()
    scores, labels = answers(0, n=300)
    label_map.update(torch.from_numpy(scores), torch.from_numpy(labels))
    label_map.fit_from_statistics()
    other, new_labels = answers(99, n=3000)
    before = (mapped(label_map, other).argmax(axis=1) == new_labels).mean()
    fits = 0
    for part in np.array_split(np.arange(3000), 3000 // 15):
        matrix = label_map.matrix.clone()
        label_map.on_step(torch.from_numpy(other[part]), torch.from_numpy(new_labels[part]))
        fits += not torch.equal(matrix, label_map.matrix)
    count = float(label_map.statistics[-1, -1])
    assert 300 + (3000 - 300) / 2 - 150 < count < 300 + 3000 / 2 + 150, "a new image drives out half of one"
    assert 16 <= fits < 3000 / 15 / 2, "not at each step"
    after = (mapped(label_map, other).argmax(axis=1) == new_labels).mean()
    best = (mapped(fitted(build(), other, new_labels), other).argmax(axis=1) == new_labels).mean()
    assert after > best - 0.03 > before + 0.2


def test_with_a_program_it_learns_and_is_saved(tmp_path):
    """The map in the file is that of the selected program; a run with it is repeatable."""
    task = random_task(n=(60, 20, 20))
    models = []
    for _ in range(2):
        model = tiny_model(task, program="frame", label_map="discriminant(images=20)")
        result = reprogram.fit(model, task, images=600, validations=5)
        models.append(model)
    assert result.history[-1]["loss"] < result.history[0]["loss"]
    assert models[0].label_map.different_images == 60
    assert torch.equal(models[0].label_map.matrix, models[1].label_map.matrix)
    assert models[0].label_map.log_temperature != torch.tensor(4.0).log(), "the temperature is learned"
    path = model.save(tmp_path / "program.safetensors")
    again = reprogram.load(path, host=model.host)
    images = task.test.images
    with torch.no_grad():
        assert torch.equal(again(images), model(images))


@pytest.mark.parametrize("steps", [-200.0, 200.0])
def test_long_steps_of_the_temperature_lose_no_program(steps, tmp_path):
    """Steps of one length, as of normalized-sgd, may lead to a temperature that no number could be divided by."""
    task = random_task(n=(60, 20, 20))
    model = tiny_model(task, program="frame", label_map="discriminant(images=60)")
    reprogram.fit(model, task, images=60)
    with torch.no_grad():
        before = model(task.test.images)
        model.label_map.log_temperature += steps
        after = model(task.test.images)
        again = reprogram.load(model.save(tmp_path / "program.safetensors"), host=model.host)
        assert torch.equal(again(task.test.images), after)
    assert after.isfinite().all() and torch.equal(after.argmax(1), before.argmax(1))


def test_without_a_program_it_is_enough_by_itself():
    task = random_task(n=(60, 20, 20))
    model = tiny_model(task, program="none", label_map="discriminant(images=60)")
    reprogram.fit(model, task, images=60)
    alone = fit_without_program(model.label_map, model.host_scores, task.train)
    assert alone.statistics is not None and float(alone.statistics[-1, -1]) == 60, (
        "what the run has counted isn't counted again"
    )
    few, seen = build("discriminant(images=7)", model.label_map.num_host_labels, 4).float(), []
    for images in (0, 30, 10_000):
        seen.append(float(fit_without_program(few, model.host_scores, task.train, images=images).statistics[-1, -1]))
    assert seen == [7, 30, 60] and few.statistics is None


@pytest.mark.parametrize(
    "spec,words",
    [
        ("discriminant(shrinkage=2.0)", ("shrinkage=2.0", "0 to 1")),
        ("discriminant(shrinkage=-0.5)", ("shrinkage=-0.5",)),
        ("discriminant(temperature=0.0)", ("temperature=0.0",)),
        ("discriminant(labels=0)", ("labels=0",)),
        ("discriminant(labels=100000)", ("8,192",)),
        ("discriminant(images=0)", ("images=0",)),
    ],
)
def test_wrong_options_are_refused(spec, words, one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        build(spec)
    one_line(error, *words)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_a_class_without_images_is_never_said_in_any_precision(dtype):
    scores, labels = answers(0, absent=(3,))
    label_map = fitted(build("discriminant(temperature=0.01)"), scores, labels)
    with torch.no_grad():
        said = label_map(torch.from_numpy(scores).to(dtype))
    assert torch.isfinite(label_map._biases(dtype)).all() and (said.argmax(1) != 3).all()
