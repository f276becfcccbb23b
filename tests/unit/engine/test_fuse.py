"""Invariant 5: what the engine runs computes what the host computes: float64 to 1e-10, scores and gradients."""

import pytest
import timm
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

import reprogram
from helpers import ConvNet, random_task, randomize_batchnorm, seeded
from reprogram.engine.fuse import fuse

NETS = {
    "convnet": (lambda: ConvNet(num_classes=12), 24),
    "torchvision resnet18": (lambda: torchvision.models.resnet18(num_classes=12), 48),
    "torchvision mobilenet_v2": (lambda: torchvision.models.mobilenet_v2(num_classes=12), 40),
    "torchvision squeezenet": (lambda: torchvision.models.squeezenet1_1(num_classes=12), 48),
    "torchvision densenet": (lambda: torchvision.models.densenet121(num_classes=12), 32),
    "timm test_resnet": (lambda: timm.create_model("test_resnet", num_classes=12), 48),
    "timm test_efficientnet": (lambda: timm.create_model("test_efficientnet", num_classes=12), 48),
    "timm mobilenetv2 SAME": (lambda: timm.create_model("mobilenetv2_035", num_classes=12, pad_type="same"), 47),
    "timm tf_efficientnet_lite0 SAME": (lambda: timm.create_model("tf_efficientnet_lite0", num_classes=12), 65),
    "timm test_convnext": (lambda: timm.create_model("test_convnext", num_classes=12), 48),
    "timm test_nfnet": (lambda: timm.create_model("test_nfnet", num_classes=12), 48),
    "timm test_vit": (lambda: timm.create_model("test_vit", num_classes=12, img_size=48), 48),
    "linear": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(3 * 24 * 24, 12)), 24),
}


class Hooked(ConvNet):
    """Hooks that change what layers give."""

    def __init__(self):
        super().__init__(num_classes=12)
        self.body[0].register_forward_hook(lambda module, inputs, output: output * 1.5 + 0.1)
        self.body[1].register_forward_pre_hook(lambda module, inputs: (inputs[0] - 0.2,))


class DataDependent(ConvNet):
    """A branch on the values: not traceable."""

    def __init__(self):
        super().__init__(num_classes=12)

    def forward(self, x):
        x = self.body(x)
        return self.head(x if x.mean() > 0 else -2 * x)


class ThroughNumpy(ConvNet):
    """Python numbers taken out of tensors: not traceable."""

    def __init__(self):
        super().__init__(num_classes=12)

    def forward(self, x):
        factors = self.head.bias.detach().numpy().sum() + x.detach().numpy().mean(axis=(1, 2, 3))
        return super().forward(x) * torch.from_numpy(factors)[:, None]


class SharedNorm(nn.Module):
    """One normalisation behind two convolutions, and one convolution used twice."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 3, padding=1)
        self.norm, self.second = nn.BatchNorm2d(6), nn.BatchNorm2d(6)
        self.head = nn.Linear(6, 12)

    def forward(self, x):
        x = self.norm(self.a(x)).relu()
        x = self.norm(self.b(x)).relu()
        x = self.second(self.b(x))
        return self.head(x.mean((2, 3)))


class TwoReaders(nn.Module):
    """A convolution whose output is read by its normalisation and by something else."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 12, 3), nn.BatchNorm2d(12), nn.Identity()

    def forward(self, x):
        y = self.conv(x)
        return (self.norm(y) + y.abs()).mean((2, 3))


class ReadsWeight(nn.Module):
    """The forward pass reads the convolution's weight and the normalisation's bias as well."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 12, 3), nn.BatchNorm2d(12)

    def forward(self, x):
        return self.norm(self.conv(x)).mean((2, 3)) * (1 + self.conv.weight.std()) + self.norm.bias * 3


class FunctionalNorm(nn.Module):
    """Weight standardised convolution and functional normalisation."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 12, 3), nn.BatchNorm2d(12)

    def forward(self, x):
        w = self.conv.weight
        y = F.conv2d(x, w - w.mean((1, 2, 3), keepdim=True), self.conv.bias)
        return F.batch_norm(y, self.norm.running_mean, self.norm.running_var, eps=1e-2).mean((2, 3))


class Keywords(nn.Module):
    """Layers called with keywords."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 12, 3), nn.BatchNorm2d(12)

    def forward(self, x):
        return self.norm(input=self.conv(input=x)).mean((2, 3))


class Doubled(nn.Conv2d):
    """A subclass of a convolution that does more than it."""

    def forward(self, x):
        return 2 * super().forward(x) + 1


def odd_convolutions():
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1, padding_mode="reflect"),
        nn.BatchNorm2d(6, affine=False),
        nn.GELU(),
        nn.Conv2d(6, 12, 3, groups=3, dilation=2, bias=False),
        nn.BatchNorm2d(12, eps=0.1),
        nn.ConvTranspose2d(12, 4, 3),
        nn.BatchNorm2d(4),
        Doubled(4, 4, 1),
        nn.BatchNorm2d(4),
        nn.Conv2d(4, 12, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )


def parametrized():
    net = nn.Sequential(nn.Conv2d(3, 12, 3), nn.BatchNorm2d(12), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    nn.utils.parametrizations.weight_norm(net[0])
    return net


def frozen_by_hand():
    net = ConvNet(num_classes=12)
    for p in net.parameters():
        p.requires_grad_(False)
    return net


ODD = {
    "hooks": Hooked,
    "data-dependent branch": DataDependent,
    "numpy": ThroughNumpy,
    "shared layers": SharedNorm,
    "two readers": TwoReaders,
    "reads a weight": ReadsWeight,
    "functional": FunctionalNorm,
    "keywords": Keywords,
    "odd convolutions": odd_convolutions,
    "weight norm": parametrized,
    "frozen": frozen_by_hand,
}


CASES = {**NETS, **{name: (build, 24) for name, build in ODD.items()}}


def make(name):
    build, size = CASES[name]
    net = randomize_batchnorm(seeded(build)).double().eval()
    return net, size


@pytest.mark.sampled(3)
@pytest.mark.parametrize("program", ["frame", "full"])
@pytest.mark.parametrize("name", CASES)
def test_scores_and_program_gradient_are_the_unfused_nets(name, program):
    """The oracle is the net itself on canvases put together by hand."""
    net, size = make(name)
    task = random_task(shape=(3, 9, 9))
    host = reprogram.Host.wrap(net, size=size, mean=(0.5, 0.25, 0.125), std=(0.25, 0.5, 0.125))
    model = reprogram.Reprogrammed.build(host, task, program=program, seed=1).double()
    weight = model.program.weight
    with torch.no_grad():
        weight.copy_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(2)))
    images = task.test.images[:5]
    factors = torch.randn(5, host.info.num_classes, generator=torch.Generator().manual_seed(3)).double()

    scores = host(model.program(model.canvas(images)))
    (gradient,) = torch.autograd.grad((scores * factors).sum(), weight)

    corner = (size - 9) // 2
    free = weight.detach().clone().requires_grad_()
    canvas = torch.full((5, 3, size, size), 0.5, dtype=torch.float64)
    canvas[:, :, corner : corner + 9, corner : corner + 9] = images.double() / 255
    mask = torch.ones(size, size, dtype=torch.float64)
    if program == "frame":
        mask[corner : corner + 9, corner : corner + 9] = 0
    whole = (canvas + torch.tanh(free * mask) / 2).clamp(0, 1)
    mean, std = (torch.tensor(v, dtype=torch.float64).view(3, 1, 1) for v in ((0.5, 0.25, 0.125), (0.25, 0.5, 0.125)))
    expected = net((whole - mean) / std)
    (expected_gradient,) = torch.autograd.grad((expected * factors).sum(), free)
    scores, expected = scores.detach(), expected.detach()

    assert scores.dtype == torch.float64
    assert expected.std() > 1e-6
    assert expected_gradient.abs().max() > 0
    assert (scores - expected).abs().max() <= 1e-10 * max(1.0, float(expected.abs().max()))
    scale = max(1.0, float(expected_gradient.abs().max()))
    assert (gradient - expected_gradient).abs().max() <= 1e-10 * scale
    dense = host(model.program(model.canvas(images)).dense()).detach()
    assert (dense - scores).abs().max() <= 1e-10 * max(1.0, float(expected.abs().max()))


@pytest.mark.parametrize(
    "name", ["convnet", "torchvision resnet18", "timm tf_efficientnet_lite0 SAME", "timm test_vit"]
)
def test_float32_agrees_to_1e_4(name):
    build, size = CASES[name]
    net = randomize_batchnorm(seeded(build)).eval()
    host = reprogram.Host.wrap(net, size=size)
    pixels = torch.rand(4, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        exact = net.double()(pixels.double())
        net.float()
        scores = host(pixels)
    assert (scores - exact).norm() <= 1e-4 * exact.norm()


@pytest.mark.parametrize("name", CASES)
def test_prepare_does_not_change_the_module(name):
    net, size = make(name)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    pixels = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        expected = net(pixels)
        prepared = fuse(net)
        assert torch.allclose(prepared(pixels), expected, rtol=1e-10, atol=1e-10)
        assert torch.equal(net(pixels), expected)
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())


@pytest.mark.parametrize("name", ["torchvision resnet18", "timm test_resnet", "timm tf_efficientnet_lite0 SAME"])
def test_batchnorm_is_really_fused_away(name):
    """Otherwise the agreement above proves nothing."""
    net, _ = make(name)
    assert any(isinstance(m, nn.BatchNorm2d) for m in net.modules())
    assert not any(isinstance(m, nn.BatchNorm2d) for m in fuse(net).modules())


@pytest.mark.parametrize("name", ["torchvision resnet18", "timm test_resnet", "torchvision mobilenet_v2"])
def test_no_clipping_is_left_by_itself(name):
    """In a block that adds `out += x`, x is read and out is written: x's clipping can go into its sum all the same."""
    net, _ = make(name)
    assert any(isinstance(m, nn.ReLU | nn.ReLU6) for m in net.modules())
    assert not any(isinstance(m, nn.ReLU | nn.ReLU6) for m in fuse(net).modules())


def test_float64_host_keeps_program_gradient_against_finite_differences():
    net, size = make("timm test_resnet")
    task = random_task(shape=(3, 9, 9))
    model = reprogram.Reprogrammed.build(reprogram.Host.wrap(net, size=size), task, seed=3).double()
    images, labels = task.train.images[:4], task.train.labels[:4]
    weight = model.program.weight
    (gradient,) = torch.autograd.grad(F.cross_entropy(model(images), labels), weight)
    flat, step = gradient.flatten(), 1e-5
    for index in flat.abs().topk(3).indices.tolist():
        losses = []
        for sign in (1, -1):
            with torch.no_grad():
                weight.view(-1)[index] += sign * step
                losses.append(float(F.cross_entropy(model(images), labels)))
                weight.view(-1)[index] -= sign * step
        assert (losses[0] - losses[1]) / (2 * step) == pytest.approx(float(flat[index]), rel=1e-4, abs=1e-9)


class Noisy(ConvNet):
    """A host that answers with fresh noise each time, as a randomised defence does."""

    def forward(self, x):
        return super().forward(x) + torch.randn(6)


def test_a_randomised_host_stays_random():
    """Tracing must not freeze the noise of one call into a constant."""
    with pytest.warns(UserWarning, match="chance"):
        host = reprogram.Host.wrap(seeded(Noisy), size=16)
    pixels = torch.rand(2, 3, 16, 16)
    with torch.no_grad():
        answers = torch.stack([host(pixels) for _ in range(4)])
    assert answers.std(dim=0).min() > 0
