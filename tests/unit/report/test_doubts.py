"""What a result says against its own program."""

import pytest

from reprogram.report.doubts import doubts


def result(interval, worth=None):
    baselines = {"chance": {"accuracy": 0.1}, "majority": {"accuracy": 0.12}}
    found = {"test": {"interval": list(interval)}, "baselines": baselines}
    return found if worth is None else {**found, "program_worth": {"interval": list(worth)}}


@pytest.mark.parametrize(
    ("interval", "worth", "words"),
    [
        ((0.8, 0.9), (0.6, 0.8), []),
        ((0.8, 0.9), None, []),
        ((0.8, 0.9), (-0.01, 0.02), ["holds 0"]),
        ((0.8, 0.9), (-0.08, -0.02), ["below 0"]),
        ((0.09, 0.14), (0.02, 0.07), ["at what guessing gets"]),  # The map alone may be worse than guessing.
        ((0.05, 0.11), (-0.08, -0.02), ["below what guessing gets", "below 0"]),
    ],
)
def test_a_sentence_for_each_doubt(interval, worth, words):
    found = doubts(result(interval, worth))
    assert len(found) == len(words)
    assert all(word in line for word, line in zip(words, found.values(), strict=True))


@pytest.mark.parametrize(("answers", "n", "said"), [(1, 17, True), (2, 17, False), (1, 1, False), (None, 17, False)])
def test_one_answer_to_all_images_is_a_doubt_however_often_it_is_right(answers, n, said):
    found = result((0.36, 0.78), (0.3, 0.78))
    found["test"]["n"] = n
    if answers is not None:
        found["different_answers"] = answers
    assert list(doubts(found)) == (["one_answer"] if said else [])


@pytest.mark.parametrize(
    ("learning", "said"),
    [
        ({"images_seen": 0, "changed_numbers": 0, "selected_step": 0}, True),
        ({"images_seen": 320, "changed_numbers": 0, "selected_step": 20}, True),  # Each gradient was 0.
        ({"images_seen": 320, "changed_numbers": 7, "selected_step": 20}, False),
        ({"images_seen": 0, "selected_step": 0}, True),  # An older result doesn't count what changed.
        ({"images_seen": 320, "selected_step": 0}, True),
        ({"images_seen": 320, "selected_step": 20}, False),
        ({}, False),
    ],
)
def test_a_run_in_which_nothing_was_learned(learning, said):
    found = doubts({**result((0.8, 0.9), (0.6, 0.8)), **learning})
    assert list(found) == (["nothing_learned"] if said else [])
    assert not said or found["nothing_learned"].startswith("Nothing was learned")


def test_a_run_without_a_program_is_told_so():
    found = doubts({**result((0.8, 0.9), (0.6, 0.8)), "images_seen": 0, "changed_numbers": 0, "learned_numbers": 0})
    assert list(found) == ["nothing_learned"] and found["nothing_learned"].startswith("There was nothing to learn")


@pytest.mark.parametrize(("spread", "said"), [(3e-6, True), (0.0, True), (0.05, False), (1.2, False)])
def test_a_constant_shift_is_no_reprogramming(spread, said):
    found = doubts({**result((0.8, 0.9), (0.6, 0.8)), "program_effect": {"spread": spread, "n": 16}})
    assert list(found) == (["constant_shift"] if said else [])


@pytest.mark.parametrize(("alone", "names"), [(0.2, []), (0.85, ["at_map_alone"]), (0.95, ["below_map_alone"])])
def test_an_older_result_is_held_against_the_map_without_pairs(alone, names):
    old = result((0.8, 0.9))
    old["baselines"]["map_alone"] = {"accuracy": alone, "n": 100}
    assert list(doubts(old)) == names
