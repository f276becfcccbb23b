"""Restricted hosts: what they show, what is known again from it, and that nothing else gets out."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import reprogram
from reprogram import Box, Framed, Host, load_host
from reprogram.errors import BudgetError
from reprogram.hosts._shown import Shown

TINY = "timm:test_resnet(pretrained=False, num_classes=16, size=48)"


def restricted(**options):
    return load_host(f"restricted(host={TINY!r}, " + ", ".join(f"{k}={v!r}" for k, v in options.items()) + ")")


def pixels(n=3, size=48):
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(0))


def softmax(logits):
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def rounded(images):
    return np.round(images.numpy().astype(np.float64) * 255) / 255


def own_scores(images):
    """The scores of the host that is restricted, for images of 8 bits."""
    with torch.no_grad():
        return load_host(TINY)(torch.from_numpy(rounded(images)).float()).numpy().astype(np.float64)


def test_all_scores_are_the_hosts_log_probabilities_of_8_bit_images():
    found = restricted(access="scores")(pixels()).numpy()
    np.testing.assert_allclose(found, np.log(softmax(own_scores(pixels()))), atol=1e-5)


def test_the_first_labels_share_out_the_rest():
    """Top 3 with 3 decimals, by NumPy: the other 13 labels have the same part of what is left, at most the third's."""
    found, probabilities = restricted(access="topk", k=3, round=3)(pixels()).numpy(), softmax(own_scores(pixels()))
    for row, p in zip(found, probabilities, strict=True):
        first = np.argsort(-p)[:3]
        shown = np.round(p[first], 3)
        rest = min((1 - shown.sum()) / 13, shown.min())
        expected = np.full(16, np.log(rest))
        expected[first] = np.log(shown)
        np.testing.assert_allclose(row, expected, atol=1e-4)


def test_the_label_alone():
    found = restricted(access="label")(pixels(20))
    expected = own_scores(pixels(20)).argmax(1)
    assert (found.argmax(1).numpy() == expected).all()
    others = found.scatter(1, found.argmax(1, keepdim=True), float("nan"))
    values = others[~others.isnan()]
    assert torch.allclose(values, torch.full_like(values, np.log(0.5 / 15))) and len(values) == 20 * 15
    np.testing.assert_allclose(found.exp().sum(1), 1, rtol=1e-6)


@pytest.mark.parametrize("kind", ["logits", "percent", "independent"])
def test_other_numbers(kind):
    scores = torch.tensor([[2.0, -1.0, 0.5, 0.0]], dtype=torch.float64)
    shown = Shown(labels=2, kind=kind)
    numbers, seen = shown.answer(scores)
    assert seen.tolist() == [[True, False, True, False]]
    found = shown.evidence(numbers, seen)[0].numpy()
    p = softmax(scores.numpy())[0]
    sigmoid = 1 / (1 + np.exp(-scores.numpy()[0]))
    expected = {
        "logits": [2.0, 0.5 - np.log(4), 0.5, 0.5 - np.log(4)],
        "percent": np.log([p[0], (1 - p[0] - p[2]) / 2, p[2], (1 - p[0] - p[2]) / 2]),
        "independent": np.log([sigmoid[0], sigmoid[2] / 4, sigmoid[2], sigmoid[2] / 4]),
    }[kind]
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_a_floor_hides_labels_and_may_hide_all():
    shown = Shown(kind="percent", floor=55.0)
    scores = torch.tensor([[3.0, 0.0, 0.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    numbers, seen = shown.answer(scores)
    assert seen.tolist() == [[True, False, False], [False, False, False]]
    found = shown.evidence(numbers, seen)
    assert found[0].argmax() == 0 and torch.isfinite(found).all()
    assert found[1].unique().numel() == 1, "no label is evidence for nothing"


@pytest.mark.parametrize("options", [{"round": 0}, {"round": 2}, {"labels": 1, "round": 1}])
def test_rounding_leaves_finite_evidence(options):
    scores = torch.tensor([[30.0, 0.0, 0.0, -30.0]], dtype=torch.float64)
    for kind in ("probabilities", "percent", "independent", "logits"):
        shown = Shown(kind=kind, **options)
        found = shown.evidence(*shown.answer(scores))
        assert torch.isfinite(found).all() and found.argmax() == 0, kind


def test_images_are_sent_as_8_bits_and_a_shared_frame_stays_one():
    host, images = restricted(access="scores"), pixels()
    box = Box(top=10, left=12, height=20, width=16)
    framed = Framed(frame=images[:1], window=pixels(3)[..., box.rows, box.columns], box=box)
    torch.testing.assert_close(host(framed), host(framed.dense()), rtol=1e-4, atol=1e-5)
    assert torch.equal(host(images), host((images * 255).round() / 255))


def test_jpeg_is_pillows():
    images = pixels()
    decoded = []
    for image in images:
        file = io.BytesIO()
        levels = np.round(image.numpy().transpose(1, 2, 0) * 255).astype(np.uint8)
        Image.fromarray(levels).save(file, "JPEG", quality=60)
        decoded.append(np.array(Image.open(file)).transpose(2, 0, 1) / 255)
    expected = np.log(softmax(own_scores(torch.from_numpy(np.stack(decoded)).float())))
    np.testing.assert_allclose(restricted(encoding="jpeg", quality=60)(images).numpy(), expected, atol=1e-5)


def test_no_gradient_and_no_features_get_out():
    host = restricted(access="scores")
    assert not host(pixels().requires_grad_()).requires_grad
    features, where = host.features(pixels())
    assert where == "scores" and torch.equal(features, host(pixels()))


def test_declared_access_is_enforced_on_any_host():
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 5))
    host = Host.wrap(net, size=2, access="scores")
    images = torch.rand(2, 3, 2, 2).requires_grad_()
    assert not host(images).requires_grad
    assert host.features(images)[1] == "scores"
    assert Host.wrap(net, size=2)(images).requires_grad


def test_noise_goes_on_where_it_was():
    whole, again = restricted(noise=0.1, seed=3), restricted(noise=0.1, seed=3)
    images = pixels(4)
    expected = whole(images)
    again.meter.images = 2  # As a continued run restores it.
    torch.testing.assert_close(again(images[2:]), expected[2:])  # Rounding depends on the images of a call.
    assert not torch.equal(whole(images), expected), "asked again, the noise is another"
    assert not torch.equal(restricted(noise=0.1, seed=4)(images), expected)


def test_the_meter_refuses_before_the_host_is_asked():
    host = restricted(access="label")
    host.meter.limit = 5
    host(pixels(3))
    with pytest.raises(BudgetError, match="5 images at the most; 3 are spent, and 3 more"):
        host(pixels(3))
    assert (host.meter.calls, host.meter.images) == (1, 3)
    host(pixels(2))


def test_it_is_the_same_host_by_its_weights_and_names_itself():
    host = restricted(access="topk", k=2)
    assert host.fingerprint == load_host(TINY).fingerprint and host.info.access == "top-k"
    assert load_host(host.info.id).info == host.info
    with pytest.raises(reprogram.ConfigError, match="restricted already"):
        load_host(f"restricted(host={host.info.id!r})")


@pytest.mark.parametrize(
    "options, words",
    [
        ({"k": 0, "access": "topk"}, "k=0"),
        ({"round": -1}, "round=-1"),
        ({"noise": -1.0}, "noise"),
        ({"quality": 0}, "quality"),
        ({"k": 3}, "k=3: only access=topk"),
        ({"k": 3, "access": "label"}, "k=3: only access=topk"),
    ],
)
def test_options_that_make_no_sense(options, words):
    with pytest.raises(reprogram.ConfigError, match=words):
        restricted(**options)
