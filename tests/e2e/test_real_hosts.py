"""Real hosts on real photographs, through this code: as their files say. Needs ../shared."""

import json

import pytest
import torch
from safetensors.torch import load_file
from scipy.stats import binom
from torch import nn
from torch.nn import functional as F

import reprogram
from reprogram.utils.photographs import photograph

PHOTOS = 40
HOSTS = {
    "resnet18_pqf_small": "torchvision:resnet18",
    "resnet50_pqf_large": "timm:resnet50",
    "tf_mobilenetv2_100_qat": "timm:mobilenetv2_100(kwargs={'pad_type':'same'})",
    "squeezenet1_0_dc": "torchvision:squeezenet1_0",
}


@pytest.fixture(scope="session")
def photos(shared):
    folder = shared / "data" / "imagenet_sample_100"
    labels = json.loads((folder / "labels.json").read_text())
    chosen = sorted(labels.items())[:: len(labels) // PHOTOS][:PHOTOS]
    return [folder / name for name, _ in chosen], torch.tensor([label for _, label in chosen])


def plausible(correct, n, rate):
    """Whether so many are right with a probability of at least one in a thousand on either side."""
    return binom.ppf(0.001, n, rate) <= correct <= binom.ppf(0.999, n, rate)


def classify(host, paths):
    info = host.info
    batch = torch.cat([photograph(p, size=info.size, crop=info.crop, interpolation=info.interpolation) for p in paths])
    with torch.no_grad():
        return torch.cat([host(part) for part in batch.split(10)])


def test_the_criterion_can_fail():
    assert plausible(31, 40, 0.77) and not plausible(15, 40, 0.77) and not plausible(0, 40, 0.62)


@pytest.mark.parametrize("name", HOSTS)
def test_hosts_classify_photographs_as_their_files_say(shared, photos, name):
    record = json.loads((shared / "hosts" / f"{name}.json").read_text())
    given = record["preprocessing"]
    size = given["center_crop"]
    options = {
        "architecture": HOSTS[name],
        "size": size,
        "mean": ",".join(map(str, given["mean"])),
        "std": ",".join(map(str, given["std"])),
        "interpolation": given["interpolation"],
        "crop": size / given["resize_shorter"],
    }
    query = "&".join(f"{key}={value}" for key, value in options.items())
    host = reprogram.load_host(f"checkpoint:{shared / 'hosts' / name}.safetensors?{query}")
    assert host.info.shape == (3, size, size) and host.info.num_classes == 1000
    assert str(shared) not in host.info.id
    correct = int((classify(host, photos[0]).argmax(1) == photos[1]).sum())
    assert plausible(correct, PHOTOS, record["measured"]["top1"] / 100), correct


def test_the_default_host_classifies_photographs(lite0, photos):
    scores = classify(lite0, photos[0])
    correct = int((scores.argmax(1) == photos[1]).sum())
    assert plausible(correct, PHOTOS, 0.883), correct
    assert lite0.info.label(0) == "tench" and lite0.info.label(999) == "toilet tissue"
    assert lite0.info.licence == "Apache-2.0"


def test_the_default_host_is_timms_net_with_same_padding(lite0, photos):
    """Folded or not, to rounding."""
    images = photograph(photos[0][3], size=(224, 224), crop=0.875, interpolation="bicubic")
    with torch.no_grad():
        expected = lite0.net((images - 0.5) / 0.5)
        assert (lite0(images) - expected).norm() <= 1e-4 * expected.norm()


class Block(nn.Module):
    """Two convolutions and a parameter-free shortcut (He et al., 2016, option A)."""

    def __init__(self, before, after, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.stride, self.pad = stride, (after - before) // 2

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        shortcut = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.pad, self.pad))
        return F.relu(y + shortcut)


class ResNet20(nn.Module):
    """The CIFAR ResNet of 6n + 2 layers, n = 3."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(*(Block(16, 16, 1) for _ in range(3)))
        self.layer2 = nn.Sequential(Block(16, 32, 2), Block(32, 32, 1), Block(32, 32, 1))
        self.layer3 = nn.Sequential(Block(32, 64, 2), Block(64, 64, 1), Block(64, 64, 1))
        self.linear = nn.Linear(64, 10)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        return self.linear(self.layer3(self.layer2(self.layer1(x))).mean((2, 3)))


@pytest.fixture(scope="module")
def resnet20(shared):
    net = ResNet20()
    state = {key: value.float() for key, value in load_file(shared / "hosts" / "cifar10_resnet20.safetensors").items()}
    missing, unexpected = net.load_state_dict(state, strict=False)
    assert not unexpected and all(key.endswith("num_batches_tracked") for key in missing)
    given = json.loads((shared / "hosts" / "cifar10_resnet20.json").read_text())["preprocessing"]
    return reprogram.Host.wrap(net, size=32, mean=given["mean"], std=given["std"], name="cifar10-resnet20")


@pytest.fixture(scope="module")
def cifar(shared):
    return reprogram.load_task("cifar10", data=str(shared / "data" / "cifar10_lossless_train4000_test1000.npz"))


def test_a_host_of_ten_classes_on_32_pixels_classifies_cifar10(resnet20, cifar):
    """Measured on these very 1,000 images: 91.5 %."""
    result = reprogram.evaluate(lambda images: resnet20(images.float() / 255), cifar)
    assert result.n == 1000 and abs(result.correct - 915) <= 2


def test_a_model_without_a_program_is_the_host_itself(resnet20, cifar):
    """CIFAR-10 fills the canvas: a `full` program of zeros and the first ten labels change nothing."""
    model = reprogram.Reprogrammed.build(resnet20, cifar, program="full(init=0.0)")
    assert abs(reprogram.evaluate(model, cifar).correct - 915) <= 2
    with pytest.raises(reprogram.ConfigError, match="full"):
        reprogram.Reprogrammed.build(resnet20, cifar, program="frame")


def test_a_real_host_is_reprogrammed_in_a_minute(resnet20, digits):
    """A CIFAR-10 classifier reads 8x8 digits far above chance, and above the map alone."""
    from reprogram.evaluation.baselines.map_alone import label_map_alone

    model = reprogram.Reprogrammed.build(resnet20, digits)
    reprogram.fit(model, digits, epochs=2, batch_size=32, validations=2)
    result = reprogram.evaluate(model, digits)
    assert result.interval[0] > 0.25
    assert result.interval[0] > label_map_alone(model, digits)["interval"][1]
