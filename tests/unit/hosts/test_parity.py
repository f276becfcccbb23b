"""The engine against the host's own module: what is wrong is caught by library, fit and doctor."""

import json
from contextlib import nullcontext

import pytest
import torch
from torch import nn

import reprogram
from helpers import ConvNet, assert_same, random_task, randomize_batchnorm, seeded, snapshot, tiny_model
from helpers_runs import cli
from reprogram import Box, ExportParityError, Framed, Host, load_host
from reprogram.engine.rules.tables import MODULES
from reprogram.hosts._parity import EXACT, verify

RESNET = "timm:test_resnet?pretrained=0&size=64&num_classes=12"
RESNET18 = "timm:resnet18?pretrained=0&size=64"


def refused(code, *arguments):
    """The one line of a call that ends with this code."""
    got, out, err = cli(*arguments)
    assert (got, out) == (code, "") and err.startswith("reprogram: ") and err.count("\n") == 1, err
    return err


def framed(host, window=9, batch=2, gradients=(True, True)):
    """Random pixels."""
    channels, height, width = host.info.shape
    generator = torch.Generator().manual_seed(0)
    frame = torch.rand(1, channels, height, width, generator=generator)
    inside = torch.rand(batch, channels, window, window, generator=generator)
    box = Box(top=(height - window) // 2, left=3, height=window, width=window)
    return Framed(
        frame=frame.requires_grad_(gradients[0]),
        window=inside.requires_grad_(gradients[1]),
        box=box,
    )


class Pooled(nn.Module):
    """A convolution, max pooling, a convolution and a mean."""

    def __init__(self, layer=nn.Identity):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), layer(), nn.Conv2d(6, 5, 3, padding=1)
        )

    def forward(self, images):
        return self.body(images).mean((2, 3))


class Noise(nn.Module):
    """Draws random numbers through an ordinary layer, which a trace doesn't notice."""

    def __init__(self):
        super().__init__()
        self.register_buffer("scale", torch.tensor(0.3))

    def forward(self, values):
        return values + self.scale * torch.randn_like(values)


def pooled_model(layer=nn.Identity, program="frame"):
    with pytest.warns(UserWarning, match="chance") if layer is Noise else nullcontext():
        host = Host.wrap(seeded(lambda: Pooled(layer)), size=24, name="pooled")
    return reprogram.Reprogrammed.build(host, random_task(), program=program)


def break_rule(monkeypatch):
    """Have a rule forget what max pooling does to the window."""
    rule = MODULES[nn.MaxPool2d]

    def wrong(layer, value):
        result = rule(layer, value)
        return Framed(frame=result.frame, window=result.window * 1.1, box=result.box)

    monkeypatch.setitem(MODULES, nn.MaxPool2d, wrong)


@pytest.mark.parametrize("gradients", [(True, True), (True, False), (False, False)])
def test_a_right_engine_is_exact(gradients):
    net = randomize_batchnorm(seeded(ConvNet))
    for host in (load_host(RESNET18 if all(gradients) else RESNET), Host.wrap(net, size=32), load_host("linear:16")):
        parity = verify(host, framed(host, gradients=gradients))
        assert parity.scores < EXACT and parity.gradient < EXACT


def test_verify_leaves_the_host_as_it_was():
    host = load_host(RESNET)
    prepared = host.prepared
    before, random = snapshot(host), torch.get_rng_state()
    verify(host, framed(host))
    assert_same(before, snapshot(host))
    assert host.prepared is prepared and host.meter.calls == host.meter.images == 0
    assert torch.equal(random, torch.get_rng_state())


def test_a_callable_is_verified_in_its_own_precision():
    net = seeded(ConvNet).eval()
    host = Host.wrap(lambda images: net(images), size=32)
    assert verify(host, framed(host)).scores < 1e-6


def test_a_module_that_is_bound_to_float32_is_refused(one_line):
    class Bound(nn.Module):
        def __init__(self):
            super().__init__()
            self.convolution = nn.Conv2d(3, 4, 3)

        def forward(self, images):
            return self.convolution(images.float()).mean((2, 3))

    host = Host.wrap(Bound(), size=16, name="bound")
    with pytest.raises(reprogram.ConfigError) as error:
        verify(host, framed(host))
    one_line(error, "bound", "float64")


def test_a_host_that_depends_on_chance_can_not_be_verified(one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        verify(pooled_model(Noise).host, framed(pooled_model().host))
    one_line(error, "pooled", "chance")


def test_verify_catches_a_broken_rule(monkeypatch):
    host = pooled_model().host
    break_rule(monkeypatch)
    parity = verify(host, framed(host))
    assert parity.scores > 1e-3 and parity.gradient > 1e-3


@pytest.mark.parametrize("loss", ["task", "host"])
def test_fit_refuses_a_broken_rule(monkeypatch, one_line, loss, tmp_path):
    model = pooled_model()
    model.host._prepared.clear()
    break_rule(monkeypatch)
    with pytest.raises(ExportParityError) as error:
        reprogram.fit(model, random_task(), epochs=1, loss=loss, checkpoint=tmp_path / "c.safetensors")
    one_line(error, "pooled", "scores", "gradient", 'engine="dense"', "--engine dense")
    assert error.value.exit_code == 6
    assert not list(tmp_path.iterdir())
    model.host.engine = "dense"
    assert reprogram.fit(model, random_task(), epochs=1).images_seen == 40


def test_a_gradient_alone_that_is_wrong_is_caught(monkeypatch):
    model = pooled_model()
    model.host._prepared.clear()
    rule = MODULES[nn.MaxPool2d]

    def wrong(layer, value):
        result = rule(layer, value)
        frame = result.frame.detach() + 3 * (result.frame - result.frame.detach())
        return Framed(frame=frame, window=result.window, box=result.box)

    monkeypatch.setitem(MODULES, nn.MaxPool2d, wrong)
    with pytest.raises(ExportParityError):
        reprogram.fit(model, random_task(), epochs=1)


def test_a_host_that_the_engine_gets_wrong_runs_as_it_is(monkeypatch):
    break_rule(monkeypatch)
    net = seeded(Pooled).eval()
    with pytest.warns(UserWarning, match="engine differs"):
        host = Host.wrap(net, size=24)
    batch = framed(host, gradients=(False, False))
    with torch.no_grad():
        assert torch.equal(host(batch), net(batch.dense()))
    reprogram.fit(reprogram.Reprogrammed.build(host, random_task()), random_task(), epochs=1)


@pytest.mark.parametrize("program", ["frame", "frame(init=0)", "full(init=0)", "patch(height=4, width=4)"])
def test_right_hosts_are_fitted_and_only_learning_is_counted(program, monkeypatch):
    def fitted():
        torch.manual_seed(3)
        model = pooled_model(program=program)
        reprogram.fit(model, random_task(), epochs=1)
        return model, torch.rand(1)

    checked = fitted()
    monkeypatch.setattr("reprogram.hosts._parity.check", lambda *a: None)
    plain = fitted()
    assert checked[0].host.meter == plain[0].host.meter
    assert torch.equal(checked[1], plain[1])
    for name, value in plain[0].learned_state().items():
        assert torch.equal(checked[0].learned_state()[name], value)


def test_scores_that_depend_on_chance_or_the_batch_are_not_refused():
    reprogram.fit(pooled_model(Noise), random_task(), epochs=1)
    with pytest.warns(UserWarning, match="images beside it"):
        model = pooled_model(lambda: nn.BatchNorm2d(6, track_running_stats=False))
    reprogram.fit(model, random_task(), epochs=1)


def test_half_precision_is_not_refused():
    model = pooled_model()
    model.host.to(torch.bfloat16)
    reprogram.fit(model, random_task(), epochs=0.2)


def test_the_check_runs_once_and_only_where_something_is_shared(monkeypatch, tmp_path):
    calls = []
    monkeypatch.setattr("reprogram.hosts._parity.check", lambda *a: calls.append(a))

    def interrupt(report):
        raise KeyboardInterrupt

    options = {"epochs": 1, "validations": 8, "batch_size": 5, "checkpoint": tmp_path / "c.safetensors"}
    with pytest.raises(KeyboardInterrupt):
        reprogram.fit(tiny_model(), random_task(), on_progress=interrupt, **options)
    assert len(calls) == 1
    reprogram.fit(tiny_model(), random_task(), **options)
    assert len(calls) == 1
    model = tiny_model()
    model.host.engine = "dense"
    reprogram.fit(model, random_task(), epochs=1)
    reprogram.fit(reprogram.Reprogrammed.build("linear:16", random_task()), random_task(), epochs=1)
    assert len(calls) == 1


def test_doctor_verifies():
    code, out, err = cli("doctor", "--host", RESNET, "--verify", "--window", "12x9", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)["verify"]
    assert found["window"] == [12, 9] and found["batch"] == 2
    assert 0 <= found["scores"] < EXACT and 0 <= found["gradient"] < EXACT
    code, out, _ = cli("doctor", "--host", RESNET, "--verify")
    assert code == 0 and "28x28" in out and "scores" in out and "gradient" in out


def test_doctor_catches_a_broken_rule(monkeypatch):
    break_rule(monkeypatch)
    monkeypatch.setattr("reprogram.hosts._factory.try_out", lambda host: None)
    for flags in ((), ("--json",)):
        assert "--engine dense" in refused(6, "doctor", "--host", RESNET, "--verify", "--window", 16, *flags)


def test_doctor_shows_what_is_shared():
    code, out, err = cli("doctor", "--host", RESNET, "--engine", "--window", "8", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)["engine"]
    assert found["traced"] and found["batch"] == 16 and found["became_dense"]
    assert found["stages"][0]["size"] == [32, 32] and found["stages"][0]["window"]
    assert found["dense_macs"] == sum(stage["dense_macs"] for stage in found["stages"])
    assert found["dense_macs"] > found["shared_macs"]
    code, out, _ = cli("doctor", "--host", RESNET, "--engine", "--window", "8", "--batch", "4")
    assert code == 0 and "total" in out and "became dense at" in out and "32x32" in out


def test_doctor_says_where_nothing_is_shared():
    code, out, _ = cli("doctor", "--host", "linear:16", "--engine", "--verify")
    assert code == 0 and "couldn't be traced" in out and "16x16" in out
    assert json.loads(cli("doctor", "--host", "linear:16", "--engine", "--json")[1])["engine"]["traced"] is False


@pytest.mark.parametrize(
    "arguments,texts",
    [
        (["--verify"], ["--host"]),
        (["--engine"], ["--host"]),
        (["--host", "linear:16", "--verify", "--window", "17"], ["17x17", "16x16"]),
        (["--host", "linear:16", "--verify", "--window", "5x"], ["5x", "HxW"]),
        (["--host", "linear:16", "--verify", "--window", "0"], ["HxW"]),
        (["--host", "linear:16", "--engine", "--batch", "0"], ["--batch"]),
        (["--host", "linera:16", "--engine"], ["linear"]),
    ],
)
def test_doctor_refuses(arguments, texts):
    line = refused(3, "doctor", *arguments)
    assert all(text in line for text in texts)


def test_doctor_does_not_read_the_engine_of_other_verbs(monkeypatch):
    monkeypatch.setenv("REPROGRAM_ENGINE", "dense")
    code, out, err = cli("doctor", "--json")
    assert (code, err) == (0, "") and "versions" in json.loads(out)
    assert cli("doctor", "--host", "linear:16", "--engine")[0] == 0


def test_evaluate_and_predict_take_an_engine(tmp_path, monkeypatch):
    seen = []
    forward = Host.forward
    monkeypatch.setattr(Host, "forward", lambda self, *a, **k: (seen.append(self.engine), forward(self, *a, **k))[1])
    task = "squares(train=160, validation=40, test=20)"
    model = reprogram.Reprogrammed.build("timm:test_resnet(pretrained=False, num_classes=16, size=48)", task)
    path = model.save(tmp_path / "program.safetensors")
    from PIL import Image

    Image.new("L", (28, 28)).save(tmp_path / "a.png")
    results = {}
    for engine in ("shared", "dense"):
        seen.clear()
        arguments = ["--engine", engine, "--json", "--quiet"]
        code, out, err = cli("evaluate", path, "--task", task, *arguments)
        assert code == 0 and all(line.startswith("reprogram: warning: ") for line in err.splitlines())
        code, answers, err = cli("predict", path, tmp_path / "a.png", *arguments)
        assert (code, err) == (0, "") and set(seen) == {engine}
        results[engine] = json.loads(out)["accuracy"], json.loads(answers)[0]["label"]
    assert results["shared"] == results["dense"]
    seen.clear()
    assert cli("evaluate", path, "--task", task, "--quiet")[0] == 0 and set(seen) == {"shared"}
    assert cli("predict", path, tmp_path / "a.png", "--engine", "sparse")[0] == 2
