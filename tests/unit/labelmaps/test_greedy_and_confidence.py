"""Maps of several host labels a class, greedy or in the order of confidence, against NumPy."""

import numpy as np
import pytest
import torch
from scipy.special import logsumexp, softmax

from helpers import fitted
from helpers_components import build_map, scores_and_labels


def owners(label_map, host):
    rows = label_map.assignment()
    assert sorted(j for row in rows for j in row) == list(range(host)), "every host label speaks for one task label"
    return np.array([next(i for i, row in enumerate(rows) if j in row) for j in range(host)])


@pytest.mark.parametrize("absent", [(), (2,)])
@pytest.mark.parametrize("seed", range(10))
def test_greedy_gives_each_host_label_to_the_class_that_says_it_most(seed, absent):
    scores, labels = scores_and_labels(seed, n=400, absent=absent)
    counts = np.zeros((5, 12))
    np.add.at(counts, (labels, scores.argmax(axis=1)), 1)
    found = owners(fitted(build_map("greedy"), scores, labels), 12)
    mean = np.array(
        [softmax(scores, axis=1)[labels == i].mean(axis=0) if i in labels else np.zeros(12) for i in range(5)]
    )
    expected = np.array([max(range(5), key=lambda i: (counts[i, j], mean[i, j])) for j in range(12)])
    if len(set(expected)) == 5:
        np.testing.assert_array_equal(found, expected)
    assert len(set(found)) == 5, "every task label has a host label"


def test_greedy_decides_what_is_never_said_by_the_probability():
    scores = np.array([[9.0, 1, 0], [0, 0, 9], [0, 2, 9], [0, 0, 9]])
    label_map = fitted(build_map("greedy", 3, 2), scores, np.array([0, 1, 1, 1]))
    assert label_map.assignment() == [[0], [1, 2]]
    scores[0, 1] = 5.0  # Now class 0 gives host label 1 the larger mean probability.
    assert fitted(build_map("greedy", 3, 2), scores, np.array([0, 1, 1, 1])).assignment() == [[0, 1], [2]]


@pytest.mark.parametrize("seed", range(5))
def test_answers_that_count_in_part_are_summed_as_they_count(seed):
    """Learners that ask give each answer to an image a part; whole parts of such sums made another map."""
    scores, labels = scores_and_labels(seed, n=60)
    parts = np.random.default_rng(seed).choice([0.2, 0.25, 1 / 3, 0.5], size=60)
    label_map = build_map("greedy(refit='epochs')")
    for rows in np.array_split(np.arange(60), 7):
        label_map.on_step(*(torch.from_numpy(values[rows]) for values in (scores, labels, parts)))
    label_map.fit_from_statistics()
    counts = np.zeros((5, 12))
    np.add.at(counts, (labels, scores.argmax(axis=1)), parts)
    expected = counts.argmax(axis=0)
    said = np.diff(np.sort(counts, axis=0)[-2:], axis=0)[0] > 1e-9  # Probabilities decide the others.
    assert said.sum() >= 6 and set(expected[said]) == set(range(5))
    np.testing.assert_array_equal(owners(label_map, 12)[said], expected[said])


REDUCE = {"mean": np.mean, "max": np.max, "log-sum-exp": logsumexp}


@pytest.mark.parametrize("scale", [1.0, 1e4])
@pytest.mark.parametrize("reduce", REDUCE)
def test_greedy_reduces_groups_of_any_size(reduce, scale):
    scores, labels = scores_and_labels(3)
    label_map = fitted(build_map(f"greedy(reduce={reduce!r})"), scores, labels)
    rows = label_map.assignment()
    assert len({len(row) for row in rows}) > 1
    expected = np.stack([REDUCE[reduce](scores[:, row] * scale, axis=1) for row in rows], axis=1)
    np.testing.assert_allclose(label_map(torch.from_numpy(scores * scale)).numpy(), expected, rtol=1e-12)
    few = torch.from_numpy(scores[:4]).requires_grad_()
    assert torch.autograd.gradcheck(label_map, (few,))


def test_greedys_log_sum_exp_is_the_hosts_own_probability():
    scores, labels = scores_and_labels(4)
    label_map = fitted(build_map("greedy"), scores, labels)
    host = softmax(scores, axis=1)
    expected = np.stack([host[:, row].sum(axis=1) for row in label_map.assignment()], axis=1)
    np.testing.assert_allclose(softmax(label_map(torch.from_numpy(scores)).numpy(), axis=1), expected, rtol=1e-10)


@pytest.mark.parametrize("order", ["least", "most"])
@pytest.mark.parametrize("reduce", REDUCE)
def test_confidence_deals_host_labels_in_the_order_of_their_mean_score(order, reduce):
    scores, labels = scores_and_labels(6, absent=(1,))
    spec = f"confidence(labels_per_class=2, order={order!r}, reduce={reduce!r})"
    label_map = fitted(build_map(spec), scores, labels)
    ranked = np.argsort(scores.mean(axis=0) * (1 if order == "least" else -1))
    assert label_map.assignment() == [[ranked[i], ranked[5 + i]] for i in range(5)]
    values = REDUCE[reduce](scores[:, label_map.groups.numpy()], axis=2)
    expected = values - np.log(2) if reduce == "log-sum-exp" else values
    np.testing.assert_allclose(label_map(torch.from_numpy(scores)).numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_frequency_groups_deal_the_most_frequent_remaining_pair_in_rounds(seed):
    """Against NumPy: in each round one more host label for every class, the largest remaining count first."""
    scores, labels = scores_and_labels(seed, n=300)
    counts = np.zeros((5, 12))
    np.add.at(counts, (labels, scores.argmax(axis=1)), 1)
    label_map = fitted(build_map("frequency-groups(labels_per_class=2)"), scores, labels)
    rows = label_map.assignment()
    assert sorted(map(len, rows)) == [2] * 5 and len({label for row in rows for label in row}) == 10
    free, expected = set(range(12)), [[] for _ in range(5)]
    for _ in range(2):
        waiting = set(range(5))
        while waiting:
            best, i, j = max((counts[i, j], -j, -i) for i in waiting for j in free)
            if best == 0:  # Ties among labels that are never said are decided by what other classes say.
                return
            expected[-j].append(-i)
            waiting.remove(-j)
            free.remove(-i)
    assert rows == expected


def test_frequency_groups_of_one_label_are_frequency_and_more_read_the_hosts_probability():
    scores, labels = scores_and_labels(7)
    one = fitted(build_map("frequency-groups(labels_per_class=1)"), scores, labels)
    assert one.assignment() == fitted(build_map("frequency"), scores, labels).assignment()
    two = fitted(build_map("frequency-groups(labels_per_class=2)"), scores, labels)
    probability = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    expected = np.stack([probability[:, row].mean(axis=1) for row in two.assignment()], axis=1)
    found = two(torch.from_numpy(scores)).exp().numpy() / np.exp(scores).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_images_of_which_the_host_says_nothing_win_no_label_for_their_class():
    """Labels 6 to 8 are never the largest, and likelier for class 1; the scores of class 2 are all alike."""
    generator = torch.Generator().manual_seed(0)
    scores, labels = torch.randn(90, 12, generator=generator), torch.arange(90) % 3
    scores[:, 6:] -= 4
    scores[labels == 1, 6:9] += 2
    scores[labels == 2] = 0.5
    label_map = fitted(build_map("greedy", 12, 3), scores.numpy(), labels.numpy())
    assert {6, 7, 8} <= set(label_map.assignment()[1]) and len(label_map.assignment()[2]) == 1
