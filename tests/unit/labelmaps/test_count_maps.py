"""The maps that count labels against NumPy, SciPy and scikit-learn."""

import numpy as np
import pytest
import torch
from scipy.special import softmax
from sklearn.naive_bayes import MultinomialNB

import reprogram
from helpers import fitted, random_task, tiny_model
from helpers_components import build_map, scores_and_labels
from reprogram.evaluation.reading import Answers, host_shows
from reprogram.hosts._shown import Shown
from reprogram.utils.smoothing import STRENGTHS, best_strength


def table(scores, labels, k):
    counts = np.zeros((k, scores.shape[1]))
    np.add.at(counts, (labels, scores.argmax(1)), 1)
    return counts


def left_out(counts, base, strength):
    """The leave-one-out likelihood, image by image: each image's count is really taken out of the table."""
    total = 0.0
    for row in counts:
        for j, n in enumerate(row):
            without = row.copy()
            without[j] -= 1
            for _ in range(int(n)):
                total += np.log((without[j] + strength * base[j]) / (without.sum() + strength))
    return total


@pytest.mark.parametrize("seed", range(4))
def test_the_strength_is_the_one_under_which_left_out_counts_are_most_likely(seed):
    rng = np.random.default_rng(seed)
    rows = rng.dirichlet(np.full(5, [0.1, 0.5, 5, 50][seed]), size=30)
    counts = np.stack([rng.multinomial(rng.integers(0, 12), row) for row in rows]).astype(float)
    base = rng.dirichlet(np.full(5, 5.0))
    likelihoods = [left_out(counts, base, strength) for strength in STRENGTHS]
    found = best_strength(torch.from_numpy(counts), torch.from_numpy(base))
    assert found == STRENGTHS[int(np.argmax(likelihoods))]


def shares_left_out(images, classes, k, strength):
    """The same where images add shares: each image's own are really taken out."""
    sums = np.stack([images[classes == i].sum(0) for i in range(k)])
    total, base = 0.0, 1 / images.shape[1]
    for image, i in zip(images, classes, strict=True):
        without = sums[i] - image
        total += (image * np.log((without + strength * base) / (without.sum() + strength))).sum()
    return total


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("spread", [0.3, 3.0])
def test_images_that_add_shares_are_left_out_by_what_they_added(seed, spread):
    """Label 2p comes with the share .75 and 2p + 1 with .25, so the mean of what images added is what each did."""
    rng = np.random.default_rng(seed)
    pairs, k = 10, 3
    classes = rng.integers(0, k, size=60)
    of_class = rng.dirichlet(np.full(pairs, spread), size=k)
    images = np.zeros((60, 2 * pairs))
    for row, i in enumerate(classes):
        p = rng.choice(pairs, p=of_class[i])
        images[row, 2 * p : 2 * p + 2] = 0.75, 0.25
    label_map = build_map("evidence-bayes", 2 * pairs, k)
    # Scores whose shares of evidence these are: e_j = (p_j - min p) / Σ (p_j - min p).
    scores = torch.from_numpy(np.log((images + 0.01) / (1 + 0.01 * 2 * pairs)))
    np.testing.assert_allclose(label_map.shares(scores).numpy(), images, atol=1e-9)
    fitted(label_map, scores.numpy(), classes)
    strength = STRENGTHS[int(np.argmax([shares_left_out(images, classes, k, one) for one in STRENGTHS]))]
    sums = np.stack([images[classes == i].sum(0) for i in range(k)])
    logs = np.log((sums + strength / (2 * pairs)) / (sums.sum(1, keepdims=True) + strength))
    np.testing.assert_allclose(label_map.matrix.numpy(), logs - logs.mean(0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("concentration", [2, 10, 200])
@pytest.mark.parametrize("seed", range(3))
def test_shares_spread_over_many_labels_are_not_smoothed_away(seed, concentration):
    """What an image takes out of a cell is its share, and not a whole count; the mean share is near to each one's."""
    rng = np.random.default_rng(seed)
    of_class = rng.dirichlet(np.full(50, 1.0), size=4)
    classes = rng.integers(0, 4, size=40)
    images = np.stack([rng.dirichlet(concentration * of_class[i]) for i in classes])
    exact = STRENGTHS[int(np.argmax([shares_left_out(images, classes, 4, one) for one in STRENGTHS]))]
    sums, squares = (
        torch.from_numpy(np.stack([values[classes == i].sum(0) for i in range(4)])) for values in (images, images**2)
    )
    base = torch.full((50,), 1 / 50, dtype=torch.float64)
    assert exact / 2 <= best_strength(sums, base, squares) <= exact * 2
    assert best_strength(sums, base) == STRENGTHS[-1]  # So it was where a whole count was left out.


def test_labels_that_tell_everything_are_smoothed_little_and_labels_that_tell_nothing_much():
    base = torch.full((2,), 0.5, dtype=torch.float64)
    clear = torch.tensor([[40.0, 0.0], [0.0, 40.0]], dtype=torch.float64)
    assert best_strength(clear, base) == STRENGTHS[0]
    assert best_strength(torch.full((50, 2), 1.0, dtype=torch.float64), base) > 100
    assert best_strength(torch.zeros(3, 2, dtype=torch.float64), base) == STRENGTHS[-1]


@pytest.mark.parametrize("k,absent", [(2, ()), (5, ()), (5, (1,)), (7, (0, 6))])
@pytest.mark.parametrize("smoothing", [None, 0.5, 20.0])
def test_bayes_rule_on_labels_is_numpys(k, absent, smoothing):
    scores, labels = scores_and_labels(k, k=k, absent=absent)
    label_map = fitted(build_map(f"label-bayes(smoothing={smoothing})", 12, k), scores, labels)
    counts = table(scores, labels, k)
    prior = (counts.sum(1) + 1) / (counts.sum() + k)
    if smoothing is None:
        smoothing = STRENGTHS[int(np.argmax([left_out(counts.T, prior, strength) for strength in STRENGTHS]))]
    given = (counts + smoothing * prior[:, None]) / (counts.sum(0) + smoothing)
    new = np.random.default_rng(9).normal(size=(50, 12))
    found = label_map(torch.from_numpy(new)).numpy()
    np.testing.assert_allclose(found, np.log(given[:, new.argmax(1)]).T, rtol=1e-5)
    np.testing.assert_allclose(np.exp(found).sum(1), 1, rtol=1e-5)
    silent = label_map(torch.zeros(1, 12, dtype=torch.float64)).numpy()[0]
    np.testing.assert_allclose(silent, np.log(prior), rtol=1e-5)  # An answer without a label leaves the prior.


@pytest.mark.parametrize("spec", ["label-bayes", "frequency", "iterative", "bayesian"])
def test_hard_labels_are_enough(spec):
    """A host that shows its top label alone gives the same fit as one that shows everything."""
    scores, labels = scores_and_labels(3)
    full = torch.from_numpy(scores)
    shown = Shown(labels=1, numbers=False)
    evidence = shown.evidence(*shown.answer(full)).numpy()
    maps = [fitted(build_map(spec), values, labels) for values in (scores, evidence)]
    for name, value in maps[0].state_dict().items():
        torch.testing.assert_close(value, maps[1].state_dict()[name], rtol=0, atol=0)
    if spec == "label-bayes":
        torch.testing.assert_close(maps[0](full), maps[1](torch.from_numpy(evidence)))


@pytest.mark.parametrize("spec", ["label-bayes", "frequency", "bayesian", "shown-bayes"])
def test_an_answer_that_says_nothing_counts_for_no_label(spec):
    scores, labels = scores_and_labels(3)
    silent = np.vstack([scores, np.full((70, 12), -2.5)])
    with_silent = fitted(build_map(spec), silent, np.concatenate([labels, np.zeros(70, int)]))
    without = fitted(build_map(spec), scores, labels)
    for name, value in without.state_dict().items():
        torch.testing.assert_close(with_silent.state_dict()[name], value, rtol=0, atol=0)


@pytest.mark.parametrize("count,numbers", [(3, True), (1, False)])
def test_the_bayesian_map_counts_the_labels_that_are_shown_and_no_others(count, numbers):
    scores, _ = scores_and_labels(8)
    shown = Shown(labels=count, numbers=numbers)
    evidence = shown.evidence(*shown.answer(torch.from_numpy(scores)))
    found = build_map("bayesian(top_fraction=1.0)").contribution(evidence).numpy()
    expected = np.zeros_like(found)
    tops = np.argsort(-scores, axis=1)[:, :count]
    chances = softmax(scores, axis=1) if numbers else np.full_like(scores, 0.5)
    np.put_along_axis(expected, tops, np.take_along_axis(chances, tops, axis=1), axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("count", [1, 3, 5])
@pytest.mark.parametrize("access", ["scores", "topk", "labels"])
def test_naive_bayes_on_shown_labels_is_scikit_learns(count, access):
    scores, labels = scores_and_labels(7, n=300)
    shown = Shown(labels=None if access == "scores" else count, numbers=access != "labels")

    def seen(values):
        ones = np.zeros_like(values)
        np.put_along_axis(ones, np.argsort(-values, axis=1)[:, :count], 1, axis=1)
        return ones

    def evidence(values):
        return shown.evidence(*shown.answer(torch.from_numpy(values)))

    label_map = fitted(build_map(f"shown-bayes(labels={count}, smoothing=0.7)"), evidence(scores).numpy(), labels)
    prior = (np.bincount(labels, minlength=5) + 1) / (len(labels) + 5)
    oracle = MultinomialNB(alpha=0.7, class_prior=prior).fit(seen(scores), labels)
    new = np.random.default_rng(1).normal(size=(80, 12))
    found = label_map(evidence(new)).numpy()
    np.testing.assert_allclose(softmax(found, axis=1), oracle.predict_proba(seen(new)), rtol=1e-4, atol=1e-7)


def test_a_label_that_fewer_answers_show_counts_only_where_it_is_shown():
    """The floor leaves out labels: what an answer doesn't show is no evidence, though five may be shown."""
    shown = Shown(labels=5, kind="probabilities", floor=0.2)
    scores = torch.log(torch.tensor([[0.5, 0.3, 0.1, 0.06, 0.04], [0.9, 0.04, 0.03, 0.02, 0.01]]))
    label_map = build_map("shown-bayes(labels=5)", host=5, task=2)
    found = label_map.contribution(shown.evidence(*shown.answer(scores)))
    assert found.tolist() == [[1, 1, 0, 0, 0], [1, 0, 0, 0, 0]]


def test_the_gradient_of_shown_labels_is_that_of_the_probabilities():
    """Straight-through: the value is that of the labels, the gradient that of the host's probabilities."""
    scores, labels = scores_and_labels(5)
    label_map = fitted(build_map("shown-bayes(labels=3)"), scores, labels).double()
    new = torch.from_numpy(np.random.default_rng(2).normal(size=(6, 12))).requires_grad_()
    values = label_map(new)
    torch.testing.assert_close(values.detach(), label_map(new.detach()))
    (found,) = torch.autograd.grad(values[:, 1].sum(), new)
    soft = new.detach().requires_grad_()
    expected = 3 * (soft.softmax(1) @ label_map.matrix.T)[:, 1].sum()
    torch.testing.assert_close(found, torch.autograd.grad(expected, soft)[0])


@pytest.mark.parametrize("sure", [1.0, 60.0])
def test_the_gradient_of_bayes_rule_on_labels_is_that_of_the_mixture(sure):
    """∂ log Σ_j p_j P(i | j) / ∂ s_l = p_l (P(i | l) / Σ_j p_j P(i | j) - 1), in NumPy; 0 where the host is silent."""
    scores, labels = scores_and_labels(5)
    label_map = fitted(build_map("label-bayes"), scores, labels).double()
    new = sure * np.random.default_rng(2).normal(size=(6, 12))
    new[5] = 0.25
    tensor = torch.from_numpy(new).requires_grad_()
    values = label_map(tensor)
    torch.testing.assert_close(values.detach(), label_map(tensor.detach()))
    given, chances = label_map.matrix.numpy(), softmax(new, axis=1)
    for label in range(5):
        (found,) = torch.autograd.grad(values[:, label].sum(), tensor, retain_graph=True)
        mixture = chances @ given[label]
        expected = chances * (given[label] / mixture[:, None] - 1)
        expected[5] = 0
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9, atol=1e-14)


def test_chances_that_half_precision_rounds_to_zero_leave_numbers():
    scores, labels = scores_and_labels(5)
    label_map = fitted(build_map("label-bayes"), scores, labels)
    label_map.matrix[0] = 1e-9
    new = torch.from_numpy(scores[:6]).half().requires_grad_()
    values = label_map(new)
    (found,) = torch.autograd.grad(values[:, 1].sum(), new)
    assert not values.isnan().any() and torch.isfinite(found).all()


def test_they_follow_the_answers_of_the_steps_without_another_pass():
    task = random_task(num_classes=4, n=(90, 12, 16))
    model = tiny_model(task, label_map="label-bayes(images=40)")
    before = model.host.meter.images
    reprogram.fit(
        model, task, learner="snes(population=4)", images=64, batch_size=16, validations=1, validation_images=12
    )
    assert model.host.meter.images - before == 40 + 4 * 64 + 12
    # Four batches of 16, each of which took away the weight of 8 earlier answers.
    assert float(model.label_map.statistics.sum()) == pytest.approx(40 + 4 * 8, rel=1e-6)


def test_the_top_label_alone_is_what_the_host_has_to_show():
    scores, labels = scores_and_labels(3)
    label_map = fitted(build_map("label-bayes"), scores, labels)
    full = torch.from_numpy(scores)
    answers = Answers(scores=label_map(full), top_labels=full.argmax(1))
    shown = host_shows(label_map, answers, torch.from_numpy(labels))
    assert shown["needed"] == "top_label" and shown["top_label"] == {**shown["all_scores"], "outside": 0}


def spoil(label_map):
    label_map.matrix[0, 3] += 0.5


def test_numbers_that_are_no_probabilities_are_refused(one_line):
    scores, labels = scores_and_labels(3)
    label_map = fitted(build_map("label-bayes"), scores, labels)
    spoil(label_map)
    with pytest.raises(reprogram.ConfigError) as error:
        label_map.validate()
    one_line(error, "label-bayes")
    for wrong in ("label-bayes(smoothing=0)", "shown-bayes(labels=0)", "shown-bayes(smoothing=-1)"):
        with pytest.raises(reprogram.ConfigError) as error:
            build_map(wrong)
        one_line(error, "expected")


@pytest.mark.parametrize("spec", ["label-bayes", "shown-bayes", "discriminant", "iterative", "bayesian"])
def test_several_answers_for_an_image_count_as_one_image(spec):
    """Points of a step are asked on the same images: the same answers twice are the answers once."""
    scores, labels = scores_and_labels(4, n=60)
    maps = [fitted(build_map(spec), scores, labels) for _ in range(2)]
    for label_map in maps:
        label_map.update(torch.from_numpy(scores), torch.from_numpy(labels))
    new, classes = (torch.from_numpy(value) for value in scores_and_labels(5, n=40))
    maps[0].on_step(new, classes)
    maps[1].on_step(new.repeat(2, 1), classes.repeat(2), torch.full((2 * len(new),), 0.5))
    torch.testing.assert_close(*(label_map.statistics for label_map in maps), rtol=1e-6, atol=1e-6)
    for label_map in maps:
        label_map.fit_from_statistics()
    for name, value in maps[0].state_dict().items():
        torch.testing.assert_close(maps[1].state_dict()[name], value, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("spec", "answer", "shown"),
    [(spec, None, count) for spec, count in (("label-bayes", 1), ("shown-bayes(labels=3)", 3), ("evidence-bayes", 1))]
    + [(spec, Shown(labels=1, numbers=False), 1) for spec in ("label-bayes", "shown-bayes")]
    + [("shown-bayes", Shown(labels=2), 2)],
)
@pytest.mark.parametrize("silent", [0, 8])
def test_a_new_image_drives_out_half_of_one_however_many_labels_it_shows(spec, answer, shown, silent):
    """60 images, then 400 new ones in batches: n grows by half of each batch, n - b / 2 + b; silence changes none."""

    def seen(scores):
        return scores if answer is None else answer.evidence(*answer.answer(scores))

    scores, labels = scores_and_labels(4, n=60)
    label_map = fitted(build_map(spec), seen(torch.from_numpy(scores)).numpy(), labels)
    new, classes = (torch.from_numpy(value) for value in scores_and_labels(5, n=400))
    for part in torch.arange(400).split(16):
        answers = torch.cat([seen(new[part]), torch.full((silent, new.shape[1]), -2.5)])
        label_map.on_step(answers, torch.cat([classes[part], torch.zeros(silent, dtype=torch.int64)]))
    counted = label_map.statistics[0] if spec == "evidence-bayes" else label_map.statistics
    assert float(counted.sum()) / shown == pytest.approx(60 + 400 / 2, rel=1e-4)


def test_answers_to_points_of_a_step_drive_out_as_much_as_one_answer_of_their_weights():
    """Label-only answers of shown-bayes, each with a weight of its own: NumPy's sums, step by step."""
    shown, generator = Shown(labels=1, numbers=False), np.random.default_rng(3)
    scores, labels = scores_and_labels(4, n=60)
    label_map = fitted(
        build_map("shown-bayes"), shown.evidence(*shown.answer(torch.from_numpy(scores))).numpy(), labels
    )
    expected = table(scores, labels, 5)
    for seed in range(6):
        new, classes = scores_and_labels(10 + seed, n=24)
        weights = generator.uniform(0.1, 1, size=24)
        label_map.on_step(
            shown.evidence(*shown.answer(torch.from_numpy(new))), torch.from_numpy(classes), torch.from_numpy(weights)
        )
        expected *= 1 - weights.sum() / (2 * expected.sum())
        np.add.at(expected, (classes, new.argmax(1)), weights)
    np.testing.assert_allclose(label_map.statistics.numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize("spec", ["label-bayes(images=30)", "shown-bayes(images=30, labels=3)"])
def test_an_interrupted_run_goes_on_with_the_same_counts(spec, tmp_path):
    """With a loss of the whole batch that reads the map's counts too: to the same program and map."""
    task = random_task(num_classes=4, n=(80, 12, 16), separable=False)
    options = {"loss": "leave-one-out", "learner": "snes(population=4)", "batch_size": 16, "images": 160, "seed": 3}
    options |= {"validations": 2, "checkpoint_every": "1"}
    whole = tiny_model(task, label_map=spec, std=(0.02,) * 3)
    reprogram.fit(whole, task, **options)

    def stop(progress):
        if progress.images == 80:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken = tiny_model(task, label_map=spec, std=(0.02,) * 3)
        reprogram.fit(broken, task, checkpoint=tmp_path / "state", on_progress=stop, **options)
    again = tiny_model(task, label_map=spec, std=(0.02,) * 3)
    reprogram.fit(again, task, checkpoint=tmp_path / "state", **options)
    for name, value in whole.learned_state().items():
        assert torch.equal(value, again.learned_state()[name]), name
    assert torch.equal(whole.label_map.statistics, again.label_map.statistics)
