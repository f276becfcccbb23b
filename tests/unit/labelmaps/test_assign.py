"""One-to-one assignments: the published greedy choice, and the best of all."""

import itertools

import numpy as np
import pytest
import torch

import reprogram
from helpers_components import build_map, chosen_labels, published_greedy
from reprogram.labelmaps._assign import assign, benefit_of

FITTED = ["frequency", "frequency(assignment='optimal')", "iterative", "iterative(assignment='optimal')"]


def fitted_to_counts(label_map, counts, rng):
    """Give a map scores of these counts, in batches of any size, and fit it."""
    pairs = np.array([(i, j) for (i, j), n in np.ndenumerate(counts) for _ in range(n)])
    for batch in np.array_split(rng.permutation(pairs), 4):
        scores = rng.normal(size=(len(batch), counts.shape[1]))
        scores[np.arange(len(batch)), batch[:, 1]] = 9
        label_map.update(torch.from_numpy(scores).float(), torch.from_numpy(batch[:, 0]))
    np.testing.assert_array_equal(label_map.statistics.numpy(), counts)
    label_map.fit_from_statistics()
    assert label_map.statistics is None
    return label_map


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("name", ["frequency", "iterative"])
def test_greedy_is_the_published_choice(name, seed):
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 4, (5, 12)) * (rng.random((5, 12)) < 0.4)  # Many ties, many zeros.
    counts[0, 0] += 1
    chosen = chosen_labels(fitted_to_counts(build_map(name), counts, rng))
    assert len(set(chosen)) == 5
    for task, host in published_greedy(counts).items():
        assert chosen[task] == host


@pytest.mark.parametrize("seed", range(20))
def test_optimal_is_the_best_of_all_one_to_one_maps(seed):
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 6, (4, 7)) * (rng.random((4, 7)) < 0.6)
    counts[1, 2] += 1
    chosen = chosen_labels(fitted_to_counts(build_map("frequency(assignment='optimal')", 7, 4), counts, rng))
    best = max(counts[range(4), list(p)].sum() for p in itertools.permutations(range(7), 4))
    assert len(set(chosen)) == 4 and counts[range(4), chosen].sum() == best
    greedy = chosen_labels(fitted_to_counts(build_map("frequency", 7, 4), counts, rng))
    assert counts[range(4), greedy].sum() <= best


def test_optimal_beats_greedy_where_greedy_is_short_sighted():
    counts = np.array([[10, 9], [8, 0]])
    rng = np.random.default_rng(0)
    assert chosen_labels(fitted_to_counts(build_map("frequency", 2, 2), counts, rng)) == [0, 1]
    assert chosen_labels(fitted_to_counts(build_map("frequency(assignment='optimal')", 2, 2), counts, rng)) == [1, 0]


@pytest.mark.parametrize("how", ["greedy", "optimal"])
def test_an_absent_class_shifts_nothing_and_gets_what_the_others_choose_least(how):
    """Peers loop over the labels that they see: later classes move."""
    counts = np.zeros((4, 6), dtype=int)
    counts[0, 3], counts[2, 1], counts[3, 5] = 5, 7, 2  # Class 1 has no images.
    counts[0, 0] = counts[2, 2] = 1
    chosen = chosen_labels(
        fitted_to_counts(build_map(f"frequency(assignment={how!r})", 6, 4), counts, np.random.default_rng(0))
    )
    assert chosen == [3, 4, 1, 5]


@pytest.mark.parametrize("how", ["greedy", "optimal"])
def test_a_frequent_class_keeps_no_other_from_its_own_label(how):
    counts = np.array([[900, 80, 0, 20], [0, 3, 1, 0], [0, 0, 2, 0]])
    chosen = chosen_labels(
        fitted_to_counts(build_map(f"frequency(assignment={how!r})", 4, 3), counts, np.random.default_rng(0))
    )
    assert chosen == [0, 1, 2]


def test_the_preference_among_labels_of_no_answer_never_outweighs_an_answer():
    rng = np.random.default_rng(5)
    for _ in range(200):
        counts = torch.from_numpy(rng.integers(0, 2, (4, 6)) * rng.integers(0, 2, (4, 6))).double()
        rows = torch.arange(4)
        value = counts[rows, assign(benefit_of(counts), "optimal")].sum()
        assert value == counts[rows, assign(counts, "optimal")].sum()


@pytest.mark.parametrize("spec", FITTED)
def test_a_host_of_too_few_labels_is_refused(spec, one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        build_map(spec, host=4, task=5)
    one_line(error, "5", "4")
    rng = np.random.default_rng(0)
    assert sorted(chosen_labels(fitted_to_counts(build_map(spec, 5, 5), rng.integers(0, 9, (5, 5)), rng))) == [
        0,
        1,
        2,
        3,
        4,
    ]
