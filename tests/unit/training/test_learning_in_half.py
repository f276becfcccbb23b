"""Learning with a host in half precision."""

import json

import pytest
import torch
from safetensors import safe_open
from torch import nn
from torch.overrides import TorchFunctionMode

import reprogram
from helpers import ConvNet, seeded
from reprogram.engine.linear import EngineLinear
from reprogram.evaluation.precision import set_precision
from reprogram.hosts.averaged import AveragedHost
from reprogram.learners.adam import Adam
from reprogram.learners.base import Progress
from reprogram.training.losses import loss_of

READS = {"item", "tolist", "cpu", "numpy", "nonzero", "__bool__", "__float__", "__int__", "equal", "to"}
"""Functions that wait for a GPU, or copy from or to it."""


def model_of(squares, **options):
    net = seeded(lambda: ConvNet(num_classes=32, width=16))
    host = reprogram.Host.wrap(net, size=48, mean=(0.5,) * 3, std=(0.05,) * 3, name="half")
    return reprogram.Reprogrammed.build(host, squares, seed=1, **options)


class Between(ConvNet):
    """A network with another operation before its pooling."""

    def __init__(self, operation):
        super().__init__(num_classes=32, width=16)
        self.body[5] = nn.Sequential(self.body[5], operation)


class Operation(nn.Module):
    def __init__(self, function, turn=None):
        super().__init__()
        self.function = function
        if turn is not None:
            self.register_buffer("turn", turn)

    def forward(self, maps):
        return self.function(self, maps)


def asserting(_, maps):
    assert maps.dtype == torch.float32, "float32 expected"
    return maps


def in_numpy(_, maps):
    return maps + 0 * float(maps.detach().numpy().ravel()[0])


TURN = torch.polar(torch.ones(1), torch.tensor([1.0]))
UNFIT = {
    "complex numbers": lambda: Operation(lambda self, maps: (maps * self.turn * self.turn).real, TURN),
    "float32 expected": lambda: Operation(asserting),
    "BFloat16": lambda: Operation(in_numpy),
    "differ from float32's by": lambda: Operation(lambda self, maps: torch.sin(maps * 3e3)),
}


@pytest.mark.parametrize("reason", UNFIT)
def test_auto_is_float32_where_a_host_is_not_made_for_half_precision(reason, squares, monkeypatch, one_line):
    monkeypatch.setattr("reprogram.hosts._prepared.fast_dtypes", lambda device: (torch.bfloat16,))
    options = {"images": 32, "validations": 1, "validation_images": 10}
    for times in (1, 2):
        host = reprogram.Host.wrap(seeded(lambda: Between(UNFIT[reason]())), size=48)
        host = AveragedHost(host, times, host.info) if times > 1 else host
        model = reprogram.Reprogrammed.build(host, squares, seed=1)
        assert reprogram.fit(model, squares, **options, precision="auto").precision == "float32"
        with pytest.raises(reprogram.ConfigError) as error:
            reprogram.fit(model, squares, **options, precision="bfloat16")
        one_line(error, "can't compute in bfloat16", reason, "use float32")
        counts = host.meter.images
        with pytest.raises(reprogram.ConfigError) as error:
            set_precision(model, "bfloat16")
        one_line(error, "can't compute in bfloat16", reason, "use float32")
        set_precision(model, "auto")
        assert host.precision == "float32" and host.meter.images == counts


@pytest.mark.parametrize("precision", ["bfloat16", "float16", "float32"])
def test_a_host_that_is_made_for_a_precision_answers_in_it(precision, squares):
    model = model_of(squares)
    images = model.host.meter.images
    set_precision(model, precision)
    assert model.host.precision == precision and model.host.meter.images == images


def test_what_overflows_in_float16_is_said(squares, one_line):
    host = reprogram.Host.wrap(seeded(lambda: Between(Operation(lambda self, maps: maps * 1e6))), size=48)
    model = reprogram.Reprogrammed.build(host, squares, seed=1)
    with pytest.raises(reprogram.ConfigError) as error:
        reprogram.fit(model, squares, images=32, validations=1, precision="float16")
    one_line(error, "can't compute in float16", "overflows")


def test_an_engine_that_keeps_a_layer_in_float32_is_better_than_the_module(squares):
    """The module itself has no such layer in bfloat16, so that there is nothing to compare the engine with."""
    norm = nn.Sequential(nn.LocalResponseNorm(3), Operation(lambda self, maps: torch.sin(maps * 100)))
    host = reprogram.Host.wrap(seeded(lambda: Between(norm)), size=48)
    model = reprogram.Reprogrammed.build(host, squares, seed=1)
    assert reprogram.fit(model, squares, images=32, validations=1, precision="bfloat16").precision == "bfloat16"


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_a_program_is_learned_and_its_file_is_float32(precision, squares, tmp_path):
    model = model_of(squares)
    weights = [p.clone() for p in model.host.net.parameters()]
    before = reprogram.evaluate(model, squares.train).loss
    result = reprogram.fit(model, squares, epochs=5, validations=1, precision=precision, loss="task")
    assert reprogram.evaluate(model, squares.train).loss < before
    assert result.history[-1]["loss"] < before
    assert model.host.precision == "float32"
    assert all(torch.equal(a, b) for a, b in zip(model.host.net.parameters(), weights, strict=True))
    with safe_open(model.save(tmp_path / "p.safetensors"), "pt") as file:
        assert all(file.get_tensor(key).dtype in (torch.float32, torch.int64) for key in file.keys())  # noqa: SIM118


def test_half_precision_learns_what_float32_learns(squares):
    programs = {}
    for precision in ("float32", "bfloat16"):
        model = model_of(squares)
        reprogram.fit(model, squares, images=320, validations=1, precision=precision)
        programs[precision] = model.learned_parameters()[0].detach().flatten()
    start = model_of(squares).learned_parameters()[0].detach().flatten()
    moved = [programs[p] - start for p in programs]
    assert torch.cosine_similarity(*moved, dim=0) > 0.8


def test_a_checkpoint_isnt_resumed_in_another_precision(squares, tmp_path, one_line):
    class StoppedError(Exception):
        pass

    def stop(progress):
        raise StoppedError

    path = tmp_path / "c.safetensors"
    with pytest.raises(StoppedError):
        reprogram.fit(model_of(squares), squares, images=160, checkpoint=path, checkpoint_every=1, on_progress=stop)
    with pytest.raises(reprogram.ConfigError) as error:
        reprogram.fit(model_of(squares), squares, images=160, checkpoint=path, precision="bfloat16")
    one_line(error, "precision")


def test_a_wrong_precision_is_refused(squares, one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        reprogram.fit(model_of(squares), squares, precision="float8")
    one_line(error, "precision", "float8")


def test_auto_goes_on_as_it_began_on_another_kind_of_machine(squares, tmp_path, monkeypatch):
    class StoppedError(Exception):
        pass

    def stop(progress):
        if progress.images >= 64:
            raise StoppedError

    options = {"images": 160, "precision": "auto", "checkpoint": tmp_path / "c.safetensors", "checkpoint_every": 1}
    monkeypatch.setattr("reprogram.hosts._prepared.fast_dtypes", lambda device: (torch.bfloat16,))
    with pytest.raises(StoppedError):
        reprogram.fit(model_of(squares), squares, on_progress=stop, **options)
    monkeypatch.setattr("reprogram.hosts._prepared.fast_dtypes", lambda device: ())
    assert reprogram.fit(model_of(squares), squares, **options).precision == "bfloat16"


class WithoutHalf(torch.nn.Module):
    """An operation that isn't there in half precision."""

    def forward(self, pixels):
        if pixels.dtype != torch.float32:
            raise RuntimeError('"whirl" not implemented for this type\nmore')
        return pixels


def test_auto_takes_float32_where_a_host_has_no_half_precision(squares, monkeypatch, one_line):
    monkeypatch.setattr("reprogram.hosts._prepared.fast_dtypes", lambda device: (torch.bfloat16,))
    net = torch.nn.Sequential(WithoutHalf(), seeded(lambda: ConvNet(32)))
    host = reprogram.Host.wrap(net, size=48, name="whirling")
    model = reprogram.Reprogrammed.build(host, squares)
    result = reprogram.fit(model, squares, images=32, validations=1, precision="auto")
    assert result.precision == "float32" and host.precision == "float32"
    with pytest.raises(reprogram.ConfigError) as error:
        reprogram.fit(model, squares, images=32, precision="bfloat16")
    one_line(error, "whirling", "bfloat16", "whirl", "use float32")
    assert reprogram.fit(model_of(squares), squares, images=32, validations=1, precision="auto").precision == "bfloat16"


def test_a_wrong_engine_is_refused_in_half_precision(squares, monkeypatch, one_line):
    model = model_of(squares)
    with model.host.in_precision("bfloat16"):
        (module,) = [m for m in model.host.prepared.module.modules() if isinstance(m, EngineLinear)]
    with torch.no_grad():
        module.weight.mul_(1.3)
    with pytest.raises(reprogram.ExportParityError) as error:
        reprogram.fit(model, squares, images=32, precision="bfloat16")
    one_line(error, "engine")


class Reads(TorchFunctionMode):
    """Counts the calls that would wait for a GPU or copy between it and the host's memory."""

    def __init__(self, on_the_cpu):
        super().__init__()
        self.calls, self.on_the_cpu = [], on_the_cpu

    def __torch_function__(self, function, types, args=(), kwargs=None):
        name = getattr(function, "__name__", "")
        moves = [a for a in (*args[1:], *(kwargs or {}).values()) if isinstance(a, str | torch.device)]
        stays = any(args[0] is tensor for tensor in self.on_the_cpu)
        if name in READS and (name != "to" or moves) and not stays:
            self.calls.append(name)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("loss", ["host", "task"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_step_reads_from_the_device_once(loss, precision, squares):
    model = model_of(squares)
    model.host.precision = precision
    learner = Adam(Adam.Config(penalty=0.001, ema=0.9))
    learner.start(model.learned_parameters())
    images, labels = squares.train.images[:16], squares.train.labels[:16]

    def step():
        return learner.step(lambda: loss_of(model, images, labels, loss), Progress(fraction=0.0, epoch=0))

    step()
    with Reads(learner.slot("step")) as reads:  # Adam counts its steps on the CPU.
        step()
    waits = [name for name in reads.calls if name != "tolist"]
    # On a GPU the labels that a loss reads are kept as numbers; on a CPU reading them costs nothing.
    assert waits == [] and reads.calls.count("tolist") == (1 if loss == "host" else 2)


def test_a_run_records_its_precision_and_measures_in_float32(tmp_path, monkeypatch):
    from reprogram.cli import main

    monkeypatch.chdir(tmp_path)
    task = "squares(train=160, validation=40, test=60)"
    host = "timm:test_resnet(pretrained=False, num_classes=32, size=48)"
    command = [
        "fit",
        "--host",
        host,
        "--task",
        task,
        "--images",
        "160",
        "--out",
        "run",
        "--quiet",
        "--canvas",
        "centre",
    ]
    assert main([*command, "--precision", "bfloat16", "--baselines", "none", "--label-map", "first"]) == 0
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["precision"] == "bfloat16"
    model = reprogram.load(tmp_path / "run" / "program.safetensors", host=host)
    assert reprogram.evaluate(model, reprogram.load_task(task)).accuracy == result["test"]["accuracy"]
