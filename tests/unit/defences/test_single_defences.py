"""Each defence against a computation of its own: NumPy, SciPy, Pillow, or the definition."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

import reprogram
from reprogram.evaluation.metrics import score
from reprogram.registry import configure
from reprogram.utils.seeding import Draws
from reprogram.utils.straight_through import straight_through


def built(spec):
    variant, config = configure("defences", spec)
    return variant(config)


def draws(count, first=0, seed=0):
    return Draws(seed=seed, first=first, count=count)


def pixels(n=2, height=20, width=16):
    return torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def scores(n=5, k=8):
    return torch.randn(n, k, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def softmax(logits):
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def test_blur_is_scipys():
    found = built("blur(sigma=1.3)").transform(pixels(), draws(2)).numpy()
    expected = ndimage.gaussian_filter(pixels().numpy(), (0, 0, 1.3, 1.3), mode="nearest", radius=(0, 0, 4, 4))
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("size", [3, 5])
def test_median_is_scipys(size):
    found = built(f"median(size={size})").transform(pixels(), draws(2)).numpy()
    np.testing.assert_array_equal(found, ndimage.median_filter(pixels().numpy(), (1, 1, size, size), mode="nearest"))


def test_jpeg_is_pillows():
    images = pixels().float()
    found = built("jpeg(quality=40)").transform(images, draws(2)).numpy()
    for image, row in zip(images, found, strict=True):
        file = io.BytesIO()
        Image.fromarray(np.round(image.numpy().transpose(1, 2, 0) * 255).astype(np.uint8)).save(
            file, "JPEG", quality=40
        )
        np.testing.assert_allclose(row, np.array(Image.open(file)).transpose(2, 0, 1) / 255, atol=1e-6)


def test_bit_depth_has_so_many_levels():
    found = built("bit-depth(bits=2)").transform(pixels(), draws(2)).numpy()
    np.testing.assert_allclose(found, np.round(pixels().numpy() * 3) / 3)
    assert len(np.unique(found)) == 4


def test_resize_back_is_pillows_but_for_the_enlarging():
    """Shrinking is Pillow's bilinear, which antialiases; enlarging has no choice between the two."""
    images = pixels(1).float()
    found = built("resize-back(scale=0.5)").transform(images, draws(1)).numpy()[0]
    for channel, row in zip(images[0].numpy(), found, strict=True):
        small = Image.fromarray(channel).resize((8, 10), Image.Resampling.BILINEAR)
        np.testing.assert_allclose(row, np.array(small.resize((16, 20), Image.Resampling.BILINEAR)), atol=1e-5)


def test_random_padding_puts_a_whole_smaller_image_on_grey():
    images = torch.ones(200, 1, 12, 12)
    found = built("random-padding(smallest=0.5)").transform(images, draws(200))
    sizes, corners = set(), set()
    for image in found[:, 0]:
        rows, columns = (image > 0.75).nonzero(as_tuple=True)
        top, left, bottom, right = rows.min(), columns.min(), rows.max() + 1, columns.max() + 1
        assert (image[top:bottom, left:right] > 0.99).all() and bottom - top == right - left
        assert (image > 0.75).sum() == (bottom - top) * (right - left)
        assert ((image - 0.5).abs() < 1e-6).sum() == 144 - (bottom - top) * (right - left)
        sizes.add(int(bottom - top))
        corners.add((int(top), int(left)))
    assert sizes == set(range(6, 13)) and len(corners) > 30


def test_smoothing_counts_votes():
    """A host that only looks at the first pixel: 1 where noise leaves it above one half."""

    def ask(images):
        above = (images[:, 0, 0, 0] > 0.5).to(images)
        return torch.stack((1 - above, above), dim=1)

    images = torch.full((3, 3, 2, 2), 0.5) + torch.tensor([-0.1, 0.0, 0.1]).view(3, 1, 1, 1)
    found = built("smoothing(copies=400, sigma=0.1)").answer(ask, images, draws(3))
    votes = found.exp() * (400 + 1) - 0.5  # n + K/2 with K = 2
    np.testing.assert_allclose(votes.sum(1), 400, atol=1e-2)
    # Φ(-1), Φ(0), Φ(1) of 400, with four standard errors
    np.testing.assert_allclose(votes[:, 1] / 400, [0.1587, 0.5, 0.8413], atol=0.1)
    mean = built("smoothing(copies=400, sigma=0.1, answer='mean')").answer(ask, images, draws(3)).exp()
    softmaxed = np.array([1 / (1 + np.e), np.e / (1 + np.e)])
    expected = votes[:, 1:] / 400 * softmaxed[1] + votes[:, :1] / 400 * softmaxed[0]
    np.testing.assert_allclose(mean[:, 1:], expected, atol=1e-4)


def test_rounding_and_top_k_and_label_show_what_the_restricted_host_shows():
    p = softmax(scores().numpy())
    found = built("rounding(decimals=1)").show(scores(), draws(5)).exp().numpy()
    shown = np.round(p, 1)
    np.testing.assert_allclose(found[shown > 0], shown[shown > 0], atol=1e-9)
    assert (found[shown == 0] <= 0.025 + 1e-9).all()
    first = np.argsort(-p, axis=1)[:, :3]
    found = built("top-k(k=3)").show(scores(), draws(5)).exp().numpy()
    for row, values, places in zip(found, p, first, strict=True):
        np.testing.assert_allclose(row[places], values[places])
        assert len(np.unique(np.delete(row, places))) == 1
    found = built("label-only").show(scores(), draws(5)).exp().numpy()
    assert (found.argmax(1) == p.argmax(1)).all()
    np.testing.assert_allclose(np.sort(found, axis=1)[:, -2:], [[0.5 / 7, 0.5]] * 5)


def test_temperature_divides():
    np.testing.assert_allclose(built("temperature(t=4.0)").show(scores(), draws(5)), scores() / 4)


def test_noise_has_its_deviation_and_no_mean():
    many = scores(1).expand(4000, -1)
    found = built("noise(deviation=0.5, kind='logits')").show(many, draws(4000)) - many
    assert abs(float(found.std()) - 0.5) < 0.01 and abs(float(found.mean())) < 0.015


def test_straight_through_is_the_identity_backwards():
    images = pixels().float().requires_grad_()
    for spec in ("jpeg", "bit-depth(bits=1)"):
        (gradient,) = torch.autograd.grad(built(spec).transform(images, draws(2)).sum(), images)
        assert torch.equal(gradient, torch.ones_like(gradient)), spec
    logits = scores().requires_grad_()
    weight = torch.arange(8.0, dtype=torch.float64)
    expected = torch.autograd.grad((logits.log_softmax(1) * weight).sum(), logits)[0]
    for spec in ("rounding", "noise"):
        found = torch.autograd.grad((built(spec).show(logits, draws(5)) * weight).sum(), logits)[0]
        torch.testing.assert_close(found, expected)


def test_straight_through_changes_no_value_however_large_the_other_one_is():
    value, other = torch.tensor([-6.0, 0.25]), torch.tensor([1e30, 1e-30], requires_grad=True)
    found = straight_through(value, other)
    assert torch.equal(found, value)
    assert torch.equal(torch.autograd.grad(found.sum(), other)[0], torch.ones(2))


@pytest.mark.parametrize("spec", ["blur(sigma=0.8)", "median", "resize-back", "random-padding"])
def test_gradients_of_images_are_exact(spec):
    images = pixels(1, 7, 6).mul(0.8).add(0.1).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: built(spec).transform(x, draws(1)), images, atol=1e-6)


@pytest.mark.parametrize(
    "spec, words",
    [
        ("jpeg(quality=0)", "quality=0"),
        ("bit-depth(bits=9)", "bits=9"),
        ("blur(sigma=0.0)", "sigma=0"),
        ("median(size=4)", "size=4"),
        ("resize-back(scale=1.0)", "scale=1"),
        ("random-padding(smallest=0.0)", "smallest=0"),
        ("smoothing(copies=0)", "copies=0"),
        ("smoothing(sigma=-1.0)", "sigma=-1"),
        ("rounding(decimals=13)", "decimals=13"),
        ("top-k(k=0)", "k=0"),
        ("noise(deviation=-1.0)", "deviation=-1"),
        ("temperature(t=0.0)", "t=0"),
    ],
)
def test_options_that_make_no_sense(spec, words, one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        configure("defences", spec)
    one_line(error, words)


@pytest.mark.parametrize(
    "spec",
    [
        "restricted(host={!r}, access='label')",
        "restricted(host={!r}, access='topk', k=2, floor=0.01)",
        "defended(host={!r}, by='label-only')",
        "defended(host={!r}, by='rounding+label-only')",
        "defended(host={!r}, by='smoothing(copies=2)')",
        "defended(host={!r}, by='smoothing(copies=2, answer=\"mean\")')",
    ],
)
@pytest.mark.parametrize("odd", ["nan", "inf"])
def test_scores_that_are_no_numbers_become_no_label(spec, odd, tmp_path, monkeypatch, one_line):
    """The words are those of an evaluation of the bare host."""
    (tmp_path / "odd_host.py").write_text(
        "import torch\n"
        "def classify(images):\n"
        "    bright = images.mean((1, 2, 3))\n"
        "    scores = torch.stack([bright, 2 * bright, 1 - bright], 1)\n"
        f"    return torch.where(bright[:, None] > 0.8, float('{odd}'), scores)\n"
    )
    monkeypatch.chdir(tmp_path)
    host = reprogram.load_host(spec.format("python:odd_host.py:classify?size=16"))
    assert host(torch.full((2, 3, 16, 16), 0.5)).isfinite().all()
    images = torch.stack([torch.full((3, 16, 16), bright) for bright in (0.3, 1.0)])
    with pytest.raises(reprogram.DataError) as bare:
        score(reprogram.load_host("python:odd_host.py:classify?size=16")(images), torch.zeros(2, dtype=torch.long))
    with pytest.raises(reprogram.DataError) as error:
        host(images)
    one_line(error)
    assert str(error.value) == str(bare.value)


@pytest.mark.parametrize("answer", ["votes", "mean"])
def test_smoothing_of_a_half_precision_host_counts_beyond_2048(answer):
    """4,000 of 5,000 copies say label 0."""
    asked = 0

    def ask(images):
        nonlocal asked
        asked += 1
        said = torch.full((len(images), 3), -9.0)
        said[:, 0 if asked % 5 else 1] = 9.0
        return said.half()

    shown = built(f"smoothing(copies=5000, answer='{answer}')").answer(ask, torch.zeros(1, 3, 4, 4), draws(1))
    assert shown.dtype == torch.float16 and shown.float().softmax(1)[0, :2].tolist() == pytest.approx(
        [0.8, 0.2], abs=2e-3
    )


@pytest.mark.parametrize("spec", ["resize-back", "random-padding"])
def test_images_in_half_precision_are_resized(spec):
    found = built(spec).transform(pixels().half(), draws(2))
    assert found.dtype == torch.float16
    expected = built(spec).transform(pixels().half().float(), draws(2))
    torch.testing.assert_close(found.float(), expected, atol=1e-3, rtol=0)
