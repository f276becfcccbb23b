"""Invariants 1, 2 and 7: the host comes back as it came, nothing of it learns, every call is counted."""

import pytest
import torch
from torch import nn

import reprogram
from helpers import ConvNet, assert_same, random_task, seeded, snapshot, tiny_model
from reprogram.evaluation.baselines.linear_probe import linear_probe
from reprogram.evaluation.baselines.map_alone import label_map_alone
from reprogram.evaluation.predict import predict


@pytest.fixture
def net():
    """A module in the middle of its own training: train mode, grads, hooks, BatchNorm buffers that move."""
    net = seeded(lambda: ConvNet(num_classes=6)).train()
    net.body[4].eval()
    net.head.bias.requires_grad_(False)
    net.register_forward_hook(lambda module, inputs, output: None)
    net.body[0].register_forward_pre_hook(lambda module, inputs: None)
    net.head.register_full_backward_hook(lambda module, grad_in, grad_out: None)
    net(torch.rand(4, 3, 16, 16)).sum().backward()
    return net


class StopError(Exception):
    pass


def stop(report):
    if report.images > 32:
        raise StopError


def fails_midway(model, task):
    with pytest.raises(StopError):
        reprogram.fit(model, task, epochs=3, batch_size=8, on_progress=stop)


def diverges(model, task):
    with pytest.raises(reprogram.DataError):
        model.program.weight.data.fill_(float("nan"))
        reprogram.fit(model, task, epochs=1, batch_size=8)


def bad_images(model, task):
    with pytest.raises(reprogram.DataError):
        model(torch.full((1, *task.image_shape), float("nan")))
    with pytest.raises(reprogram.ConfigError):
        model.host(torch.zeros(1, 3, 5, 5))


VERBS = {
    "build": lambda model, task, path: None,
    "fit": lambda model, task, path: reprogram.fit(model, task, epochs=2, batch_size=8, checkpoint=path / "c"),
    "evaluate": lambda model, task, path: reprogram.evaluate(model, task),
    "save": lambda model, task, path: model.save(path / "p.safetensors"),
    "load": lambda model, task, path: reprogram.load(model.save(path / "p.safetensors"), host=model.host),
    "export": lambda model, task, path: reprogram.export(model, path / "m.pt2", task=task, max_batch=1),
    "probe": lambda model, task, path: linear_probe(model.host, task),
    "map alone": lambda model, task, path: label_map_alone(model, task),
    "train flag": lambda model, task, path: model.train(),
    "float64": lambda model, task, path: model.double()(torch.zeros(1, 3, 8, 8)),
    "grad cleared": lambda model, task, path: model.zero_grad(),
    "fit that raises": lambda model, task, path: fails_midway(model, task),
    "fit that diverges": lambda model, task, path: diverges(model, task),
    "bad images": lambda model, task, path: bad_images(model, task),
}


@pytest.mark.parametrize("verb", VERBS)
def test_module_is_left_exactly_as_it_came(net, tmp_path, verb):
    task = random_task()
    before = snapshot(net)
    model = reprogram.Reprogrammed.build(reprogram.Host.wrap(net, size=16), task)
    VERBS[verb](model, task, tmp_path)
    assert_same(before, snapshot(net))
    assert len(model.learned_parameters()) == 1


def test_module_is_left_as_it_came_when_wrap_fails(net):
    before = snapshot(net)
    with pytest.raises(reprogram.ConfigError, match="blank"):
        reprogram.Host.wrap(net, channels=5, size=16)
    assert_same(before, snapshot(net))


@pytest.mark.parametrize("attribute", ["lambda", "method"])
def test_callable_of_a_module_leaves_the_module_as_it_came(net, attribute):
    net.eval().requires_grad_(False)
    function = (lambda x: net(x)) if attribute == "lambda" else net.forward
    before = snapshot(net)
    task = random_task()
    model = reprogram.Reprogrammed.build(reprogram.Host.wrap(function, size=16), task)
    reprogram.fit(model, task, epochs=1, batch_size=8)
    reprogram.evaluate(model, task)
    assert_same(before, snapshot(net))


def test_a_callables_own_parameters_get_no_grad():
    net = seeded(lambda: ConvNet(num_classes=6)).eval()
    task = random_task()
    model = reprogram.Reprogrammed.build(reprogram.Host.wrap(lambda x: net(x), size=16), task)
    reprogram.fit(model, task, epochs=1, batch_size=8)
    assert all(p.grad is None for p in net.parameters())


def test_host_runs_in_evaluation_mode_whatever_the_module_was_in(net):
    """Dropout is off and BatchNorm uses its running statistics."""
    model = reprogram.Host.wrap(net, size=16)
    images = torch.rand(5, 3, 16, 16)
    reference = seeded(lambda: ConvNet(num_classes=6))
    reference.load_state_dict(net.state_dict())
    with torch.no_grad():
        expected = reference.eval()(images)
        assert torch.allclose(model(images), expected, atol=1e-5)
        model.train()
        assert torch.allclose(model(images), expected, atol=1e-5)


def test_tied_weights_stay_tied_and_untouched():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(48, 48), nn.Linear(48, 48)
            self.b.weight = self.a.weight

        def forward(self, x):
            return self.b(self.a(x.flatten(1)))

    net = seeded(Tied)
    before = snapshot(net)
    host = reprogram.Host.wrap(net, size=4)
    images = torch.rand(2, 3, 4, 4)
    with torch.no_grad():
        assert torch.allclose(host(images), net(images), atol=1e-6)
    assert host.net.a.weight is host.net.b.weight
    assert_same(before, snapshot(net))


def test_host_follows_later_changes_of_the_modules_weights(net):
    """The host shares the module's parameters, so a prepared form of them must not go stale."""
    net.eval()
    host = reprogram.Host.wrap(net, size=16)
    images = torch.rand(2, 3, 16, 16)
    with torch.no_grad():
        host(images)
        net.body[0].weight.mul_(2.0)
        net.body[4].bias.add_(0.5)
        net.head.weight.neg_()
        assert torch.allclose(host(images), net(images), atol=1e-5)


@pytest.mark.parametrize("program", ["frame", "full", "patch(height=4, width=4)"])
@pytest.mark.parametrize("label_map", ["first", "random", "many-to-one(labels_per_class=2)"])
def test_only_program_and_label_map_require_grad(program, label_map):
    task = random_task()
    model = tiny_model(task, program=program, label_map=label_map)

    def check():
        learned = {id(p) for p in model.learned_parameters()}
        assert learned
        assert {id(p) for p in model.parameters() if p.requires_grad} == learned
        assert not any(p.requires_grad for p in model.host.parameters())
        assert not any(b.requires_grad for b in model.buffers())

    check()
    reprogram.fit(model, task, epochs=1, batch_size=8)
    check()
    assert all(p.grad is None for p in model.parameters())


def test_fit_and_evaluate_leave_the_process_as_it_was():
    """Random states, threads, grad mode and deterministic flags are the caller's."""
    task, model = random_task(), tiny_model()
    torch.manual_seed(5)
    before = torch.get_rng_state(), torch.get_num_threads(), torch.is_grad_enabled()
    reprogram.fit(model, task, epochs=1, batch_size=8)
    reprogram.evaluate(model, task)
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1:] == (torch.get_num_threads(), torch.is_grad_enabled())


class Counter:
    """A linear callable that counts what it is asked."""

    def __init__(self):
        self.calls, self.images = 0, 0
        self.weight = torch.randn(3 * 16 * 16, 6, generator=torch.Generator().manual_seed(0)) / 30

    def __call__(self, x):
        self.calls += 1
        self.images += len(x)
        return x.flatten(1) @ self.weight

    def both(self):
        return self.calls, self.images


def test_meter_counts_every_call_and_image_exactly(tmp_path):
    counter, task = Counter(), random_task(n=(41, 12, 16))
    host = reprogram.Host.wrap(counter, size=16)
    model = reprogram.Reprogrammed.build(host, task)

    def meter():
        return host.meter.calls, host.meter.images

    base = counter.calls - host.meter.calls, counter.images - host.meter.images

    def seen():
        return counter.calls - base[0], counter.images - base[1]

    fitted = reprogram.fit(model, task, epochs=2, batch_size=8, validations=3)
    assert meter() == seen()
    assert fitted.images_seen == 2 * 41
    assert host.meter.images >= 2 * 41 + 3 * 12
    for verb in (
        lambda: reprogram.evaluate(model, task, batch_size=5),
        lambda: predict(model, task.test, batch_size=3),
        lambda: label_map_alone(model, task),
        lambda: linear_probe(host, task),
        lambda: model(task.test.images),
        lambda: reprogram.load(model.save(tmp_path / "p"), host=host)(task.test.images),
        lambda: fails_midway(model, task),
    ):
        before = meter()
        verb()
        assert meter() == seen()
        assert host.meter.images > before[1]


def test_the_trial_call_of_wrap_is_metered_too():
    """A query count can't be under-reported: the blank image that `wrap` sends is a query."""
    counter = Counter()
    host = reprogram.Host.wrap(counter, size=16)
    assert (host.meter.calls, host.meter.images) == counter.both()


def test_meter_counts_calls_that_fail():
    counter = Counter()
    host = reprogram.Host.wrap(counter, size=16)
    before = host.meter.calls
    counter.weight = counter.weight[:5]
    with pytest.raises(reprogram.ConfigError, match="its function failed: RuntimeError"):
        host(torch.rand(2, 3, 16, 16))
    assert host.meter.calls == before + 1


def test_meter_counts_on_the_probe_of_a_module():
    net = seeded(lambda: ConvNet(num_classes=6))
    seen = []
    net.register_forward_hook(lambda module, inputs, output: seen.append(len(inputs[0])))
    host = reprogram.Host.wrap(net, size=16)
    seen.clear()
    before = host.meter.calls, host.meter.images
    linear_probe(host, random_task())
    assert (host.meter.calls - before[0], host.meter.images - before[1]) == (len(seen), sum(seen))
