"""What an attacker does without a program: against scikit-learn, SciPy, and the host's own count of images."""

import json

import jsonschema
import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import logsumexp
from sklearn.neighbors import KNeighborsClassifier

import reprogram
from helpers import ROOT, random_task, tiny_model
from helpers_runs import cli
from reprogram.evaluation import from_scratch
from reprogram.evaluation.baselines.base import BaselineInput
from reprogram.evaluation.baselines.nearest_neighbour import neighbours
from reprogram.evaluation.baselines.score_regression import STRENGTHS, regression
from reprogram.evaluation.paired import net_gain, paired
from reprogram.hosts._shown import Shown
from reprogram.registry import configure

ASKING = ("all-scores", "nearest-neighbour", "score-regression", "map-alone")


@pytest.fixture
def short(monkeypatch):
    """Small nets see few images."""
    monkeypatch.setattr("reprogram.evaluation.baselines.direct_training.DIRECT_IMAGES", 1600)
    monkeypatch.setattr("reprogram.evaluation.baselines.direct_training.DIRECT_PASSES", 1)
    monkeypatch.setattr("reprogram.evaluation.baselines.distillation.PASSES", 1)


def baseline(spec):
    variant, config = configure("baselines", spec)
    return variant(config)


def clouds(seed, n, k=3, features=8, spread=1.0, centres=0):
    """Points around k centres, and their classes."""
    rng, labels = np.random.default_rng(seed), np.random.default_rng(seed).integers(0, k, n)
    means = np.random.default_rng(centres).normal(size=(k, features))
    return torch.from_numpy(means[labels] + spread * rng.normal(size=(n, features))), torch.from_numpy(labels)


def test_the_nearest_neighbour_is_scikit_learns_by_cosines():
    (train, labels), (test, _) = clouds(1, 120), clouds(2, 300)
    oracle = KNeighborsClassifier(n_neighbors=1, metric="cosine").fit(train.numpy(), labels.numpy())
    votes = neighbours(train, labels, test, 3)
    assert np.array_equal(votes.argmax(1).numpy(), oracle.predict(test.numpy()))
    assert bool((votes.sum(1) == 1).all())


def test_on_labels_alone_the_images_of_the_same_label_vote():
    (scores, labels), (new, _) = clouds(3, 200), clouds(4, 50)
    shown = Shown(labels=1, numbers=False)
    train, test = (shown.evidence(*shown.answer(values)) for values in (scores, new))
    votes = neighbours(train, labels, test, 3)
    for row, top in zip(votes, new.argmax(1), strict=True):
        same = labels[scores.argmax(1) == top]
        assert row.tolist() == torch.bincount(same, minlength=3).tolist()


def test_the_regression_minimises_the_penalised_likelihood():
    (train, labels), (test, _) = clouds(5, 90, spread=2.0), clouds(6, 40)
    found, strength = regression(train, labels, test, 3)
    mean, std = train.mean(0).numpy(), train.std(0, unbiased=False).numpy()
    x, y = (train.numpy() - mean) / std, labels.numpy()

    def loss(weights):
        w, b = weights[:24].reshape(8, 3), weights[24:]
        scores = x @ w + b
        return strength * (logsumexp(scores, axis=1) - scores[np.arange(90), y]).sum() + (w**2).sum() / 2

    best = minimize(loss, np.zeros(27), method="L-BFGS-B", options={"maxiter": 5000, "maxfun": 10**6}).x
    scores = (test.numpy() - mean) / std @ best[:24].reshape(8, 3) + best[24:]
    expected = scores - logsumexp(scores, axis=1, keepdims=True)
    np.testing.assert_allclose(found.numpy(), expected, atol=5e-3)


def test_the_regressions_strength_is_the_best_on_what_was_held_out():
    train, labels = clouds(7, 100, features=60, spread=4.0)
    _, strength = regression(train, labels, train[:5], 3)
    held_out = torch.arange(100) % 5 == 0
    right = []
    for c in STRENGTHS:
        scores = regression_at(train[~held_out], labels[~held_out], train[held_out], c)
        right.append(float((scores.argmax(1) == labels[held_out]).float().mean()))
    assert strength == STRENGTHS[int(np.argmax(right))]


def regression_at(train, labels, test, strength):
    """The regression with one strength alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("reprogram.evaluation.baselines.score_regression.STRENGTHS", (strength,))
        return regression(train, labels, test, 3)[0]


def test_classes_without_images_are_never_said():
    train, labels = clouds(8, 30)
    scores, _ = regression(train, labels * 0 + 2, train, 4)
    assert set(scores.argmax(1).tolist()) == {2} and torch.isfinite(scores).all()
    some = labels > 0
    scores, _ = regression(train[some], labels[some], train, 4)
    assert set(scores.argmax(1).tolist()) == {1, 2} and torch.isfinite(scores).all()


@pytest.mark.parametrize("name", ASKING)
@pytest.mark.parametrize("queries", [None, 30, 10_000])
def test_each_asks_as_many_images_as_the_run_may(name, queries):
    """Each training image once, and the test images; the forecast knows it."""
    task = random_task(n=(80, 12, 40))
    model = tiny_model(task, label_map="frequency(images=50)")
    run = BaselineInput(model=model, task=task, images_seen=20, queries=queries)
    before = model.host.meter.images
    found = baseline(name).measure(run)
    unlimited = 50 if name == "map-alone" else 80
    expected = {None: unlimited, 30: 30, 10_000: 80}[queries]
    assert model.host.meter.images - before == expected + 40 == baseline(name).asks(run).images
    assert found.get("train_images", expected) == expected and found["n"] == 40
    predicted = run.predictions[name.replace("-", "_")].numpy()
    assert found["accuracy"] == np.mean(predicted == task.test.labels.numpy())


def test_a_net_that_imitates_comes_near_to_the_answers():
    task = random_task(n=(80, 12, 40))
    answers = torch.eye(4)[task.train.labels] * 0.7 + 0.075
    net = from_scratch.imitate(task.train.images, answers, 2800, seed=0)
    with torch.no_grad():
        found = net(task.train.images).softmax(1)
    assert (found - answers).abs().mean() < 0.07


def test_distillation_asks_each_training_image_once_and_no_test_image(short):
    task = random_task(n=(80, 12, 40))
    model = tiny_model(task)
    run, before = BaselineInput(model=model, task=task, queries=60), model.host.meter.images
    found = baseline("distillation").measure(run)
    assert model.host.meter.images - before == 60 == found["train_images"] == baseline("distillation").asks(run).images
    assert found["accuracy"] > 0.7 and found == baseline("distillation").measure(run)


def learn_on(task, changes):
    """What a run hands to its baselines."""

    def learn(host, more):
        changes.append(more)
        twin = reprogram.Reprogrammed.build(host, task, program="full", label_map="discriminant(images=40)", seed=4)
        result = reprogram.fit(twin, task, validations=2, batch_size=8, seed=4, **more)
        return twin, result.images_seen, result.seconds

    return learn


def test_a_program_of_a_surrogate_is_sent_as_it_is_and_only_the_map_is_fitted_anew():
    task = random_task(n=(80, 12, 40), separable=False)
    host = reprogram.load_host("linear(size=16, num_classes=20)")
    model = reprogram.Reprogrammed.build(host, task, program="full", label_map="discriminant(images=40)", seed=4)
    changes, start = [], model.learned_state()
    run = BaselineInput(model=model, task=task, queries=70, seed=4, learn_on=learn_on(task, changes))
    before = host.meter.images
    surrogate = baseline("surrogate(host='linear(size=16, num_classes=30)', epochs=2)")
    found = surrogate.measure(run)
    assert host.meter.images - before == 70 + 40 == surrogate.asks(run).images and found["train_images"] == 70
    assert found["host"].startswith("linear:16") and found["images_seen"] == 160
    assert changes[0]["queries"] is None and changes[0]["learner"] == "adam"
    assert all(torch.equal(value, model.learned_state()[name]) for name, value in start.items())
    # On the surrogate itself the sent program is the learned one: with the same host both give the same classes.
    same = baseline("surrogate(host='linear(size=16, num_classes=20)', epochs=2)")
    same.measure(run)
    twin, _, _ = learn_on(task, [])(reprogram.load_host("linear(size=16, num_classes=20)"), changes[-1])
    from reprogram.labelmaps._calibration import fit_to_answers

    twin.label_map = fit_to_answers(twin.label_map, twin.host_scores, task.train, count=70)
    with torch.no_grad():
        assert torch.equal(twin(task.test.images).argmax(1), run.predictions["surrogate"])


def test_surrogates_that_dont_fit_are_refused(one_line):
    task = random_task()
    run = BaselineInput(model=tiny_model(task), task=task, learn_on=learn_on(task, []))
    with pytest.raises(reprogram.ConfigError) as error:
        baseline("surrogate:linear:24").measure(run)
    one_line(error, "3x24x24", "3x16x16")
    learned = BaselineInput(model=tiny_model(task, label_map="linear"), task=task, learn_on=learn_on(task, []))
    with pytest.raises(reprogram.ConfigError) as error:
        baseline("surrogate(host='linear(size=16, num_classes=30)')").measure(learned)
    one_line(error, "linear", "30", "24")
    with pytest.raises(reprogram.ConfigError) as error:
        baseline("untrained").check(BaselineInput(model=tiny_model(task), task=task))
    one_line(error, "untrained")
    for wrong in ("surrogate", "surrogate(host='linear:24', epochs=0)", "surrogate(host='linear:24', learner='x')"):
        with pytest.raises(reprogram.ConfigError) as error:
            baseline(wrong)
        one_line(error)


def test_a_baseline_that_cant_be_measured_is_refused_before_anything_is_learned(tmp_path, one_line):
    flags = ["--host", "linear:24", "--task", "digits", "--epochs", "1", "--out", str(tmp_path / "run"), "--quiet"]
    for wrong, words in {
        "surrogate:linear:32": ("3x32x32", "3x24x24"),
        "surrogate": ("host",),
        "nearest-neighbor": ("nearest-neighbour",),
    }.items():
        code, _, err = cli("fit", *flags, "--baselines", wrong)
        one_line(err.strip(), *words)
        assert code == 3 and not (tmp_path / "run" / "history.jsonl").exists()
    code, _, err = cli("fit", *flags, "--baselines", "surrogate:linear:24", "surrogate:linear:32")
    one_line(err.strip(), "surrogate", "twice")


def test_the_net_gain_is_over_the_best_baseline():
    rng = np.random.default_rng(0)
    labels = torch.from_numpy(rng.integers(0, 3, 200))
    columns = {"label": labels}
    for name, share in {"program": 0.7, "map_alone": 0.3, "all_scores": 0.6, "linear_probe": 0.9}.items():
        columns[name] = torch.where(torch.from_numpy(rng.random(200) < share), labels, 3)
    gain = net_gain(columns, ["map_alone", "all_scores", "score_regression"])
    best = paired(columns["program"], columns["all_scores"], labels)
    assert gain["over"] == "all_scores" and gain["difference"] == best.difference
    assert gain["interval"] == list(best.interval) and gain["only_baseline"] == best.only_map
    assert net_gain(columns, ["score_regression"]) is None


def test_a_run_holds_itself_against_all_of_them(tmp_path, short):
    """On a host that shows labels alone; every number of the result comes from the predictions."""
    host = "restricted(host='linear(size=24, num_classes=12)', access='label')"
    baselines = ["map-alone", "all-scores", "nearest-neighbour", "score-regression", "direct-training"]
    baselines += ["distillation", "surrogate(host='linear(size=24, num_classes=20, seed=3)', epochs=1)"]
    flags = ["--host", host, "--task", "digits", "--label-map", "label-bayes(images=50)", "--learner", "snes"]
    flags += ["--program", "tiles(side=4)", "--loss", "leave-one-out", "--batch-size", "32", "--queries", "700"]
    flags += ["--test-images", "100", "--canvas", "scaled", "--out", str(tmp_path / "run"), "--quiet"]
    cli("fit", *flags, "--baselines", *baselines)
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    schema = json.loads((ROOT / "src/reprogram/runs/result.schema.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(result)
    asked = [result["baselines"][name]["train_images"] for name in ("nearest_neighbour", "score_regression")]
    assert asked == [700, 700] and result["queries"] <= 700 and result["loss"] == "leave-one-out"
    rows = np.genfromtxt(tmp_path / "run" / "predictions.csv", delimiter=",", names=True, dtype=int)
    right = {name: np.mean(rows[name] == rows["label"]) for name in rows.dtype.names}
    assert right["program"] == result["test"]["accuracy"]
    measured = [name for name in result["baselines"] if name in right]
    assert len(measured) == 7 and all(right[name] == result["baselines"][name]["accuracy"] for name in measured)
    gain = result["net_gain"]
    assert right[gain["over"]] == max(right[name] for name in measured)
    assert gain["difference"] == pytest.approx(right["program"] - right[gain["over"]])
    assert "the best without a program" in (tmp_path / "run" / "report.html").read_text()
