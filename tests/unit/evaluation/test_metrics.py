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
from reprogram.evaluation.metrics import score
from reprogram.evaluation.predict import predict


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


@pytest.mark.parametrize("n", [1, 10, 60, 359, 2000, 10_000])
def test_all_or_none_right_lies_within_its_interval(n):
    assert reprogram.wilson_interval(n, n)[1] == 1.0 and reprogram.wilson_interval(0, n)[0] == 0.0


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
    """Not on its size, nor on the other images in it."""
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


def test_loss_is_finite_for_huge_scores():
    scores = torch.tensor([[1e4, -1e4], [-1e4, 1e4]])
    assert math.isfinite(score(scores, torch.tensor([0, 0])).loss)


def test_a_task_with_other_classes_is_refused(one_line):
    """Its labels mean something else, whatever numbers they are."""
    task = random_task()
    model = tiny_model(task)
    assert reprogram.evaluate(model, task).n == 16
    splits = {"train": task.train, "validation": task.validation, "test": task.test}
    swapped = reprogram.Task(name="swapped", class_names=task.class_names[::-1], **splits)
    with pytest.raises(reprogram.DataError) as error:
        reprogram.evaluate(model, swapped)
    one_line(error, "swapped", "another order")
    two = random_task(num_classes=2)
    with pytest.raises(reprogram.DataError, match="2 classes instead of 4"):
        reprogram.evaluate(model, two)
    assert reprogram.evaluate(model, swapped.test).n == 16  # A split has labels without names.


def test_what_is_no_number_of_images_is_refused(one_line):
    model, task = tiny_model(), random_task()
    for call in (
        lambda: reprogram.evaluate(model, task, batch_size=0),
        lambda: list(reprogram.predict_files(model, ["x.png"], batch_size=-1)),
        lambda: list(reprogram.predict_files(model, ["x.png"], decoders=-1)),
    ):
        with pytest.raises(reprogram.ReprogramError) as error:
            call()
        one_line(error, "at least 1")


@pytest.mark.parametrize(
    ("labels", "says"), [([], "no images"), ([0, -1, 2], "go down to -1"), ([0, 1, 3], "go up to 3")]
)
def test_labels_that_cannot_be_measured_by_are_refused(labels, says, one_line):
    with pytest.raises(reprogram.DataError) as error:
        score(torch.zeros(len(labels), 3), torch.tensor(labels, dtype=torch.int64))
    one_line(error, says)
