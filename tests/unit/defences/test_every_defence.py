"""What holds for every defence that is listed: shapes, chance, gradients, and that a shared frame changes nothing."""

import pytest
import torch

import reprogram
from helpers import ConvNet, seeded
from reprogram import Box, Framed, registry
from reprogram.types import RANK

DEFENCES = registry.names("defences")
defences = pytest.mark.parametrize("name", DEFENCES)


def bare():
    net = seeded(lambda: ConvNet(num_classes=12, width=4))
    return reprogram.Host.wrap(net, size=24, mean=(0.5,) * 3, std=(0.1,) * 3, name="bare")


@pytest.fixture(autouse=True)
def sources(monkeypatch, tmp_path):
    """The host as a file, so that a spec can name it."""
    (tmp_path / "bare.py").write_text("from test_every_defence import bare\nhost = bare()\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))


def defended(by):
    return reprogram.load_host(f"defended(host='python:bare.py:host', by={by!r})")


def example(name):
    variant = registry.find("defences", name)
    return registry.format_spec(variant(variant.example()))


def pixels(n=4, seed=0):
    return torch.rand(n, 3, 24, 24, generator=torch.Generator().manual_seed(seed))


@defences
def test_one_answer_an_image_and_one_image_on_the_bill(name):
    host = defended(example(name))
    before = host.meter.images, host.meter.calls
    scores = host(pixels())
    assert scores.shape == (4, 12) and torch.isfinite(scores).all()
    assert (host.meter.images - before[0], host.meter.calls - before[1]) == (4, 1)
    assert host(pixels(0)).shape == (0, 12)
    assert RANK.index(host.info.access) <= RANK.index(bare().info.access)
    assert host.fingerprint == bare().fingerprint


@defences
def test_the_same_numbers_again_in_a_continued_run_and_for_any_batches(name):
    whole, again, parts = (defended(example(name)) for _ in range(3))
    expected = whole(pixels(5)).detach()
    again.meter.images = 2  # As a continued run restores it.
    torch.testing.assert_close(again(pixels(5)[2:]).detach(), expected[2:], rtol=1e-4, atol=1e-5)
    found = torch.cat([parts(pixels(5)[:1]), parts(pixels(5)[1:])]).detach()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@defences
def test_a_gradient_where_it_is_said_and_nowhere_else(name):
    host, images = defended(example(name)), pixels().requires_grad_()
    scores = host(images)
    assert scores.requires_grad == (host.info.access == "gradient")
    if scores.requires_grad:
        (gradient,) = torch.autograd.grad(scores[:, 3].sum(), images)
        assert torch.isfinite(gradient).all() and gradient.abs().sum() > 0
        with torch.no_grad():
            torch.testing.assert_close(defended(example(name))(images), scores, rtol=1e-4, atol=1e-5)


@defences
@pytest.mark.parametrize("place", [(8, 7), (0, 16), (2, 20)])
def test_a_shared_frame_changes_nothing(name, place):
    """Pixels inside the window of the frame don't count, also near an edge of the canvas."""
    box = Box(top=place[0], left=place[1], height=6, width=4)
    framed = Framed(frame=pixels(1, seed=1), window=pixels(3)[..., box.rows, box.columns], box=box)
    with torch.no_grad():
        expected = defended(example(name))(framed.dense())
        torch.testing.assert_close(defended(example(name))(framed), expected, rtol=1e-4, atol=1e-4)


@defences
def test_it_learns_by_every_rung_that_is_left(name, digits):
    host = defended(example(name))
    model = reprogram.Reprogrammed.build(host, digits, program="cosine(side=3)")
    learner = "adam" if host.info.access == "gradient" else "snes"
    budget = {"images": 16, "validations": 1, "validation_images": 10, "batch_size": 8}
    assert reprogram.fit(model, digits, learner=learner, loss="task", **budget).images_seen == 16


def test_chance_is_another_for_another_image_or_seed_and_each_defence_has_its_own():
    same = pixels(1).expand(2, -1, -1, -1)
    for by in ("noise", "random-padding(smallest=0.5)", "smoothing(copies=2, answer='mean')"):
        first, second = defended(by)(same).detach()
        assert not torch.allclose(first, second, atol=1e-4), by
        other = by.replace(")", ", seed=5)") if ")" in by else f"{by}(seed=5)"
        assert not torch.allclose(defended(other)(same).detach()[0], first, atol=1e-4), by
    twice = defended("noise(kind='logits')+noise(kind='logits')")(same[:1]) - bare()(same[:1])
    once = defended("noise(kind='logits')")(same[:1]) - bare()(same[:1])
    assert not torch.allclose(twice, 2 * once, atol=1e-3)
