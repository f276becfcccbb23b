"""What people are told of a host's answers is what the host shows, and not the evidence that stands for the rest."""

import pytest
import torch

import reprogram
from reprogram.hosts._told import told

BARE = "(timm:test_resnet?pretrained=False&num_classes=200&size=48)"
IMAGES = torch.rand(2, 3, 48, 48, generator=torch.Generator().manual_seed(1))


def first(spec, most=3):
    host = reprogram.load_host(spec)
    return told(host, host(IMAGES), most)


@pytest.fixture(scope="module")
def probabilities():
    return reprogram.load_host(f"defended:{BARE}?by=temperature(t=0.02)")(IMAGES).softmax(1)


def test_a_bare_host_shows_its_softmax():
    host = reprogram.load_host(BARE[1:-1])
    scores = host(IMAGES)
    assert told(host, scores) == host.info.top_labels(scores)


def test_rounded_numbers_are_told_as_they_are_shown(probabilities):
    for decimals in (1, 2):
        rows = first(f"defended:{BARE}?by=temperature(t=0.02)+rounding(decimals={decimals})")
        for row, exact in zip(rows, probabilities, strict=True):
            expected = (exact.topk(3).values * 10**decimals).round() / 10**decimals
            assert [one["probability"] for one in row] == pytest.approx(expected.tolist(), abs=1e-6)


def test_percent_and_independent_numbers_are_shares(probabilities):
    rows = first(f"defended:{BARE}?by=temperature(t=0.02)+rounding(decimals=0,kind='percent')")
    for row, exact in zip(rows, probabilities, strict=True):
        assert row[0]["probability"] == pytest.approx(round(100 * float(exact.max())) / 100)
    scores = reprogram.load_host(BARE[1:-1])(IMAGES)
    for row, exact in zip(first(f"defended:{BARE}?by=rounding(decimals=2,kind='independent')"), scores, strict=True):
        assert row[0]["probability"] == pytest.approx(round(float(exact.sigmoid().max()), 2), abs=0.0101)


@pytest.mark.parametrize("spec", ["defended:{}?by=label-only", "restricted:{}?access=label"])
def test_a_label_without_a_number_stands_alone(spec):
    for row in first(spec.format(BARE)):
        assert len(row) == 1 and row[0]["probability"] is None


def test_no_more_labels_are_named_than_are_shown(probabilities):
    for row in first(f"defended:{BARE}?by=top-k(k=2)"):
        assert len(row) == 2
    for row, exact in zip(
        first(f"restricted:(defended:{BARE}?by=temperature(t=0.02))?access=topk&k=5&floor=0.05"),
        probabilities,
        strict=True,
    ):
        assert len(row) == min(int((exact >= 0.05).sum()), 3)
        assert [one["probability"] for one in row] == pytest.approx(exact.topk(len(row)).values.tolist(), rel=1e-2)
