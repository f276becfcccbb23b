"""Execution on `Framed` equals dense execution of the original host: float64, scores and gradients."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from helpers import narrow_vgg, random_task
from helpers_engine import largest_error, random_framed
from reprogram import Box, Framed, Host, Reprogrammed, load_host

HOSTS = [
    "timm:resnet18?pretrained=0&size=73",
    "timm:resnetv2_50x1_bit?pretrained=0&size=65",
    "timm:tf_efficientnet_lite0?pretrained=0&size=73",
    "timm:tf_efficientnet_b0?pretrained=0&size=64",
    "timm:convnext_atto?pretrained=0&size=64",
    "timm:test_vit?pretrained=0",
    "torchvision:mobilenet_v2?pretrained=0&size=73",
    "torchvision:squeezenet1_1?pretrained=0&size=73",
    "torchvision:densenet121?pretrained=0&size=65",
    "torchvision:shufflenet_v2_x0_5?pretrained=0&size=65",
    "torchvision:googlenet?pretrained=0&size=97&num_classes=10",
    "linear:32",
]


MORE_HOSTS = [
    "timm:resnetv2_50?pretrained=0&size=33",
    "timm:resnet26d?pretrained=0&size=40",
    "timm:seresnet18?pretrained=0&size=33",
    "timm:nf_resnet50?pretrained=0&size=33",
    "timm:res2net50_14w_8s?pretrained=0&size=33",
    "timm:legacy_xception?pretrained=0&size=40",
    "timm:inception_v4?pretrained=0&size=75",
    "timm:inception_resnet_v2?pretrained=0&size=75",
    "timm:dpn68?pretrained=0&size=33",
    "timm:ghostnet_100?pretrained=0&size=47",
    "timm:mixnet_s?pretrained=0&size=47",
    "timm:hrnet_w18_small?pretrained=0&size=64",
    "timm:efficientnet_lite0?pretrained=0&size=47",
    "timm:mobilenetv1_100?pretrained=0&size=47",
    "timm:tf_mobilenetv3_small_100?pretrained=0&size=65",
    "timm:regnetx_002?pretrained=0&size=65",
    "timm:efficientvit_b0?pretrained=0&size=64",
    "timm:fastvit_t8?pretrained=0&size=64",
    "timm:poolformer_s12?pretrained=0&size=64",
    "timm:edgenext_xx_small?pretrained=0&size=64",
    "timm:resnest14d?pretrained=0&size=65",
    "timm:repvgg_a0?pretrained=0&size=47",
    "timm:convnextv2_atto?pretrained=0&size=64",
    "torchvision:vgg11_bn?pretrained=0&size=32",
    "torchvision:resnext50_32x4d?pretrained=0&size=33",
    "torchvision:mobilenet_v3_small?pretrained=0&size=97",
    "torchvision:efficientnet_b0?pretrained=0&size=33",
    "torchvision:mnasnet0_5?pretrained=0&size=97",
    "torchvision:regnet_y_400mf?pretrained=0&size=65",
    "torchvision:inception_v3?pretrained=0&size=75",
    "torchvision:convnext_tiny?pretrained=0&size=32",
]
"""One of each family, at two places."""


def boxes(size: int) -> list[Box]:
    """One pixel, a digit in the middle, against an edge, in a corner, everything."""
    return [
        Box(top=size // 3, left=size // 2, height=1, width=1),
        Box(top=size // 2 - 7, left=size // 2 - 9, height=14, width=18),
        Box(top=0, left=5, height=7, width=9),
        Box(top=size - 9, left=size - 11, height=9, width=11),
        Box(top=0, left=0, height=size, width=size),
    ]


def shorten(net: nn.Module) -> None:
    """Leave out equal blocks in a row, which take a gigabyte of memory."""
    if type(net).__name__ == "InceptionV4":
        del net.features[20:], net.features[12:18], net.features[7:10]
    elif type(net).__name__ == "InceptionResnetV2":
        net.repeat, net.repeat_1, net.repeat_2 = net.repeat[:2], net.repeat_1[:2], net.repeat_2[:2]
    elif type(net).__name__ == "ResNetV2":
        for stage, kept in zip(net.stages, (2, 2, 2, 1), strict=True):
            del stage.blocks[kept:]
    elif type(net).__name__ == "ResNet":
        for layer in (net.layer1, net.layer2, net.layer3, net.layer4):
            del layer[2:]
    elif type(net).__name__ == "Xception":
        for index in range(5, 12):
            setattr(net, f"block{index}", nn.Identity())
    elif type(net).__name__ == "NormFreeNet":
        for stage, kept in zip(net.stages, (2, 2, 2, 1), strict=True):
            del stage[kept:]


def with_statistics(spec: str) -> Host:
    """A float64 host with random BatchNorm statistics."""
    host = Host.wrap(narrow_vgg(), size=32) if "vgg" in spec else load_host(spec)
    shorten(host.net)
    host = host.double()
    generator = torch.Generator().manual_seed(0)
    for layer in host.net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.copy_(torch.randn(layer.num_features, generator=generator) / 10)
            layer.running_var.copy_(0.5 + torch.rand(layer.num_features, generator=generator))
    return host


@pytest.mark.sampled(2)
@pytest.mark.usefixtures("freed_memory")
@pytest.mark.parametrize("spec", HOSTS)
def test_real_architectures_agree_with_dense_execution(spec: str) -> None:
    host = with_statistics(spec)
    size = host.info.size[0]
    for index, box in enumerate(boxes(size)):
        framed = random_framed(3, size, box, batch=1 if index == 0 else 3)
        assert largest_error(host, framed) < 1e-10, box


@pytest.mark.sampled(3)
@pytest.mark.usefixtures("freed_memory")
@pytest.mark.parametrize("spec", MORE_HOSTS)
def test_one_of_each_family_agrees_with_dense_execution(spec: str) -> None:
    host = with_statistics(spec)
    assert host.prepared.shares
    size = host.info.size[0]
    for batch, box in ((2, boxes(size)[0]), (1, Box(top=size - 7, left=size // 3, height=7, width=9))):
        assert largest_error(host, random_framed(3, size, box, batch)) < 1e-10, box


class RandomNet(nn.Module):
    """Two branches of random layers that are added or concatenated, then a last convolution and a global mean."""

    def __init__(self, left: list[nn.Module], right: list[nn.Module], join: str) -> None:
        super().__init__()
        self.left, self.right = nn.Sequential(*left), nn.Sequential(*right)
        self.join = join
        self.last = nn.Conv2d(8 if join == "cat" else 4, 5, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        a, b = self.left(images), self.right(images)
        height, width = min(a.shape[2], b.shape[2]), min(a.shape[3], b.shape[3])
        a, b = a[..., :height, :width], b[..., :height, :width]
        joined = torch.cat([a, b], 1) if self.join == "cat" else a + b
        return self.last(joined).mean((2, 3))


@st.composite
def layers(draw: st.DrawFn, channels: int) -> list[nn.Module]:
    """One to three layers from `channels` to 4."""
    found: list[nn.Module] = []
    for _ in range(draw(st.integers(1, 3))):
        kernel = draw(st.integers(1, 5))
        stride, padding = draw(st.integers(1, 3)), draw(st.integers(0, kernel // 2))
        kind = draw(st.sampled_from(["convolution", "convolution", "max", "average"]))
        if kind == "convolution" or channels != 4:
            groups = draw(st.sampled_from([1, 2, 4])) if channels == 4 else 1
            dilation = draw(st.integers(1, 2))
            found += [
                nn.Conv2d(channels, 4, kernel, stride, padding, dilation, groups),
                nn.BatchNorm2d(4),
                draw(st.sampled_from([nn.ReLU(inplace=True), nn.ReLU6(inplace=True), nn.SiLU(), nn.Hardswish()])),
            ]
            channels = 4
        elif kind == "max":
            found.append(nn.MaxPool2d(kernel, stride, padding, ceil_mode=draw(st.booleans())))
        else:
            ceil, count = draw(st.booleans()), draw(st.booleans())
            found.append(nn.AvgPool2d(kernel, stride, padding, ceil_mode=ceil, count_include_pad=count))
    return found


@settings(max_examples=120, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_random_graphs_agree_with_dense_execution(data: st.DataObject) -> None:
    torch.manual_seed(data.draw(st.integers(0, 99)))
    join = data.draw(st.sampled_from(["add", "cat"]))
    net = RandomNet(data.draw(layers(2)), data.draw(layers(2)), join).double().eval()
    size = data.draw(st.integers(24, 40))
    height, width = data.draw(st.integers(1, size)), data.draw(st.integers(1, size))
    box = Box(
        top=data.draw(st.integers(0, size - height)),
        left=data.draw(st.integers(0, size - width)),
        height=height,
        width=width,
    )
    try:
        net(torch.rand(1, 2, size, size, dtype=torch.float64))
    except RuntimeError:
        return  # The draw shrank the map to nothing.
    host = Host.wrap(net, size=size, channels=2)
    assert largest_error(host, random_framed(2, size, box, batch=data.draw(st.integers(1, 3)))) < 1e-10


class BatchStatistics(nn.Module):
    """Normalises by the statistics of the batch at hand."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4, track_running_stats=False)

    def forward(self, images: Tensor) -> Tensor:
        return torch.relu(input=self.norm(self.convolution(images))).mean(dim=(2, 3))


def test_statistics_of_the_batch_are_those_of_the_whole_batch() -> None:
    torch.manual_seed(0)
    with pytest.warns(UserWarning, match="depend on the images beside it"):
        host = Host.wrap(BatchStatistics().double(), size=24)
    box = Box(top=8, left=8, height=6, width=6)
    assert largest_error(host, random_framed(3, 24, box, batch=4)) < 1e-10


def test_a_window_that_strides_step_over() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 4, 1, stride=4), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(4 * 36, 5)
    ).double()
    host = Host.wrap(net, size=24)
    assert largest_error(host, random_framed(3, 24, Box(top=9, left=9, height=2, width=2), batch=2)) < 1e-10


def test_the_dense_engine_is_one_attribute_away() -> None:
    host = load_host("timm:test_resnet?pretrained=0&size=48")
    framed = random_framed(3, 48, Box(top=16, left=16, height=8, width=8), batch=2)
    framed = Framed(frame=framed.frame.float(), window=framed.window.float(), box=framed.box)
    shared = host(framed)
    host.engine = "dense"
    torch.testing.assert_close(host(framed), shared, rtol=1e-4, atol=1e-5)


PROGRAMS = ["frame", "full", "full?round_8bit=true", "patch?height=9&width=12", "patch?top=18&left=20&height=9&width=9"]


LABEL_MAPS = ["first", "random?seed=3", "many-to-one?labels_per_class=2"]


@pytest.mark.parametrize("label_map", LABEL_MAPS)
@pytest.mark.parametrize("program", PROGRAMS)
def test_every_program_and_label_map(program: str, label_map: str) -> None:
    """The oracle is the untouched module on whole canvases."""
    host = with_statistics("timm:test_resnet?pretrained=0&size=48&num_classes=12")
    model = Reprogrammed.build(host, random_task((3, 12, 12)), program=program, label_map=label_map, seed=1).double()
    generator = torch.Generator().manual_seed(2)
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    with torch.no_grad():
        for parameter in learned:
            parameter.add_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    images = random_task((3, 12, 12)).test.images[:5]
    whole = model.program(model.canvas(images)).dense()
    wanted = model.label_map(host.net((whole - host.mean) / host.std))
    found = model(images)
    factors = torch.randn(found.shape, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-10)
    to_found, to_wanted = (torch.autograd.grad((scores * factors).sum(), learned) for scores in (found, wanted))
    assert all(gradient.any() for gradient in to_wanted)
    torch.testing.assert_close(to_found, to_wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "spec",
    [
        "timm:seresnet18?pretrained=0&size=64",
        "torchvision:mobilenet_v3_small?pretrained=0&size=64",
    ],
)
def test_batches_of_any_size_follow_each_other_on_one_cached_frame(spec):
    """A gate that a batch of one computes from its pixels looks like a constant, and isn't the frame's."""
    host = load_host(spec).double()
    _, height, width = host.info.shape
    generator = torch.Generator().manual_seed(0)
    frame = torch.rand(1, 3, height, width, generator=generator, dtype=torch.float64)
    box = Box(top=height // 3, left=width // 3, height=8, width=8)
    with torch.no_grad():
        for n in (1, 1, 3, 1, 2):
            window = torch.rand(n, 3, 8, 8, generator=generator, dtype=torch.float64)
            framed = Framed(frame=frame, window=window, box=box)
            expected = host.net((framed.dense() - host.mean) / host.std)
            torch.testing.assert_close(host(framed), expected, rtol=1e-10, atol=1e-10 * float(expected.abs().max()))
