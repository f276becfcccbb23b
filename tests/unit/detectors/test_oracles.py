"""Scores of detectors against NumPy in float64, or a plain loop over pixels."""

import math
from collections import Counter

import numpy as np
import pytest
from scipy import ndimage

import reprogram
from reprogram.detectors._shingles import run_hashes, smallest


def detector(spec):
    return reprogram.load_detector(spec)


def pictures(n, shape=(3, 64, 64), seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, *shape), dtype=np.uint8)


def program(n, window=24, size=64, seed=0):
    """A frame of noise around pictures of noise."""
    generator = np.random.default_rng(seed)
    images = np.repeat(generator.integers(0, 256, (1, 3, size, size), dtype=np.uint8), n, axis=0)
    start = (size - window) // 2
    images[:, :, start : start + window, start : start + window] = generator.integers(
        0, 256, (n, 3, window, window), dtype=np.uint8
    )
    return images


def scores(built, images, answers=None, account="a"):
    answers = [None] * len(images) if answers is None else answers
    return [built._score(image, account, answer) for image, answer in zip(images, answers, strict=True)]


def test_softmax_and_energy():
    answers = np.random.default_rng(0).normal(0, 5, (20, 7))
    blank = np.zeros((20, 1, 4, 4), np.uint8)
    p = np.exp(answers) / np.exp(answers).sum(1, keepdims=True)
    np.testing.assert_allclose(scores(detector("largest-softmax"), blank, answers), -p.max(1))
    np.testing.assert_allclose(scores(detector("largest-softmax(confident=True)"), blank, answers), p.max(1))
    cold = np.exp(answers / 2) / np.exp(answers / 2).sum(1, keepdims=True)
    np.testing.assert_allclose(scores(detector("largest-softmax(temperature=2.0)"), blank, answers), -cold.max(1))
    energy = -np.log(np.exp(answers).sum(1))
    np.testing.assert_allclose(scores(detector("energy"), blank, answers), energy)
    np.testing.assert_allclose(scores(detector("energy(low=True)"), blank, answers), -energy)
    mean = scores(detector("energy(over=4)"), blank, answers)
    np.testing.assert_allclose(mean[3:], [energy[i - 3 : i + 1].mean() for i in range(3, 20)])


@pytest.mark.parametrize("shrinkage", [0.0, 0.3])
def test_mahalanobis_and_neighbours(shrinkage):
    generator = np.random.default_rng(1)
    benign, odd = generator.normal(size=(60, 5)) @ generator.normal(size=(5, 5)), generator.normal(3, 2, (9, 5))
    labels = np.arange(60) % 3
    built = detector(f"mahalanobis(shrinkage={shrinkage})")
    built.fit(benign, labels)
    means = np.stack([benign[labels == i].mean(0) for i in range(3)])
    within = benign - means[labels]
    covariance = within.T @ within / 60
    covariance = (1 - shrinkage) * covariance + shrinkage * np.trace(covariance) / 5 * np.eye(5)
    expected = [min((z - m) @ np.linalg.solve(covariance, z - m) for m in means) / 5 for z in odd]
    np.testing.assert_allclose([built.value(z) for z in odd], expected)
    near = detector("neighbours(k=4)")
    near.fit(benign)
    unit = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in (benign, odd)]
    distances = np.sort(np.linalg.norm(unit[1][:, None] - unit[0][None], axis=2), axis=1)
    np.testing.assert_allclose([near.value(z) for z in odd], distances[:, 3], atol=1e-6)


def test_concentration_is_one_minus_the_entropy():
    labels = np.random.default_rng(2).integers(0, 6, 50)
    found = scores(detector("concentration(history=20, least=5)"), np.zeros((50, 1, 2, 2), np.uint8), np.eye(6)[labels])
    for i in range(50):
        last = labels[max(0, i - 19) : i + 1]
        shares = np.array(list(Counter(last.tolist()).values())) / len(last)
        expected = 1 + (shares * np.log(shares)).sum() / math.log(len(last)) if len(last) >= 5 else 0
        assert found[i] == pytest.approx(expected, abs=1e-12)


def test_encoder_neighbours_keep_distances():
    generator = np.random.default_rng(3)
    answers = generator.normal(size=(40, 300))
    built = detector("encoder-neighbours(k=3, history=10, numbers=1024)")
    found = scores(built, np.zeros((40, 1, 2, 2), np.uint8), answers)
    assert found[:3] == [-2, -2, -2]
    unit = answers / np.linalg.norm(answers, axis=1, keepdims=True)
    for i in range(3, 40):
        distances = np.sort(np.linalg.norm(unit[max(0, i - 10) : i] - unit[i], axis=1))
        assert -found[i] == pytest.approx(distances[:3].mean(), rel=0.12)


def test_hashes_of_runs_are_equal_where_the_runs_are_equal():
    levels = np.random.default_rng(4).integers(0, 3, (6, 40), dtype=np.uint32)
    hashes = run_hashes(levels, 8, 12345677)
    runs = {}
    for i in range(6):
        for j in range(33):
            runs.setdefault(tuple(levels[i, j : j + 8]), set()).add(int(hashes[i, j]))
    assert all(len(values) == 1 for values in runs.values())
    assert len(set().union(*runs.values())) == len(runs)
    np.testing.assert_array_equal(smallest(hashes, 9), np.unique(hashes)[:9])
    assert len(smallest(np.zeros((5, 5), np.uint32), 9)) == 1


@pytest.mark.parametrize("name", ["repeated-border", "repeated-content"])
def test_repetitions_are_counted(name):
    built = detector(name)
    assert scores(built, program(30)) == list(range(30))
    assert scores(built, pictures(30), account="b") == [0] * 30
    # Byte for byte again: a retry scores nothing and counts nothing.
    again = program(31)[30]
    assert [built._score(again, "a", None) for _ in range(4)] == [30, 0, 0, 0]
    assert built._score(program(32)[31], "a", None) == 31


def test_repeated_border_by_a_plain_loop():
    built = detector("repeated-border(side=6, step=16, share=0.5)")
    images = program(12, window=40)
    seen: list[Counter] = [Counter() for _ in range(36)]
    for image, found in zip(images, scores(built, images), strict=True):
        counts, contents = [], set()
        for cell in range(36):
            row, column = (int((k + 0.5) * 64 / 6) for k in divmod(cell, 6))
            patch = (image[:, row - 2 : row + 2, column - 2 : column + 2] // 16).tobytes()
            if patch not in contents:
                counts.append(seen[cell][patch])
            contents.add(patch)
            seen[cell][patch] += 1
        assert found == sorted(counts, reverse=True)[math.ceil(len(counts) / 2) - 1]


@pytest.mark.parametrize("name,moved", [("repeated-border", False), ("repeated-content", True)])
def test_only_repeated_content_sees_a_program_that_moves(name, moved):
    large, generator = program(20, window=24, size=80), np.random.default_rng(5)
    places = generator.permutation(256)[:20]
    images = [image[:, p // 16 : p // 16 + 64, p % 16 : p % 16 + 64] for image, p in zip(large, places, strict=True)]
    assert (scores(detector(name), images)[-1] >= 15) == moved


def test_bars_and_blank_pages_are_no_repetition():
    images = pictures(40)
    images[:, :, :20], images[:, :, 44:] = 0, 0
    for name in ("repeated-border", "repeated-content"):
        assert max(scores(detector(name), images)) == 0
    assert max(scores(detector("persistent-detail(least=8)"), images)) < 0.25
    assert max(scores(detector("still-cells(least=8)"), images)) < -2
    blank = np.full((20, 3, 64, 64), 255, np.uint8)
    blank[:, :, 0, 0] = np.arange(20)[:, None]
    for name in ("repeated-border", "repeated-content", "persistent-detail(least=8)"):
        assert max(scores(detector(name), blank)) == 0


def test_persistent_detail_is_the_share_that_stays():
    """Of pictures alike in a part of their columns; noise that averages out lowers it, and only that."""
    generator = np.random.default_rng(6)
    still = generator.integers(0, 256, (3, 64, 64), dtype=np.uint8)
    for width, low, high in ((64, 0.97, 1.01), (32, 0.4, 0.6), (0, -0.05, 0.05)):
        images = pictures(60, seed=7)
        images[:, :, :, :width] = still[:, :, :width]
        images[:, :, 0, 0] = np.arange(60)[:, None]
        assert low < scores(detector("persistent-detail(places=4000)"), images)[-1] < high
    noisy = (still.astype(float) + generator.uniform(-30, 30, (60, 3, 64, 64))).clip(0, 255).astype(np.uint8)
    assert scores(detector("persistent-detail(places=4000)"), noisy)[-1] > 0.8


@pytest.mark.parametrize("name", ["still-cells(least=8)", "coarse-neighbours(k=8)"])
def test_bars_around_a_white_wall_are_no_repetition(name):
    """The picture between the bars is blank in more cells than the bars are, but not in their colour."""
    images = np.zeros((20, 3, 96, 96), np.uint8)
    images[:, :, 16:80] = 255
    images[:, :, 64:80] = (
        np.random.default_rng(0).integers(0, 256, (20, 3, 16, 1, 12, 1)).repeat(8, 5).reshape(20, 3, 16, 96)
    )
    assert max(scores(detector(name), images)) < -20


def test_still_cells_is_the_deviation_over_time():
    """Of the plain mean of a block; against NumPy's variance while the account is young."""
    images = pictures(20, (3, 60, 60), seed=8)
    images = (images * np.random.default_rng(9).uniform(0.3, 1, (20, 3, 1, 1))).astype(np.uint8)
    found = scores(detector("still-cells(side=6, least=20)"), images)[-1]
    cells = images.reshape(20, 3, 6, 10, 6, 10).astype(float)
    numbers = np.concatenate((cells.mean((3, 5)), cells[:, 1:2].std((3, 5))), axis=1)
    deviation = np.sqrt(numbers.var(0).mean(0)).ravel()
    assert found == pytest.approx(-np.sort(deviation)[17], rel=1e-4)


def test_coarse_neighbours_by_a_plain_loop():
    built = detector("coarse-neighbours(side=4, k=3, history=8, share=0.5)")
    images = (pictures(14, (3, 32, 32), seed=12) * np.random.default_rng(1).random((14, 3, 1, 1))).astype(np.uint8)
    found = scores(built, images)
    blocks = images.reshape(14, 3, 4, 8, 4, 8).astype(float)
    numbers = np.concatenate((blocks.mean((3, 5)), blocks[:, 1:2].std((3, 5))), axis=1).reshape(14, 4, 16).round()
    assert found[:3] == [-256] * 3
    for i in range(3, 14):
        away = [sorted(np.abs(other - numbers[i]).max(0))[7] for other in numbers[max(0, i - 8) : i]]
        assert abs(-found[i] - sorted(away)[2]) <= 1


def test_blacklight_by_sets():
    built = detector("blacklight(run=8, stride=3, pieces=20, salt=False)")
    images = program(6, window=16)

    def runs(image):
        numbers = np.rint((image.ravel().astype(int) % 255) / 50).astype(np.uint8)
        return {numbers[i : i + 8].tobytes(): None for i in range(0, len(numbers) - 7, 3)}

    prints = {}
    for image in images:
        for run in runs(image):
            numbers = np.frombuffer(run, np.uint8).astype(np.uint64) + np.uint64(1)
            prints[run] = int((numbers * built._factors).sum() >> np.uint64(32)) | 1
    sets = [set(sorted({prints[run] for run in runs(image)})[:20]) for image in images]
    expected = [max((len(sets[i] & earlier) for earlier in sets[:i]), default=0) / 20 for i in range(6)]
    assert scores(built, images) == expected and expected[-1] > 0.5


@pytest.mark.parametrize("shape", [(1, 20, 20), (1, 28, 28), (3, 16, 16), (3, 32, 32)])
def test_blacklight_of_small_images_is_a_share_of_the_hashes_that_they_have(shape):
    """An image of n numbers has ⌊(n - 50) / 25⌋ + 1 runs; the first half of the numbers holds about half of them."""
    first, second = pictures(2, shape, seed=13)
    half = np.where(np.arange(first.size).reshape(shape) < first.size // 2, first, second).astype(np.uint8)
    runs = (first.size - 50) // 25 + 1
    shared = sum(25 * i + 50 <= first.size // 2 for i in range(runs))
    built = detector("blacklight")
    found = scores(built, [first, first, second, half])
    assert found[:3] == [0, 1, 0] and len(built._fingerprint(first)) == min(runs, 50)
    if runs <= 50:
        assert found[3] == max(shared, sum(25 * i >= first.size // 2 for i in range(runs))) / runs


def test_piha_of_a_grey_picture_is_that_of_its_brightness():
    """The sums of a blurred grey picture, by SciPy, whichever number of channels it has."""
    grey = pictures(4, (1, 21, 21), seed=14)
    weights = np.exp(-0.5 * np.array([1, 0, 1.0]))
    kernel = np.outer(weights, weights) / weights.sum() ** 2
    built = detector("piha(size=21, block=7)")
    for image in grey:
        sums = ndimage.correlate(image[0] / 255, kernel, mode="mirror").reshape(3, 7, 3, 7).sum((1, 3))
        padded = np.pad(sums, 1)
        around = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))
        expected = sum(
            (padded[1 + a : 4 + a, 1 + b : 4 + b] >= sums).astype(int) << bit for bit, (a, b) in enumerate(around)
        )
        for channels in (1, 3):
            np.testing.assert_array_equal(built._pattern(image.repeat(channels, axis=0)), expected.ravel())
    assert max(scores(detector("piha"), pictures(5, (1, 224, 224)).repeat(3, axis=1))) < 0.95


def test_piha_of_a_plain_loop():
    import colorsys

    built = detector("piha(size=21, block=7)")
    image = pictures(1, (3, 21, 21), seed=10)[0]
    padded = np.pad(image / 255, ((0, 0), (1, 1), (1, 1)), mode="reflect")
    weights = np.exp(-0.5 * np.array([1, 0, 1.0]))
    weights /= weights.sum()
    blurred = sum(weights[i] * weights[j] * padded[:, i : i + 21, j : j + 21] for i in range(3) for j in range(3))
    hue = np.array([[360 * colorsys.rgb_to_hsv(*blurred[:, i, j])[0] for j in range(21)] for i in range(21)])
    sums = np.pad(hue.reshape(3, 7, 3, 7).sum((1, 3)), 1)
    around = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))
    expected = [
        sum((sums[i + a, j + b] >= sums[i, j]) << bit for bit, (a, b) in enumerate(around))
        for i in range(1, 4)
        for j in range(1, 4)
    ]
    np.testing.assert_array_equal(built._pattern(image), expected)
    near = image.astype(int) + np.random.default_rng(0).integers(-1, 2, image.shape)
    assert scores(built, [image, near.clip(0, 255).astype(np.uint8)])[1] > 0.8


@pytest.mark.parametrize(
    "name", ["repeated-border", "repeated-content", "persistent-detail", "still-cells", "coarse-neighbours"]
)
def test_a_static_program_is_flagged_within_50_queries(name):
    """At the variants' own thresholds, which benign pictures stay below."""
    built = detector(name)
    assert any(built.observe(image, "program").alarm for image in program(50, window=24))
    assert not any(built.observe(image, "pictures").alarm for image in pictures(60, seed=11))
