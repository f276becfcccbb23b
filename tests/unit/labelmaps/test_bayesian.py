"""The Bayesian map against NumPy."""

import numpy as np
import pytest
import torch
from scipy.special import softmax

import reprogram
from helpers import fitted, random_task, tiny_model
from helpers_components import build_map, scores_and_labels
from reprogram.utils.seeding import epoch_order


def numpy_bayesian(scores, labels, k, top_fraction, smoothing):
    """Cai et al. (2024), algorithms 1 and 2, image by image."""
    counts = np.zeros((k, scores.shape[1]))
    for s, label in zip(scores, labels, strict=True):
        if top_fraction:
            top = np.argsort(-s)[: max(1, int(top_fraction * k))]
            counts[label, top] += softmax(s)[top]
        else:
            counts[label, s.argmax()] += 1
    joint = counts.sum(axis=0) + smoothing
    given = np.divide(counts, joint, out=np.zeros_like(counts), where=joint > 0)
    total = given.sum(axis=1, keepdims=True)
    return np.where(total > 0, given / np.where(total > 0, total, 1), 1 / scores.shape[1])


@pytest.mark.parametrize("smoothing", [0.0, 1.0, 5.0])
@pytest.mark.parametrize("top_fraction", [0.0, 0.15, 0.5, 1.0])
@pytest.mark.parametrize("k,absent", [(2, ()), (3, ()), (6, ()), (7, ()), (10, ()), (5, (1,)), (7, (0, 6))])
def test_bayesian_is_numpys(k, absent, top_fraction, smoothing):
    """Also below seven classes, where the authors' int(0.15 k) is 0 and their weights NaN."""
    scores, labels = scores_and_labels(k, k=k, absent=absent)
    spec = f"bayesian(top_fraction={top_fraction}, smoothing={smoothing})"
    label_map = fitted(build_map(spec, 12, k), scores, labels)
    expected = numpy_bayesian(scores, labels, k, top_fraction, smoothing)
    np.testing.assert_allclose(label_map.matrix.numpy(), expected, rtol=2e-6, atol=1e-9)
    np.testing.assert_allclose(label_map.matrix.sum(dim=1).numpy(), 1, rtol=1e-5)
    np.testing.assert_allclose(label_map(torch.from_numpy(scores)).numpy(), scores @ expected.T, rtol=1e-4, atol=1e-5)
    for row, weights, whole in zip(label_map.assignment(), label_map.weights(), expected, strict=True):
        np.testing.assert_allclose(weights, whole[row], rtol=2e-6)
        assert weights == sorted(weights, reverse=True) and len(row) <= 10
        assert weights[0] == pytest.approx(whole.max(), rel=2e-6)


def test_bayes_rule_in_closed_form():
    """Four images, two answers: P(0 | a) = 2/4, P(1 | a) = 1/4, P(1 | b) = 1/2, by hand."""
    scores = np.array([[9.0, 0, 0], [9, 0, 0], [9, 0, 0], [0, 9, 0]])
    label_map = fitted(build_map("bayesian", 3, 2), scores, np.array([0, 0, 1, 1]))
    np.testing.assert_allclose(label_map.matrix.numpy(), [[1, 0, 0], [1 / 3, 2 / 3, 0]], rtol=1e-6)


def test_bayesian_is_refitted_from_the_epochs_own_scores():
    task = random_task(num_classes=5, n=(90, 12, 16))
    model = tiny_model(task, label_map="bayesian(top_fraction=0.4)", mean=(0.5,) * 3, std=(0.05,) * 3)
    calls, inner = [], model.label_map.forward

    def spy(scores):
        if torch.is_grad_enabled():
            calls.append((scores.detach().double().numpy(), model.label_map.matrix.clone().numpy()))
        return inner(scores)

    model.label_map.forward = spy
    model.host.meter.images = 0
    reprogram.fit(model, task, epochs=3, batch_size=16, sampling="shuffled", num_microbatches=1, validations=2, seed=1)
    assert model.host.meter.images == 90 + 3 * 90 + 2 * 12  # No second pass.
    for epoch in range(2):
        scores = np.concatenate([scores for scores, _ in calls[6 * epoch : 6 * epoch + 6]])
        labels = task.train.labels[epoch_order(90, 1, epoch)].numpy()
        expected = numpy_bayesian(scores, labels, 5, 0.4, 1.0)
        for _, matrix in calls[6 * epoch + 6 : 6 * epoch + 12]:
            np.testing.assert_allclose(matrix, expected, rtol=1e-4, atol=1e-7)
    assert not np.array_equal(calls[0][1], calls[6][1])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_an_answer_without_evidence_leaves_the_prior_in_any_precision(dtype):
    label_map = build_map("evidence-bayes", 32, 10)
    silent = label_map(torch.zeros(1, 32, dtype=dtype))
    assert torch.isfinite(silent).all() and torch.allclose(silent.float(), label_map.bias.float()[None], atol=1e-2)
