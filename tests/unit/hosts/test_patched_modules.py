"""Modules whose behaviour isn't in their class: the host's scores are those of the module itself in evaluation mode.

The oracle is a second module, made alike, after `eval()`; nothing of the library runs it.
"""

import copy
import functools
import types
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import reprogram
from helpers import assert_same, random_task, seeded, snapshot
from reprogram import Box, Framed, Host


class Net(nn.Module):
    """Convolution, normalisation, ReLU, dropout and a linear layer; what it gives depends on its mode."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.act = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU()
        self.drop, self.pool, self.head = nn.Dropout(), nn.AdaptiveAvgPool2d(3), nn.Linear(72, 6)
        nn.init.normal_(self.norm.running_mean)
        nn.init.uniform_(self.norm.running_var, 0.5, 2)

    def maps(self, images):
        return self.drop(self.norm(self.conv(images)))

    def forward(self, images):
        return self.head(self.pool(self.act(self.maps(images))).flatten(1))


CASES = {}


def case(function):
    CASES[function.__name__] = function
    return function


@case
def forward_of_the_whole(net):
    old = net.forward
    net.forward = lambda images: 3 * old(1 - images)


@case
def forward_of_a_convolution(net):
    old = net.conv.forward
    net.conv.forward = lambda images: 2 * old(images) + 1


@case
def forward_of_an_activation(net):
    net.act.forward = lambda maps: F.leaky_relu(maps, 0.3)


@case
def forward_of_a_normalisation(net):
    norm = net.norm
    norm.forward = lambda x: F.batch_norm(
        x, norm.running_mean * 0, norm.running_var, norm.weight, norm.bias, norm.training
    )


@case
def method_of_a_layer(net):
    net.norm.forward = types.MethodType(lambda norm, maps: 0.1 + maps * norm.eps * 1e4, net.norm)


@case
def partial_of_a_layer(net):
    net.head.forward = functools.partial(lambda head, x: F.linear(x, head.weight / 2, head.bias), net.head)


@case
def wrapped_as_offloading_libraries_do(net):
    for part in (net, net.conv):
        part._old_forward = part.forward
        new = functools.partial(lambda module, images: module._old_forward(1.5 * images), part)
        part.forward = functools.update_wrapper(new, part._old_forward)


@case
def another_method(net):
    old = net.maps
    net.maps = lambda images: old(images / 2) + 1


@case
def call_set_on_the_instance(net):
    old = net._call_impl
    net._call_impl = lambda *arguments: 4 * old(*arguments)


@case
def call_overridden(net):
    net.__class__ = type("Doubled", (Net,), {"__call__": lambda self, images: 2 * nn.Module.__call__(self, images) - 1})


@case
def call_of_a_layer_overridden(net):
    net.act.__class__ = type("Odd", (nn.ReLU,), {"__call__": lambda self, x: 2 * nn.Module.__call__(self, x) - 1})


@case
def forward_hook(net):
    net.act.register_forward_hook(lambda module, arguments, maps: 1.7 * maps)


@case
def forward_pre_hook(net):
    net.register_forward_pre_hook(lambda module, arguments: (1 - arguments[0],))


@case
def hook_with_another_layer(net):
    net.head.register_forward_hook(lambda module, arguments, scores: scores + net.drop(scores))


@case
def weight_norm_of_old(net):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        nn.utils.weight_norm(net.conv)


@case
def weights_merged_by_eval(net):
    class Adapted(nn.Linear):
        merged = False

        def train(self, mode=True):
            if not mode and not self.merged:
                self.weight.data += self.down.T @ self.down
            self.merged = not mode
            return super().train(mode)

        def forward(self, x):
            whole = self.weight if self.merged else self.weight + self.down.T @ self.down
            return F.linear(x, whole, self.bias)

    net.head = seeded(lambda: nn.Sequential(nn.Linear(72, 72), nn.Linear(72, 6)))
    net.head[0].__class__ = Adapted
    net.head[0].down = nn.Parameter(torch.randn(2, 72, generator=torch.Generator().manual_seed(5)))


def made(name):
    net = seeded(Net)
    CASES[name](net)
    return net


def batch():
    generator = torch.Generator().manual_seed(0)
    frame, window = torch.rand(1, 3, 12, 12, generator=generator), torch.rand(3, 3, 5, 5, generator=generator)
    return Framed(frame=frame, window=window, box=Box(top=2, left=3, height=5, width=5))


def assert_near(found, wanted):
    assert float((found - wanted).norm() / wanted.norm()) < 1e-5


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_scores_are_those_of_the_module_in_evaluation_mode(name, training):
    net, reference = made(name), made(name).eval()
    net.train(training)
    before, framed = snapshot(net), batch()
    images = framed.dense()
    host = Host.wrap(net, size=12)
    with torch.no_grad():
        wanted = reference(images)
        for engine in ("shared", "dense"):
            host.engine = engine
            for one in (host, copy.deepcopy(host)):
                assert_near(one(images), wanted)
                assert_near(one(framed), wanted)
    if name != "hook_with_another_layer":
        assert_same(before, snapshot(net))


@pytest.mark.parametrize("name", CASES)
def test_fit_learns_on_the_module_itself(name):
    net, reference, task = made(name), made(name).eval(), random_task()
    model = reprogram.Reprogrammed.build(Host.wrap(net, size=12), task)
    reprogram.fit(model, task, epochs=1)
    with torch.no_grad():
        canvases = model.program(model.canvas(task.test.images))
        assert_near(model.host_scores(task.test.images), reference(canvases.dense()))


def test_later_training_of_a_patched_module_leaves_the_host_in_evaluation_mode():
    net, reference = made("forward_of_the_whole").eval(), made("forward_of_the_whole").eval()
    host, images = Host.wrap(net, size=12), batch().dense()
    net.train()
    with torch.no_grad():
        assert_near(host(images), reference(images))
    assert net.training and net.norm.training


def test_a_patched_module_computes_in_other_types():
    net = made("forward_of_the_whole").eval()
    host, images = Host.wrap(net, size=12), batch().dense()
    with torch.no_grad():
        wanted = net(images)
        host.precision = "bfloat16"
        assert float((host(images) - wanted).norm() / wanted.norm()) < 0.05
        host.precision = "float32"
        assert_near(host.double()(images.double()), wanted)
    assert net.conv.weight.dtype == torch.float32 and host.fingerprint == Host.wrap(net, size=12).fingerprint


def test_a_class_that_is_patched_runs_as_it_is(monkeypatch):
    """The engine's convolution knows nothing of it: the trial at wrap time does."""
    old = nn.Conv2d.forward
    monkeypatch.setattr(nn.Conv2d, "forward", lambda self, images: 1 - 2 * old(self, images))
    net, framed = seeded(Net).eval(), batch()
    with pytest.warns(UserWarning, match="engine differs"):
        host = Host.wrap(net, size=12)
    with torch.no_grad():
        assert_near(host(framed), net(framed.dense()))


def test_an_ordinary_module_is_still_shared():
    assert Host.wrap(seeded(Net), size=12).prepared.shares


@pytest.mark.parametrize("layer", [nn.Dropout(), nn.BatchNorm2d(3)])
def test_a_callable_in_training_mode_is_noticed(layer):
    net = nn.Sequential(layer, seeded(Net).eval()).train()
    with pytest.warns(UserWarning, match=r"module.eval\(\)"):
        Host.wrap(lambda images: net(images), size=12)
    net.eval()
    Host.wrap(lambda images: net(images), size=12)  # Warnings are errors.


def test_a_bound_call_is_its_module():
    net = seeded(Net).train()
    host = Host.wrap(net.__call__, size=12)
    with torch.no_grad():
        assert_near(host(batch().dense()), seeded(Net).eval()(batch().dense()))


def test_what_can_not_be_copied_gets_advice(one_line):
    class Stubborn(Net):
        def __deepcopy__(self, memo):
            raise RuntimeError("no copies\nof this")

    with pytest.raises(reprogram.ConfigError) as error:
        Host.wrap(Stubborn(), size=12)
    one_line(error, "Stubborn", "no copies", "module.eval()", "lambda x: module(x)")


def test_a_hook_on_a_loaded_host_is_called_and_may_leave():
    host = reprogram.load_host("timm:test_resnet(pretrained=False, num_classes=32, size=48)")
    images, calls = torch.rand(2, 3, 48, 48), []
    before = host(images)
    conv = next(module for module in host.net.modules() if isinstance(module, nn.Conv2d))
    handle = conv.register_forward_hook(lambda module, args, output: (calls.append(1), output + 100)[1])
    changed = host(images)
    assert len(calls) == 1 and not torch.allclose(before, changed)
    assert torch.allclose(changed, host.net(host._normalised(images)), atol=1e-5)
    handle.remove()
    assert torch.equal(host(images), before) and len(calls) == 2  # The second call was the line before.


class Alias(nn.Module):
    """A map that is written into through another name, and read again."""

    def __init__(self, same):
        super().__init__()
        self.conv, self.act, self.head = nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(inplace=True), nn.Linear(8, 10)
        self.last, self.same = nn.Conv2d(8, 8, 3, padding=1, stride=2), same

    def forward(self, images):
        maps = self.conv(images)
        changed = self.act(self.same(maps))
        return self.head(self.last(maps + changed).mean((2, 3)))


SAME = {
    "to": lambda x: x.to(torch.float32),
    "float": lambda x: x.float(),
    "type_as": lambda x: x.type_as(x),
    "dropout": lambda x: F.dropout(x, training=False),
}


@pytest.mark.parametrize("name", SAME)
def test_a_map_under_another_name_is_the_same_map(name):
    host, task = Host.wrap(seeded(lambda: Alias(SAME[name])).eval(), size=48), random_task()
    model = reprogram.Reprogrammed.build(host, task, canvas="centre", program="frame")
    images = torch.rand(4, *model.task.shape)
    with torch.no_grad():
        shared = model(images)
        host.engine = "dense"
        assert torch.allclose(shared, model(images), atol=1e-5)
