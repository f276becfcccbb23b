"""The linear map against NumPy and SciPy."""

import numpy as np
import pytest
import torch
from scipy.special import softmax

import reprogram
from helpers import fitted, random_task, tiny_model
from helpers_components import build_map, scores_and_labels
from reprogram.utils.seeding import epoch_order


@pytest.mark.parametrize("init", ["first", "frequency", "random"])
def test_linear_is_matrix_and_bias(init):
    scores, labels = scores_and_labels(8)
    label_map = build_map(f"linear(init={init!r})")
    if init == "frequency":
        fitted(label_map, scores, labels)
        reference = fitted(build_map("frequency"), scores, labels)
    if init == "first":
        reference = build_map("first")
    batch = torch.from_numpy(scores)
    if init != "random":
        np.testing.assert_allclose(label_map(batch).detach().numpy(), reference(batch).numpy(), rtol=1e-6)
        assert [row[0] for row in label_map.assignment()] == [row[0] for row in reference.assignment()]
    with torch.no_grad():
        label_map.bias.copy_(torch.arange(5.0))
        label_map.matrix.add_(1.0)
    expected = scores @ label_map.matrix.detach().numpy().T / 12**0.25 + np.arange(5)
    np.testing.assert_allclose(label_map(batch).detach().numpy(), expected, rtol=1e-5, atol=1e-6)
    assert {name for name, p in label_map.named_parameters() if p.requires_grad} == {"matrix", "bias"}


@pytest.mark.parametrize("init", ["first", "frequency", "random"])
def test_standardized_linear_is_linear_in_other_coordinates(init):
    scores, labels = scores_and_labels(8)
    scores = scores * 3 - 40  # What all images have in common.
    label_map = fitted(build_map(f"linear(init={init!r}, standardize=64)"), scores, labels)
    mean = scores.mean(axis=0)
    spread = np.sqrt(((scores - mean) ** 2).mean())
    np.testing.assert_allclose(label_map.mean.numpy(), mean, rtol=1e-6)
    np.testing.assert_allclose(label_map.spread.item(), spread, rtol=1e-5)
    matrix = label_map.matrix.detach().numpy()
    if init != "random":
        reference = fitted(build_map("frequency"), scores, labels) if init == "frequency" else build_map("first")
        expected = np.zeros((5, 12))
        expected[np.arange(5), [row[0] for row in reference.assignment()]] = 12**-0.5 / (1000**0.5 / 12)
        np.testing.assert_allclose(matrix, expected, rtol=1e-6)
    with torch.no_grad():
        label_map.bias.copy_(torch.arange(5.0))
    weights = matrix * np.sqrt(1000) / (spread * 12)
    expected = scores @ weights.T + (np.arange(5) - weights @ mean)
    np.testing.assert_allclose(label_map(torch.from_numpy(scores)).detach().numpy(), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(label_map.effective().detach().numpy(), weights, rtol=1e-5)


def test_a_host_that_says_the_same_of_all_images_is_standardized_without_dividing_by_nothing():
    scores, labels = np.tile(np.arange(12.0), (30, 1)), np.arange(30) % 5
    label_map = fitted(build_map("linear(standardize=64)"), scores, labels)
    assert label_map.spread == 1
    assert (label_map(torch.from_numpy(scores)) == 0).all()


def test_standardized_scores_are_those_of_the_first_images_and_stay_with_the_program(tmp_path):
    task = random_task(num_classes=4, n=(60, 12, 16))
    model = tiny_model(task, program="frame", label_map="linear(standardize=20)").double()
    before = model.host.meter.images

    first = task.train.images[epoch_order(60, 3, 0)[:20]]
    with torch.no_grad():
        scores = model.host_scores(first).numpy()
    reprogram.fit(model, task, epochs=1, batch_size=10, validations=1, seed=3)
    np.testing.assert_allclose(model.label_map.mean.numpy(), scores.mean(axis=0), rtol=1e-6, atol=1e-9)
    assert model.host.meter.images == before + 20 + 20 + 60 + 12, "the pass over the first images is metered"
    model = model.float()
    path = model.save(tmp_path / "p.safetensors")
    again = reprogram.load(path, host=model.host)
    assert torch.equal(again(task.test.images), model(task.test.images))


@pytest.mark.parametrize("standardize", ["-1", "1.5"])
def test_a_number_of_images_to_standardize_by_is_a_number_of_images(standardize, one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        build_map(f"linear(standardize={standardize})")
    one_line(error, "standardize")


def test_linear_without_a_program_is_numpys_logistic_regression_on_the_hosts_scores():
    """Softmax regression by Adam on all images at once, in float64; no program, and the host is as it was."""
    task = random_task(num_classes=4, n=(60, 12, 16))
    model = tiny_model(task, program="none", label_map="linear", mean=(0.5,) * 3, std=(0.05,) * 3).double()
    start = reprogram.evaluate(model, task.train).loss
    with torch.no_grad():
        scores = model.host(model.canvas(task.train.images)).numpy()
    states = []
    reprogram.fit(
        model,
        task,
        epochs=25,
        batch_size=60,
        validations=25,
        learner="adam(learning_rate=0.1, schedule='constant')",
        on_progress=lambda report: states.append(model.learned_state()),
    )
    wanted, scale = np.eye(4)[task.train.labels.numpy()], 24**-0.25
    w = np.concatenate([np.eye(4, 24) / scale, np.zeros((4, 1))], axis=1)  # The bias is the last column.
    inputs = np.concatenate([scores * scale, np.ones((60, 1))], axis=1)
    m, v = np.zeros_like(w), np.zeros_like(w)
    for step in range(1, 26):
        gradient = (softmax(inputs @ w.T, axis=1) - wanted).T @ inputs / 60
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        w = w - 0.1 * (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.999**step)) + 1e-8)
        now = states[step - 1]
        np.testing.assert_allclose(now["label_map.matrix"].numpy(), w[:, :-1], rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(now["label_map.bias"].numpy(), w[:, -1], rtol=1e-6, atol=1e-6)
    assert set(now) == {"label_map.matrix", "label_map.bias"}
    assert reprogram.evaluate(model, task.train).loss < start


def test_the_hosts_loss_is_refused_for_a_learned_map(one_line):
    task = random_task()
    with pytest.raises(reprogram.ConfigError) as error:
        reprogram.fit(tiny_model(task, label_map="linear"), task, loss="host", epochs=1)
    one_line(error, "linear", "loss 'task'")


@pytest.mark.parametrize("spec", ["greedy", "greedy(refit='epochs')", "confidence(labels_per_class=2)"])
def test_the_hosts_loss_has_a_lower_bound_for_fitted_maps(spec):
    task = random_task(separable=False)
    model = tiny_model(task, label_map=spec)
    reprogram.fit(model, task, loss="host", epochs=1, batch_size=8)
    from reprogram.training.losses import losses_of

    with torch.no_grad():
        assert (losses_of(model, task.train.images, task.train.labels, "host") >= -1e-5).all()


def test_answers_that_are_all_alike_count_for_nothing():
    rng = torch.Generator().manual_seed(0)
    scores, labels = torch.randn(10, 32, generator=rng) - 3, torch.arange(50) % 10
    few, most, none = (build_map("linear(standardize=50)", 32, 10) for _ in range(3))
    few.update(scores, labels[:10])
    most.update(torch.cat([scores, torch.zeros(40, 32)]), labels)
    none.update(torch.zeros(50, 32), labels)
    for label_map in (few, most, none):
        label_map.fit_from_statistics()
    assert torch.equal(few.mean, most.mean) and torch.equal(few.spread, most.spread)
    assert few.mean.numpy() == pytest.approx(scores.double().mean(0).numpy(), abs=1e-6)
    assert torch.isfinite(none(scores)).all()
