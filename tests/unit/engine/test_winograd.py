"""Winograd's filtering against PyTorch's direct sum in float64."""

import threading

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reprogram import Host
from reprogram.engine import winograd

SIZES = [(1, 1), (3, 3), (4, 5), (7, 13), (30, 9)]
PADDINGS = [(0, 0), (1, 1), (2, 0), (1, 3), (2, 2)]
PLACES = [(s, p) for s in SIZES for p in PADDINGS if min(s[0] + 2 * p[0], s[1] + 2 * p[1]) >= 3]
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-13}


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Random numbers of a seed, the same in every type up to rounding."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def error(images: Tensor, weight: Tensor, bias: Tensor | None, padding: tuple[int, int]) -> float:
    """Relative error of Winograd's convolution."""
    wanted = F.conv2d(images.double(), weight.double(), None if bias is None else bias.double(), padding=padding)
    found = winograd.convolve(images, winograd.Taps(weight), bias, padding)
    assert found.shape == wanted.shape and found.dtype == images.dtype
    return float((found.double() - wanted).norm() / wanted.norm())


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize(("size", "padding"), PLACES, ids=str)
def test_every_size_and_padding(size: tuple[int, int], padding: tuple[int, int], dtype: torch.dtype) -> None:
    for batch, channels, out in [(1, 1, 1), (3, 5, 7), (2, 64, 48)]:
        images, weight = normal(batch, channels, *size, dtype=dtype), normal(out, channels, 3, 3, seed=1, dtype=dtype)
        for bias in (None, normal(out, seed=2, dtype=dtype)):
            assert error(images, weight, bias, padding) < TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_a_batch_of_several_chunks_of_which_the_last_is_smaller(dtype: torch.dtype) -> None:
    images, weight = normal(41, 64, 29, 31, dtype=dtype), normal(64, 64, 3, 3, seed=1, dtype=dtype)
    assert 36 * 41 * 8 * 8 * 64 * images.element_size() > 3 * winograd.CACHE_BYTES
    assert error(images, weight, None, (1, 1)) < TOLERANCE[dtype]


LAYOUTS = {
    "contiguous": lambda images: images,
    "channels last": lambda images: images.contiguous(memory_format=torch.channels_last),
    "every second pixel": lambda images: images[..., ::2, 1::2],
    "a part": lambda images: images[..., 2:-3, 4:],
    "one image many times": lambda images: images[:1].expand(5, -1, -1, -1),
    "some channels": lambda images: images[:, 3:],
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_memory_layout(layout: str) -> None:
    images = LAYOUTS[layout](normal(4, 20, 19, 17))
    assert error(images, normal(8, images.shape[1], 3, 3, seed=1), None, (1, 1)) < 1e-13


def test_memory_used_before_leaves_nothing_behind() -> None:
    weight = normal(4, 8, 3, 3, seed=1)
    winograd.convolve(
        torch.full((3, 8, 40, 40), torch.nan, dtype=torch.float64), winograd.Taps(normal(4, 8, 3, 3)), None, (1, 1)
    )
    assert error(normal(2, 8, 6, 7), weight, None, (1, 1)) < 1e-13


def wide_net(padding: int = 1) -> nn.Sequential:
    """Convolutions wide enough to be filtered by Winograd, forward and backward."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = [
            *(nn.Conv2d(3, 192, 3, padding=padding), nn.ReLU()),
            *(nn.Conv2d(192, 192, 3, padding=padding), nn.ReLU6()),
            *(nn.Conv2d(192, 192, 3, padding=(padding, 1)), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(192, 5)),
        ]
    return nn.Sequential(*layers).double().eval()


def test_the_wide_net_is_filtered_by_winograd() -> None:
    """Otherwise the tests below prove nothing."""
    assert winograd.pays(images=1, channels=192, out=192, height=16, width=16)


def scores_and_gradient(function: object, images: Tensor) -> tuple[Tensor, Tensor]:
    """Scores, and the gradient of a fixed sum of them."""
    images = images.clone().requires_grad_()
    scores = function(images)
    factors = torch.linspace(-1, 2, scores.numel(), dtype=torch.float64).view_as(scores)
    return scores.detach(), torch.autograd.grad((scores * factors).sum(), images)[0]


@pytest.mark.parametrize("padding", [0, 1, 2, 3])
def test_gradients_at_every_padding(padding: int) -> None:
    net = wide_net(padding)
    images = normal(3, 3, 16, 16).sigmoid()
    found, wanted = (scores_and_gradient(f, images) for f in (Host.wrap(net, size=16), net))
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12)


def test_an_empty_batch() -> None:
    net = wide_net()
    found, wanted = (scores_and_gradient(f, torch.zeros(0, 3, 16, 16).double()) for f in (Host.wrap(net, size=16), net))
    assert found[0].shape == wanted[0].shape == (0, 5)
    assert found[1].shape == wanted[1].shape


def in_a_new_thread(function: object) -> object:
    """What a function returns in a thread that has no working memory yet."""
    results: list[object] = []
    thread = threading.Thread(target=lambda: results.append(function()))
    thread.start()
    thread.join()
    assert results, "the thread failed"
    return results[0]


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_first_call_in_inference_mode() -> None:
    net = wide_net()
    images = normal(2, 3, 16, 16).sigmoid()

    def inferred_then_trained() -> tuple[Tensor, Tensor]:
        host = Host.wrap(net, size=16)
        winograd._matrix.cache_clear()
        with torch.inference_mode():
            host(images)
        return scores_and_gradient(host, images)

    torch.testing.assert_close(
        in_a_new_thread(inferred_then_trained), scores_and_gradient(net, images), rtol=1e-10, atol=1e-12
    )


def test_threads_have_memory_of_their_own() -> None:
    host, batches = Host.wrap(wide_net(), size=16), [normal(n, 3, 16, 16, seed=n).sigmoid() for n in (1, 2, 3)]
    wanted = [scores_and_gradient(host.net, images) for images in batches]
    host(batches[0])
    found: list[list[tuple[Tensor, Tensor]]] = [[] for _ in batches]

    def work(index: int) -> None:
        found[index].extend(scores_and_gradient(host, batches[index]) for _ in range(8))

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(batches))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for several, one in zip(found, wanted, strict=True):
        assert len(several) == 8
        for each in several:
            torch.testing.assert_close(each, one, rtol=1e-10, atol=1e-12)
