"""What only a GPU can show; `make gpu` runs these tests. `GPU_TESTS_ON=cpu` tries out the tests themselves."""

import json
import os
import subprocess
import sys
import warnings

import pytest
import torch

import reprogram
from contract.test_every_variant import host as small_host
from contract.test_every_variant import leaves_nothing_to_learn, spec_of
from reprogram.hosts import _parity
from reprogram.learners.adam import Adam
from reprogram.learners.base import Progress
from reprogram.registry import names
from reprogram.training.cuda_graph import EAGER_CALLS, GraphedLoss
from reprogram.training.losses import loss_of

DEVICE = os.environ.get("GPU_TESTS_ON", "cuda")
HOSTS = (
    "torchvision:resnet18",
    "torchvision:resnet50",
    "torchvision:squeezenet1_1",
    "torchvision:mobilenet_v2",
    "torchvision:densenet121",
    "torchvision:convnext_tiny",
    "torchvision:efficientnet_b0",
    "timm:tf_efficientnet_lite0",
    "timm:vit_small_patch16_224",
)
torch.backends.cudnn.allow_tf32 = False  # PyTorch's default keeps ten bits of a float32; here it is compared.
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("ignore:Attempting to run cuBLAS:UserWarning"),
    pytest.mark.skipif(DEVICE == "cuda" and not torch.cuda.is_available(), reason="needs a CUDA GPU"),
]

cuda_alone = pytest.mark.skipif(DEVICE != "cuda", reason="CUDA alone has graphs and waits")


def model_on(host, task, **options):
    return reprogram.Reprogrammed.build(host.to(DEVICE), task, seed=1, **options)


def gradient(model, images, labels, loss="host"):
    value = loss_of(model, images, labels, loss)
    return value.detach(), torch.autograd.grad(value, model.learned_parameters())[0]


def batch(task, n=8):
    return task.train.images[:n].to(DEVICE), task.train.labels[:n].to(DEVICE)


def relative(value, reference):
    return float((value.double().cpu() - reference.double().cpu()).norm() / reference.double().cpu().norm())


@pytest.mark.parametrize("name", HOSTS)
def test_scores_and_gradients_are_those_of_the_module_on_the_cpu_in_float64(name, squares):
    host = reprogram.load_host(f"{name}?pretrained=0")
    host.double()
    model = model_on(host, squares).double()
    images, labels = batch(squares, 3)
    loss, found = gradient(model, images, labels)
    with torch.no_grad():
        answers = [model.host_scores(images) for _ in range(2)]
    model.cpu()
    host.engine = "dense"
    reference = host.net((model.program(model.canvas(images.cpu())).dense() - host.mean.double()) / host.std.double())
    wanted_loss = torch.nn.functional.cross_entropy(reference, model.label_map.groups[labels.cpu(), 0])
    (wanted,) = torch.autograd.grad(wanted_loss, model.learned_parameters())
    assert relative(loss, wanted_loss.detach()) < 1e-10
    assert relative(found, wanted) < 1e-9
    assert all(relative(answer, reference.detach()) < 1e-10 for answer in answers)


@pytest.mark.parametrize("name", HOSTS)
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_is_as_near_as_the_module_itself(name, precision, squares):
    host = reprogram.load_host(f"{name}?pretrained=0")
    model = model_on(host, squares)
    images, labels = batch(squares)
    with torch.no_grad():
        exact = model.host_scores(images)
    own = reprogram.Host(host.net, host.info).to(DEVICE)
    own.net.to(getattr(torch, precision))
    with torch.no_grad(), torch.autocast("cpu", enabled=False):
        pixels = model.program(model.canvas(images)).dense()
        normal = ((pixels - host.mean) / host.std).to(getattr(torch, precision))
        limit = relative(own.net(normal), exact)
    host.precision = precision
    with torch.no_grad():
        assert relative(model.host_scores(images), exact) <= 3 * limit + 1e-3
    _parity.check(host, model.program(model.canvas(images[:2])), model.learned_parameters())
    loss, half = gradient(model, images, labels)
    assert loss.dtype == half.dtype == torch.float32 and torch.isfinite(half).all()


def test_auto_is_bfloat16_on_a_gpu_that_has_it():
    host = small_host().to(DEVICE)
    host.precision = "auto"
    if DEVICE == "cuda":
        fast = torch.cuda.get_device_capability() >= (8, 0)
        assert host.dtype == (torch.bfloat16 if fast else torch.float32)


@cuda_alone
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("loss", ["host", "task"])
def test_a_replayed_step_is_the_step_itself(precision, loss, squares):
    model = model_on(reprogram.load_host("torchvision:resnet18?pretrained=0"), squares)
    model.host.precision = precision
    graphed = GraphedLoss(model, loss)
    for step in range(EAGER_CALLS + 3):
        images, labels = squares.train.images[step::16].to(DEVICE), squares.train.labels[step::16].to(DEVICE)
        before = model.host.meter.images
        value = graphed.replayed(images, labels)
        (found,) = torch.autograd.grad(value, model.learned_parameters())
        assert model.host.meter.images - before == len(images)
        wanted_value, wanted = gradient(model, images, labels, loss)
        assert relative(value.detach(), wanted_value) < 1e-5
        assert relative(found, wanted) < (1e-3 if precision == "float32" else 0.05)
        with torch.no_grad():  # The recorded step reads the parameters where they lie.
            model.learned_parameters()[0].sub_(0.5 * found.sign())
    assert len(graphed._recordings) == 1


@cuda_alone
@pytest.mark.parametrize("recorded", [False, True])
def test_a_step_waits_for_the_gpu_once(recorded, squares):
    model = model_on(reprogram.load_host("torchvision:resnet18?pretrained=0"), squares)
    images, labels = batch(squares, 16)

    graphed = GraphedLoss(model, "task")
    loss = graphed.replayed if recorded else graphed
    learner = Adam(Adam.Config())
    learner.start(model.learned_parameters())
    for _ in range(EAGER_CALLS + 2):
        learner.step(lambda: loss(images, labels), Progress(fraction=0.0, epoch=0))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            learner.step(lambda: loss(images, labels), Progress(fraction=0.0, epoch=0))
        finally:
            torch.cuda.set_sync_debug_mode("default")
    waits = [str(w.message) for w in caught if "called a synchronizing" in str(w.message)]
    assert len(waits) == 1, waits


def fitted(squares, **options):
    model = model_on(reprogram.load_host("timm:test_resnet(pretrained=False, num_classes=32, size=96)"), squares)
    result = reprogram.fit(model, squares, images=800, batch_size=16, validations=2, **options)
    return model, result


def test_fit_with_graphs_learns_what_fit_without_them_learns(squares):
    first, with_graphs = fitted(squares)
    second, without = fitted(squares, cuda_graphs=False)
    assert with_graphs.images_seen == without.images_seen == 800
    weights = [m.learned_parameters()[0].detach() for m in (first, second)]
    assert relative(*weights) < 0.05
    assert abs(with_graphs.history[-1]["loss"] - without.history[-1]["loss"]) < 0.02


def test_the_same_run_twice_gives_the_same_bits(squares):
    (first, _), (second, _) = fitted(squares), fitted(squares)
    assert torch.equal(first.learned_parameters()[0], second.learned_parameters()[0])


def test_an_interrupted_run_ends_as_the_uninterrupted_one(squares, tmp_path):
    whole, _ = fitted(squares)

    class StoppedError(Exception):
        pass

    def stop(progress):
        if progress.images >= 400:
            raise StoppedError

    with pytest.raises(StoppedError):
        fitted(squares, checkpoint=tmp_path / "c.safetensors", checkpoint_every=5, on_progress=stop)
    resumed, _ = fitted(squares, checkpoint=tmp_path / "c.safetensors")
    assert torch.equal(whole.learned_parameters()[0], resumed.learned_parameters()[0])


@pytest.mark.parametrize("family", ["programs", "label-maps", "canvases", "learners", "augmentations"])
def test_every_variant_learns_on_the_gpu(family, squares, tmp_path):
    option = {"programs": "program", "label-maps": "label_map", "canvases": "canvas"}.get(family)
    for name in names(family):
        parts = {option: spec_of(family, name)} if option else {}
        more = {} if option else {family.removesuffix("s"): spec_of(family, name)}
        if leaves_nothing_to_learn(parts, squares):
            continue
        model = model_on(small_host(), squares, **parts)
        if not model.learned_parameters() or (family, name) == ("learners", "none"):  # The label map is fitted alone.
            parts = {"program": "none", **parts, "label_map": "frequency"}
            model, more = model_on(small_host(), squares, **parts), {"learner": "none"}
        loss = "task" if "label_map" in parts or option == "canvas" else "host"
        for precision in ("float32", "bfloat16"):
            result = reprogram.fit(
                model, squares, images=160, batch_size=16, validations=1, precision=precision, loss=loss, **more
            )
            assert result.images_seen == (0 if more.get("learner") == "none" else 160), name
        path = model.save(tmp_path / f"{family}-{name}.safetensors")
        images = squares.test.images[:9]
        with torch.no_grad():
            found = model(images.to(DEVICE)).cpu()
            again = reprogram.load(path, host=small_host())(images)
        torch.testing.assert_close(found, again, rtol=2e-2, atol=2e-2)


def test_a_run_from_the_command_line(tmp_path):
    def command(*words):
        done = subprocess.run(
            [sys.executable, "-m", "reprogram", *words, "--device", DEVICE, "--json"], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    options = ["--host", "timm:test_resnet(pretrained=False, num_classes=32, size=96)", "--precision", "auto"]
    task = "squares(train=160, validation=40, test=60)"
    result = command(
        *["fit", *options, "--task", task, "--images", "320", "--out", str(tmp_path / "run")],
        *["--baselines", "map-alone"],
    )
    assert result["device"].startswith(DEVICE)
    assert result["precision"] in ("bfloat16", "float32")
    program = str(tmp_path / "run" / "program.safetensors")
    found = command("evaluate", program, "--task", task)
    assert abs(found["accuracy"] - result["test"]["accuracy"]) < 0.02
