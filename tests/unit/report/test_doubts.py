"""What a result says against its own program."""

import pytest

from reprogram.report.page import doubts


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
    assert all(word in line for word, line in zip(words, found, strict=True))
