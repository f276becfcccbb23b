"""The losses for answers alone against NumPy, SciPy and scikit-learn."""

import numpy as np
import pytest
import torch
from scipy.special import softmax
from scipy.stats import rankdata
from sklearn.metrics import hinge_loss, mutual_info_score

import reprogram
from helpers import random_task, tiny_model
from helpers_components import scores_and_labels
from reprogram.hosts._shown import Shown
from reprogram.losses.base import Answered
from reprogram.training.losses import loss_named, losses_of
from reprogram.utils.smoothing import STRENGTHS

K, k = 12, 5


def answered(scores, labels, task=None, **more):
    """A batch as a loss gets it."""
    host = torch.as_tensor(scores)
    return Answered(host=host, task=host[:, :k] if task is None else task, labels=torch.as_tensor(labels), **more)


def losses(spec, *args, **kwargs):
    return loss_named(spec).losses(answered(*args, **kwargs)).numpy()


def left_out(tops, labels, earlier, strength):
    """Image by image: the table is counted anew without it."""
    found = []
    prior = (np.bincount(labels, minlength=k) + 1) / (len(labels) + k)
    for i, (top, label) in enumerate(zip(tops, labels, strict=True)):
        others = np.delete(np.arange(len(labels)), i)
        same = others[tops[others] == top]
        counts = np.bincount(labels[same], minlength=k) + earlier[:, top]
        chance = (counts + strength * prior) / (counts.sum() + strength)
        found.append(-np.log(chance[label]))
    return np.array(found)


@pytest.mark.parametrize("smoothing", [0.3, 4.0, None])
@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_leave_one_out_is_counted_anew_without_each_image(smoothing, weight):
    scores, labels = scores_and_labels(1, n=150)
    kept = np.random.default_rng(3).integers(1, 4, (k, K)).astype(float)
    found = losses(
        f"leave-one-out(earlier={weight}, smoothing={smoothing})", scores, labels, counts=torch.from_numpy(kept)
    )
    tops = scores.argmax(1)
    if smoothing is None and weight == 0:
        smoothing = min(STRENGTHS, key=lambda strength: left_out(tops, labels, 0 * kept, strength).sum())
    if smoothing is not None:
        np.testing.assert_allclose(found, left_out(tops, labels, weight * kept, smoothing), rtol=1e-10)
    assert found.mean() < np.log(k)  # These labels tell of the classes.


def test_labels_that_tell_nothing_are_worth_no_more_than_the_prior():
    rng = np.random.default_rng(0)
    scores, labels = rng.normal(size=(400, K)), np.arange(400) % k
    assert losses("leave-one-out", scores, labels).mean() == pytest.approx(np.log(k), abs=0.02)
    mean = losses("mutual-information", scores, labels).mean()
    assert abs(mean) < 0.02 < 0.04 < mutual_info_score(labels, scores.argmax(1))  # The counts alone are biased.


@pytest.mark.parametrize("n", [40, 400])
def test_mutual_information_is_scikit_learns_less_millers_bias(n):
    scores, labels = scores_and_labels(2, n=n)
    tops = scores.argmax(1)
    cells = len({*zip(tops.tolist(), labels.tolist(), strict=True)})
    bias = (cells - len(set(tops.tolist())) - len(set(labels.tolist())) + 1) / (2 * n)
    expected = mutual_info_score(labels, tops) - bias
    assert -losses("mutual-information", scores, labels).mean() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("spec", ["leave-one-out", "mutual-information"])
def test_answers_that_show_no_label_are_a_label_of_their_own(spec):
    scores, labels = scores_and_labels(4, n=90)
    silent = scores.copy()
    silent[::3] = 0.5
    named = silent.copy()
    named = np.hstack([named, np.full((90, 1), -9.0)])
    named[::3, -1] = 99
    np.testing.assert_allclose(losses(spec, silent, labels), losses(spec, named, labels), rtol=1e-12)


@pytest.mark.parametrize("margin", [0.0, 1.0, 2.5])
def test_the_margin_is_crammer_and_singers_hinge_as_the_temperature_falls_and_the_cross_entropy_at_one(margin):
    scores, labels = scores_and_labels(5, n=100)
    task = scores[:, :k]
    hinge = losses(f"margin(margin={margin}, temperature=0.001)", scores, labels)
    rows = np.arange(len(labels))
    others = task.copy()
    others[rows, labels] = -np.inf
    np.testing.assert_allclose(hinge, np.maximum(0, margin + others.max(1) - task[rows, labels]), atol=2e-3)
    if margin == 1:
        assert hinge.mean() == pytest.approx(hinge_loss(labels, task, labels=np.arange(k)), abs=2e-3)
    entropy = losses("margin(margin=0, temperature=1)", scores, labels)
    np.testing.assert_allclose(entropy, -np.log(softmax(task, axis=1)[rows, labels]), rtol=1e-9)


@pytest.mark.parametrize("single", [True, False])
@pytest.mark.parametrize("access", ["scores", "topk", "label"])
def test_ranks_are_scipys(single, access):
    """Of labels that aren't shown it is known that they come later: they share their mean rank."""
    scores, labels = scores_and_labels(6, n=80)
    shown = Shown(labels={"scores": None, "topk": 4, "label": 1}[access], numbers=access != "label")
    evidence = shown.evidence(*shown.answer(torch.from_numpy(scores)))
    chosen = torch.tensor([7, 0, 3, 11, 5])
    single_labels = chosen if single else None
    found = losses("rank", evidence, labels, task=evidence[:, chosen], single_labels=single_labels)
    values, places = (evidence.numpy(), chosen.numpy()) if single else (evidence[:, chosen].numpy(), np.arange(k))
    ranks = np.stack([rankdata(-row, method="average") for row in values])[np.arange(80), places[labels]]
    np.testing.assert_allclose(np.exp(found), ranks, rtol=1e-9)
    if single and access == "label":
        assert {*np.round(np.exp(found), 6)} <= {1.0, 1 + K / 2}


def test_a_loss_of_the_whole_batch_is_computed_at_once_whatever_the_microbatches():
    task = random_task(num_classes=4, n=(80, 12, 16), separable=False)
    model = tiny_model(task, label_map="label-bayes", std=(0.02,) * 3)
    images, labels = task.train.images, task.train.labels
    with torch.no_grad():
        whole = model.host_scores(images)
        before = model.host.meter.calls
        found = losses_of(model, images, labels, "leave-one-out")
    expected = loss_named("leave-one-out").losses(
        Answered(host=whole, task=model.label_map(whole), labels=labels, counts=None)
    )
    torch.testing.assert_close(found, expected)
    assert model.host.meter.calls - before == 80 // 16
    seen = []
    for number in (1, 4):
        twin = tiny_model(task, label_map="label-bayes(images=20)", std=(0.02,) * 3)
        options = {"loss": "leave-one-out", "images": 64, "batch_size": 32, "num_microbatches": number}
        before = twin.host.meter.images
        reprogram.fit(twin, task, learner="snes(population=4)", validations=1, seed=2, **options)
        assert twin.host.meter.images - before == 20 + 2 * 4 * 32 + 12  # Nobody leaves a race.
        seen.append(twin.program.state_dict())
    for name, value in seen[0].items():
        assert torch.equal(value, seen[1][name])


@pytest.mark.parametrize("loss", ["leave-one-out", "mutual-information", "rank"])
def test_a_loss_without_a_gradient_is_refused_for_learners_that_follow_one(loss, one_line):
    task = random_task()
    with pytest.raises(reprogram.ConfigError) as error:
        reprogram.fit(tiny_model(task), task, loss=loss, epochs=1)
    one_line(error, loss, "no gradient", "adam", "snes")
    assert not loss_named(loss).differentiable


def test_wrong_losses_are_refused_with_what_is_right(one_line):
    task = random_task()
    for wrong, words in {
        "tusk": ("tusk", "did you mean 'task'"),
        "margin(temperature=0)": ("temperature=0",),
        "margin(margin=-1)": ("margin=-1",),
        "smoothed(smoothing=1)": ("smoothing=1",),
        "leave-one-out(earlier=-1)": ("earlier=-1",),
        "task(x=1)": ("task",),
        "auto(x=1)": ("auto",),
    }.items():
        with pytest.raises(reprogram.ConfigError) as error:
            reprogram.fit(tiny_model(task), task, loss=wrong, epochs=1)
        one_line(error, *words)
