"""Whole modules in half precision, against float64: what they compute, and how their weights are rounded."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from helpers_engine import PLACES, SIZE, conv, host_of, pooled, random_framed
from reprogram import Box, Framed, Host, load_host
from reprogram.engine.half import FEW_TAPS, converted, round_filters
from reprogram.engine.prepared import Prepared

HALVES = [torch.bfloat16, torch.float16]


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (5, 5), (1, 7), (8, 8)], ids=str)
def test_a_filter_of_few_taps_keeps_its_sum(kernel: tuple[int, int], dtype: torch.dtype) -> None:
    """Up to half a unit of its smallest tap, and each tap up to a unit of the largest."""
    weight = (normal(200, 1, *kernel) * normal(200, 1, 1, 1, seed=1).exp()).contiguous(
        memory_format=torch.channels_last
    )
    found = round_filters(weight, dtype)
    assert found.dtype == dtype and found.stride() == weight.to(dtype).stride()
    taps, rounded = weight.double().flatten(1), found.double().flatten(1)
    eps = torch.finfo(dtype).eps
    largest, smallest = rounded.abs().amax(1), rounded.abs().amin(1)
    assert ((rounded - taps).abs().amax(1) <= eps * largest).all()
    tiny = torch.finfo(dtype).tiny * eps
    assert ((rounded.sum(1) - taps.sum(1)).abs() <= 0.51 * eps * smallest + tiny + 1e-12).all()


def test_other_filters_are_rounded_to_nearest() -> None:
    weight = normal(16, FEW_TAPS + 1, 1, 1)
    assert torch.equal(round_filters(weight, torch.bfloat16), weight.bfloat16())


class Normalised(nn.Module):
    """A convolution, a norm of each image, and attention between pixels."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.convolution, self.norm, self.head = conv(3, 8), norm, nn.Linear(8, 5)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.norm(self.convolution(images))
        rows = F.group_norm(maps, 2).flatten(2).transpose(1, 2)[:, None, ::7]
        return self.head(F.scaled_dot_product_attention(rows, rows, rows).mean((1, 2)))


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize(
    "norm", [lambda: nn.GroupNorm(2, 8), lambda: nn.LocalResponseNorm(3)], ids=["group", "response"]
)
def test_operations_that_stay_in_float32(norm: Callable[[], nn.Module], dtype: torch.dtype) -> None:
    """PyTorch has no response norm in bfloat16."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = Normalised(norm()).eval().requires_grad_(False)
    exact, before = copy.deepcopy(net).double(), copy.deepcopy(net.state_dict())
    prepared = Prepared(net, dtype)
    assert prepared.shares
    images = normal(2, 3, SIZE, SIZE).double().requires_grad_()
    given = images.detach().to(dtype).requires_grad_()
    found, wanted = prepared(given), exact(images)
    (gradient,) = torch.autograd.grad(found.float().square().sum(), given)
    (wanted_gradient,) = torch.autograd.grad(wanted.square().sum(), images)
    assert gradient.dtype == dtype and found.dtype == torch.float32  # The last layer's scores aren't rounded.
    assert distance(found.detach(), wanted.detach()) < 4 * torch.finfo(dtype).eps
    assert distance(gradient, wanted_gradient) < 16 * torch.finfo(dtype).eps
    with torch.no_grad():
        assert distance(prepared(given), wanted) < 4 * torch.finfo(dtype).eps
    for key, value in net.state_dict().items():
        assert torch.equal(value, before[key]), "the module that was given has changed"
    assert "forward" not in vars(net.norm)


def distance(found: Tensor, wanted: Tensor) -> float:
    """Relative, of all numbers together."""
    return float((found.double() - wanted).norm() / wanted.norm())


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_a_module_that_cannot_be_traced_is_converted_too(dtype: torch.dtype) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 5)).eval()
    prepared = Prepared(net, dtype)
    images = normal(3, 3, 2, 2)
    assert not prepared.shares and net[1].weight.dtype == torch.float32
    assert (
        distance(prepared(images.to(dtype)).detach(), net.double()(images.double()).detach())
        < 4 * torch.finfo(dtype).eps
    )


def test_another_whole_type_is_only_a_conversion() -> None:
    net = nn.Sequential(conv(), nn.GroupNorm(2, 4)).eval()
    found = converted(net, torch.float64)
    assert found[0].weight.dtype == torch.float64 and "forward" not in vars(found[1])


def run(prepared: Prepared, framed: Framed, dtype: torch.dtype) -> list[Tensor]:
    """Scores, and the gradients of frame and window of a fixed sum of them."""
    inputs = [pixels.detach().to(dtype).requires_grad_() for pixels in (framed.frame, framed.window)]
    scores = prepared(Framed(frame=inputs[0], window=inputs[1], box=framed.box))
    factors = torch.linspace(-1, 2, scores.numel(), dtype=torch.float64).view_as(scores)
    return [scores.detach(), *torch.autograd.grad((scores * factors).sum(), inputs)]


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("box", PLACES, ids=str)
def test_what_is_shared_equals_what_is_computed_for_each_image(box: Box, dtype: torch.dtype) -> None:
    """The same rounding of every activation, so that only sums in another order differ."""

    def net(n, x: Tensor) -> Tensor:
        y = F.relu6(n.a(x))
        return n.l(pooled(n.d(F.relu(n.c(y) + y))))

    layers = {"c": conv(4, 4), "d": conv(4, 4, groups=4, stride=2), "l": nn.Linear(4, 5)}
    prepared = Prepared(host_of(net, **layers).float().net, dtype)
    framed = random_framed(3, SIZE, box, batch=9)
    with torch.no_grad():
        first = prepared(Framed(frame=framed.frame.to(dtype), window=framed.window.to(dtype), box=box))
        again = prepared(Framed(frame=framed.frame.to(dtype), window=framed.window.to(dtype), box=box))
        whole = prepared.module(framed.dense().to(dtype))
    assert torch.equal(first, again)
    assert distance(first, whole.double()) < 2 * torch.finfo(dtype).eps
    assert distance(run(prepared, framed, dtype)[0], whole.double()) < 2 * torch.finfo(dtype).eps


def test_labels_alone_are_read_in_half_precision() -> None:
    host = host_of(lambda n, x: n.l(pooled(F.relu(n.a(x)))), l=nn.Linear(4, 6))
    prepared = Prepared(host.float().net, torch.bfloat16)
    framed = random_framed(3, SIZE, PLACES[0], batch=3)
    half = Framed(frame=framed.frame.bfloat16(), window=framed.window.bfloat16(), box=framed.box)
    labels = torch.tensor([4, 1])
    some, everything = prepared.some(half, labels, 6), prepared(half)
    assert some is not None and distance(some.detach(), everything.detach()[:, labels].double()) < 0.01


REAL = {
    "resnet18_pqf_small": ("torchvision:resnet18", 0.92),
    "resnet50_pqf_large": ("timm:resnet50", 0.86),
    "tf_mobilenetv2_100_qat": ("timm:mobilenetv2_100(kwargs={'pad_type':'same'})", 0.86),
    "squeezenet1_0_dc": ("torchvision:squeezenet1_0", 0.90),
}
"""Trained hosts, and the least cosine of the program's gradient in bfloat16 to that in float32."""


def cosine_in_bfloat16(host: Host) -> float:
    """The cosine of a faint program's gradient in bfloat16 to that in float32, on 16 images of noise."""
    height, width = host.info.size
    box = Box(top=height // 2 - 14, left=width // 2 - 14, height=28, width=28)
    images = torch.rand(16, 3, 28, 28, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(len(images)) % 10
    gradients = []
    for dtype in (None, torch.bfloat16):
        prepared, program = Prepared(host.net, dtype), (0.05 * normal(1, 3, height, width)).requires_grad_()
        frame, window = (((p - host.mean) / host.std).to(dtype or p.dtype) for p in (torch.sigmoid(program), images))
        scores = prepared(Framed(frame=frame, window=window, box=box)).float()
        gradients.append(torch.autograd.grad(F.cross_entropy(scores[:, :10], labels), program)[0].flatten())
    return float(F.cosine_similarity(*gradients, dim=0))


@pytest.mark.slow
@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", REAL)
def test_the_programs_gradient_on_trained_hosts(shared, name: str, freed_memory: None) -> None:
    architecture, least = REAL[name]
    statistics = "mean=.485,.456,.406&std=.229,.224,.225"
    host = load_host(f"checkpoint:{shared / 'hosts' / name}.safetensors?architecture={architecture}&{statistics}")
    assert cosine_in_bfloat16(host) > least


def test_the_programs_gradient_on_the_default_host(lite0: Host) -> None:
    """With each tap of its depthwise filters rounded by itself it was .87."""
    assert cosine_in_bfloat16(lite0) > 0.88
