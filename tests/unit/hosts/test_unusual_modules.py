"""Modules and arguments that people have: odd weights run or are refused in one line, odd arguments are refused."""

import functools
import hashlib
import warnings

import numpy as np
import pytest
import torch
from torch import nn

import reprogram
from helpers import seeded
from reprogram import Host


class Net(nn.Module):
    """A convolution, a ReLU and a linear layer, with whatever buffer a test gives it."""

    def __init__(self, buffer=None):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 8, 3), nn.Linear(8 * 36, 12)
        self.register_buffer("odd", buffer)

    def forward(self, images):
        return self.head(torch.relu(self.conv(images)).flatten(1))


class WithExtraState(Net):
    """Stores a record beside its weights."""

    def get_extra_state(self):
        return {"a": 1, "tensor": torch.ones(3), "list": [1, (2, "x")], "object": object()}

    def set_extra_state(self, state):
        pass


def dynamically_quantised():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.ao.quantization.quantize_dynamic(seeded(Net).eval(), {nn.Linear})


def quantised(values):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.quantize_per_tensor(values, 0.1, 0, torch.qint8)


def nested(values):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.nested.nested_tensor(list(values))


BUFFERS = {
    "sparse": lambda: torch.eye(3).to_sparse(),
    "complex": lambda: torch.eye(3) * 1j,
    "float8": lambda: torch.eye(3).to(torch.float8_e4m3fn),
    "bool": lambda: torch.eye(3) > 0,
    "quantised": lambda: quantised(torch.eye(3)),
    "nested": lambda: nested([torch.ones(2), torch.ones(3)]),
    "empty": lambda: torch.zeros(0),
    "uint16": lambda: torch.zeros(2, dtype=torch.uint16),
    "expanded": lambda: torch.zeros(1).expand(5),
}


@pytest.mark.parametrize("kind", BUFFERS)
def test_buffers_of_every_kind_are_taken(kind):
    images = torch.rand(2, 3, 8, 8)
    net = seeded(lambda: Net(BUFFERS[kind]()))
    host, again = (Host.wrap(net, size=8) for _ in range(2))
    with torch.no_grad():
        torch.testing.assert_close(host(images), net(images), rtol=1e-4, atol=1e-5)
    assert host.fingerprint == again.fingerprint != Host.wrap(seeded(Net), size=8).fingerprint


def test_the_fingerprint_of_ordinary_weights_is_what_it_was():
    """By hand, as program files of all versions hold it."""
    net = seeded(Net)
    host = Host.wrap(net, size=8)
    digest = hashlib.sha256(repr(((3, 8, 8), (0.0,) * 3, (1.0,) * 3, 12)).encode())
    for name, value in sorted(net.state_dict().items()):
        digest.update(f"{name}{value.dtype}{tuple(value.shape)}".encode() + value.numpy().tobytes())
    assert host.fingerprint == digest.hexdigest()


def test_a_quantised_module_gives_scores_only():
    net = dynamically_quantised()
    host, images = Host.wrap(net, size=8), torch.rand(2, 3, 8, 8)
    with torch.no_grad():
        assert torch.equal(host(images), net(images))
    assert host.info.access == "scores" and host.fingerprint == Host.wrap(net, size=8).fingerprint


def test_extra_state_is_no_weight():
    net = seeded(WithExtraState)
    host = Host.wrap(net, size=8)
    assert host.prepared.shares and host.fingerprint == Host.wrap(net, size=8).fingerprint


@pytest.mark.parametrize(
    "classifier,arguments,texts",
    [
        (lambda: nn.Sequential(nn.LazyConv2d(4, 3), nn.Flatten(), nn.LazyLinear(4)), {}, ["0.weight", "no shape"]),
        (lambda: Net().to("meta"), {}, ["meta"]),
        (lambda: Net(torch.tensor(complex(0, float("nan")))), {}, ["odd", "finite"]),
        (lambda: Net, {}, ["Net is a class"]),
        (lambda: None, {}, ["NoneType", "function"]),
        (lambda: Net().state_dict(), {}, ["OrderedDict"]),
        (Net, {"size": 0}, ["size=0", "1 to 4096"]),
        (Net, {"size": "8"}, ["size='8'"]),
        (Net, {"size": (3, 8, 8)}, ["size=(3, 8, 8)"]),
        (Net, {"size": 8.0}, ["size=8.0"]),
        (Net, {"size": True}, ["size=True"]),
        (Net, {"channels": 0}, ["channels=0"]),
        (Net, {"channels": "3"}, ["channels='3'"]),
        (Net, {"mean": 0.5}, ["mean", "list of numbers"]),
        (Net, {"mean": (0.5,)}, ["3 values"]),
        (Net, {"mean": ("a", "b", "c")}, ["mean", "list of numbers"]),
        (Net, {"mean": (float("nan"),) * 3}, ["finite"]),
        (Net, {"std": (float("inf"),) * 3}, ["finite"]),
        (Net, {"std": (0, 0, 0)}, ["positive"]),
        (Net, {"std": (1e-30,) * 3}, ["positive"]),
        (Net, {"mean": (123.675, 116.28, 103.53)}, ["123.675", "255"]),
        (Net, {"std": (58.4, 57.1, 57.4)}, ["58.4", "255"]),
        (Net, {"class_names": "abcdefghijkl"}, ["class_names", "list of names"]),
        (Net, {"class_names": list(range(12))}, ["class_names", "list of names"]),
        (Net, {"class_names": ["a"]}, ["1 class names for 12"]),
        (Net, {"access": "all"}, ["access='all'", "top-k"]),
        (Net, {"name": 5}, ["name=5"]),
        (Net, {"licence": None}, ["licence=None"]),
        (Net, {"name": "\ud800"}, ["\\ud800", "UTF-8"]),
        (Net, {"name": "x" * 5000}, ["5000 characters"]),
        (Net, {"class_names": ["\ud800"] * 12}, ["class_names", "list of names"]),
        (Net, {"mean": (10**400,) * 3}, ["mean", "list of numbers"]),
        (Net, {"mean": (123.675, 116.28, 103.53), "std": (0.229, 0.224, 0.225)}, ["one is of pixels from 0 to 255"]),
        (Net, {"outputs": []}, ["outputs=[]", "'scores'"]),
        (lambda: lambda x: x.numpy(force=True), {}, ["(1, 3, 8, 8)", "b x K"]),
        (lambda: lambda x: (x.flatten(1), x), {}, ["tuple", "module(x)[0]"]),
        (lambda: lambda x: x.flatten(1).expand(1, -1), {}, ["failed", "any number of images"]),
        (lambda: lambda x: (0.6 - x.amax((2, 3))).sqrt(), {}, ["images of noise", "NaN"]),
        (lambda: lambda x: x.flatten(1) * 1j, {}, ["complex"]),
        (lambda: lambda x: x.flatten(1) * float("nan"), {}, ["NaN"]),
        (lambda: lambda x: x.flatten(1)[:, :0], {}, ["(1, 0)"]),
        (lambda: lambda x: x.flatten(1)[:1], {}, ["(1, 192)", "2 x 192"]),
        (lambda: lambda: 0, {}, ["blank"]),
    ],
)
def test_what_can_not_be_a_host_is_refused_in_one_line(classifier, arguments, texts, one_line):
    with pytest.raises(reprogram.errors.ReprogramError) as error:
        Host.wrap(classifier(), **({"size": 8} | arguments))
    one_line(error, *texts)


def test_arrays_are_numbers_too():
    mean, std = torch.tensor([0.5, 0.4, 0.3]), np.array([0.4, 0.5, 0.6])
    host = Host.wrap(Net(), size=np.int64(8), mean=mean, std=std)
    assert host.info.size == (8, 8) and host.info.mean == pytest.approx((0.5, 0.4, 0.3))
    assert host.info.std == (0.4, 0.5, 0.6)


@pytest.mark.parametrize(
    "pixels", [torch.zeros(1, 3, 8, 8, dtype=torch.uint8), np.zeros((1, 3, 8, 8)), None, torch.zeros(3, 8, 8)]
)
def test_pixels_that_are_none_are_refused(pixels, one_line):
    host = Host.wrap(Net(), size=8)
    with pytest.raises(reprogram.ConfigError) as error:
        host(pixels)
    one_line(error, "host callable")


@pytest.mark.parametrize("field,value,text", [("crop", 1.5, "crop=1.5"), ("interpolation", "bicubik", "'bicubic'")])
def test_records_hold_known_values(field, value, text, one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        reprogram.HostInfo(id="x", num_classes=2, size=(8, 8), **{field: value})
    one_line(error, text)


def test_the_record_bounds_what_a_file_states(one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        reprogram.HostInfo(id="x", num_classes=2, size=(20_000, 20_000))
    one_line(error, "20000", "4096")


@pytest.mark.parametrize("kind", ["array", "list", "record"])
def test_scores_may_be_arrays_and_lists(kind):
    net, images = seeded(Net), torch.rand(2, 3, 8, 8)

    def answer(pixels):
        scores = net(pixels).detach()
        return {"array": scores.numpy(), "list": scores.tolist(), "record": {"logits": scores.numpy()}}[kind]

    host = Host.wrap(answer, size=8)
    assert host.info.access == "scores"
    with torch.no_grad():
        torch.testing.assert_close(host(images), net(images))


def test_a_normalisation_of_any_shape_is_taken():
    mean, std = torch.tensor([0.5, 0.4, 0.3]).view(1, 3, 1, 1), np.full((3, 1, 1), 0.5)
    host = Host.wrap(Net(), size=8, mean=mean, std=std)
    assert host.info.mean == pytest.approx((0.5, 0.4, 0.3)) and host.info.std == (0.5,) * 3


def test_a_partial_without_arguments_is_its_module():
    net = seeded(lambda: nn.Sequential(nn.Dropout(), Net()))
    host, images = Host.wrap(functools.partial(net), size=8), torch.rand(2, 3, 8, 8)
    assert host.fingerprint == Host.wrap(net, size=8).fingerprint
    with torch.no_grad():
        torch.testing.assert_close(host(images), net[1](images), rtol=1e-4, atol=1e-5)


def test_a_frozen_torchscript_module_is_a_host():
    net, images = seeded(Net).eval(), torch.rand(2, 3, 8, 8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frozen = torch.jit.freeze(torch.jit.script(net))
    with torch.no_grad():
        torch.testing.assert_close(Host.wrap(frozen, size=8)(images), net(images))


def test_a_module_made_in_inference_mode_has_gradients():
    with torch.inference_mode():
        net = seeded(Net)
    host, images = Host.wrap(net, size=8), torch.rand(2, 3, 8, 8, requires_grad=True)
    twin = seeded(Net)
    assert host.info.access == "gradient"
    expected, found = (torch.autograd.grad(part(images).sin().sum(), images)[0] for part in (twin, host))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)


def test_names_that_stand_twice_are_told_where_answers_are_names():
    with pytest.warns(UserWarning, match="'crane' more than once"):
        Host.wrap(lambda x: ["crane"] * len(x), size=8, class_names=("crane", "bus", "crane"), outputs="labels")
