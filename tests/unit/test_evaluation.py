"""Accuracy, interval and confusion against scipy, torchmetrics and scikit-learn."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix, log_loss
from torchmetrics.functional.classification import multiclass_accuracy

import reprogram
from helpers import random_task, tiny_model
from reprogram import baselines
from reprogram.evaluation import predict, score


@pytest.mark.parametrize(
    "correct,n",
    [
        (0, 1),
        (1, 1),
        (0, 10),
        (10, 10),
        (1, 10),
        (7, 10),
        (81, 263),
        (15, 148),
        (500, 1000),
        (9999, 10_000),
        (1, 10**7),
    ],
)
def test_wilson_interval_is_scipys(correct, n):
    expected = binomtest(correct, n).proportion_ci(confidence_level=0.95, method="wilson")
    assert reprogram.wilson_interval(correct, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize(
    "correct,n,low,high",
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_interval_is_newcombes_published_one(correct, n, low, high):
    """Newcombe, Statistics in Medicine 17 (1998), table I, method 3."""
    assert reprogram.wilson_interval(correct, n) == pytest.approx((low, high), abs=5.1e-5)


@pytest.mark.parametrize("correct,n", [(0, 0), (-1, 5), (6, 5)])
def test_no_interval_without_trials(correct, n, one_line):
    with pytest.raises(reprogram.DataError) as error:
        reprogram.wilson_interval(correct, n)
    one_line(error)


@pytest.mark.parametrize("seed", range(3))
def test_score_is_torchmetrics_and_sklearns(seed):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(200, 7, generator=generator) * 2
    labels = torch.randint(0, 6, (200,), generator=generator)  # The last class is missing from the data.
    result = score(scores, labels)
    assert result.accuracy == pytest.approx(float(multiclass_accuracy(scores, labels, 7, average="micro")), abs=1e-7)
    expected = confusion_matrix(labels, scores.argmax(1), labels=range(7))
    np.testing.assert_array_equal(np.array(result.confusion), expected)
    probabilities = scores.double().softmax(1).numpy()
    assert result.loss == pytest.approx(log_loss(labels, probabilities, labels=range(7)), rel=1e-5)
    assert result.n == 200 and result.correct == np.trace(expected)
    record = result.to_json()
    assert record == {"accuracy": result.accuracy, "n": 200, "interval": list(result.interval)}


def test_scores_that_are_not_finite_are_refused(one_line):
    scores = torch.zeros(3, 4)
    scores[1, 2] = float("nan")
    with pytest.raises(reprogram.DataError) as error:
        score(scores, torch.tensor([0, 1, 2]))
    one_line(error, "finite")


def test_labels_the_model_does_not_have_are_refused(one_line):
    with pytest.raises(reprogram.DataError) as error:
        score(torch.zeros(2, 3), torch.tensor([0, 3]))
    one_line(error)


def test_predictions_do_not_depend_on_the_batch():
    """Not on its size, nor on the other images in it (facts/peers.md, fault 4)."""
    task = random_task(n=(40, 12, 64), separable=False)
    model = tiny_model(task)
    reference = torch.cat([predict(model, task.test.take(torch.tensor([i]))) for i in range(64)])
    for size in (1, 7, 64):
        scores = predict(model, task.test, batch_size=size)
        torch.testing.assert_close(scores, reference, rtol=1e-5, atol=1e-6)
        assert torch.equal(scores.argmax(1), reference.argmax(1))
    order = torch.randperm(64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(predict(model, task.test.take(order)), reference[order], rtol=1e-5, atol=1e-6)
    results = [reprogram.evaluate(model, task, batch_size=size) for size in (1, 7, 64)]
    assert len({r.confusion for r in results}) == 1


def test_dark_images_are_not_rescaled_by_their_batch():
    task = random_task()
    model = tiny_model(task)
    dark = torch.full((1, 3, 8, 8), 10, dtype=torch.uint8)
    bright = torch.full((1, 3, 8, 8), 250, dtype=torch.uint8)
    with torch.no_grad():
        alone, together = model(dark), model(torch.cat([dark, bright]))
    torch.testing.assert_close(alone[0], together[0])
    assert not torch.allclose(together[0], together[1])


def test_evaluate_takes_any_callable():
    task = random_task()
    result = reprogram.evaluate(
        lambda images: torch.nn.functional.one_hot(torch.zeros(len(images)).long(), 4) * 1.0, task
    )
    assert result.correct == int((task.test.labels == 0).sum())


def test_evaluation_text_carries_n_and_interval():
    result = reprogram.Evaluation(n=200, correct=150, loss=0.5)
    low, high = result.interval
    assert f"{low:.4f}" in str(result) and f"{high:.4f}" in str(result) and "200" in str(result)


def test_chance_and_majority():
    task = random_task(num_classes=4)
    labels = torch.tensor([0] * 5 + [2] * 20 + [3] * 15)
    object.__setattr__(task, "train", reprogram.Split(images=task.train.images, labels=labels))
    assert baselines.chance(task) == {"accuracy": 0.25}
    found = baselines.majority(task)
    assert found["class"] == "class 2"
    assert found["accuracy"] == np.mean(task.test.labels.numpy() == 2)
    assert found["n"] == len(task.test) and len(found["interval"]) == 2


def test_label_map_alone_is_the_host_on_the_bare_canvas():
    task = random_task(separable=False)
    model = tiny_model(task)
    model.program.weight.data.fill_(5.0)
    with torch.no_grad():
        scores = model.host(model.canvas(task.test.images))[:, :4]
    accuracy = float((scores.argmax(1) == task.test.labels).float().mean())
    assert baselines.label_map_alone(model, task)["accuracy"] == pytest.approx(accuracy)


def test_linear_probe_learns_a_separable_task_and_names_its_features():
    task = random_task(n=(80, 12, 40))
    result = baselines.linear_probe(tiny_model(task).host, task)
    assert result["accuracy"] > 0.7 and result["n"] == 40
    assert result["train_images"] == 80 and "head" in result["features"]
    callable_host = reprogram.Host.wrap(lambda x: x.mean((2, 3)), size=16)
    assert baselines.linear_probe(callable_host, task)["features"] == "scores"


@pytest.mark.parametrize(
    "model,last", [("resnet18", "fc"), ("squeezenet1_0", "classifier.1"), ("vgg11_bn", "classifier.6")]
)
def test_features_are_what_the_untouched_last_layer_reads(model, last):
    host = reprogram.load_host(f"torchvision:{model}(pretrained=False, size=64)")
    pixels = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    read = []
    layer = host.net.get_submodule(last)
    hook = layer.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0]))
    with torch.no_grad():
        host.net((pixels - host.mean) / host.std)
        hook.remove()
        found, where = host.features(pixels)
    expected = read[0].mean((2, 3)) if read[0].ndim == 4 else read[0]
    assert len(read) == 1 and where == f"input of {last}"
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_direct_training_learns_a_separable_task_and_counts_its_images():
    task = random_task(n=(80, 12, 40))
    result = baselines.direct_training(task, 160)
    assert result["accuracy"] > 0.7 and result["n"] == 40 and result["images_seen"] == baselines.DIRECT_IMAGES
    assert baselines.direct_training(task, 160) == result


def test_loss_is_finite_for_huge_scores():
    scores = torch.tensor([[1e4, -1e4], [-1e4, 1e4]])
    assert math.isfinite(score(scores, torch.tensor([0, 0])).loss)
