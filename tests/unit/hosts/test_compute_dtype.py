"""Half precision: what a host computes in, and that pixels, scores and gradients stay in the type of its weights."""

import copy

import pytest
import torch
from torch.nn import functional as F

import reprogram
from helpers import ConvNet, random_task, seeded
from reprogram.engine.precision import fast_dtypes

HALF = {"bfloat16": torch.bfloat16, "float16": torch.float16}
halves = pytest.mark.parametrize("precision", HALF)


def host(num_classes=32):
    net = seeded(lambda: ConvNet(num_classes=num_classes, width=16))
    return reprogram.Host.wrap(net, size=48, mean=(0.5,) * 3, std=(0.25,) * 3, name="precise")


def relative(value, reference):
    return float((value.double() - reference.double()).norm() / reference.double().norm())


@halves
def test_scores_are_those_of_the_module_in_that_type(precision, squares):
    model = reprogram.Reprogrammed.build(host(), squares, seed=1)
    images = squares.train.images[:6]
    with torch.no_grad():
        pixels = model.program(model.canvas(images)).dense()
        exact = model.host.net((pixels - 0.5) / 0.25)
        own = copy.deepcopy(model.host.net).to(HALF[precision])(((pixels - 0.5) / 0.25).to(HALF[precision]))
        model.host.precision = precision
        scores = model.host_scores(images)
        again = model.host_scores(images)  # By the frame's cache.
    assert scores.dtype == torch.float32 and model.host.dtype == HALF[precision]
    assert 0 < relative(scores, exact) <= 2 * relative(own, exact)
    assert torch.equal(scores, again)


@halves
def test_the_programs_gradient_is_float32_and_near(precision, squares):
    model = reprogram.Reprogrammed.build(host(), squares, seed=1)
    images, labels = squares.train.images[:8], squares.train.labels[:8]

    def gradient():
        loss = F.cross_entropy(model(images), labels)
        assert loss.dtype == torch.float32
        return torch.autograd.grad(loss, model.learned_parameters())[0]

    wanted = gradient()
    model.host.precision = precision
    found = gradient()
    assert found.dtype == torch.float32
    assert F.cosine_similarity(found.flatten(), wanted.flatten(), dim=0) > 0.99


def test_small_gradients_pass_through_a_host_in_float16(squares):
    model = reprogram.Reprogrammed.build(host(), squares, seed=1)
    images = squares.train.images[:8]

    def gradient(scale):
        loss = model(images).square().mean() * scale
        return torch.autograd.grad(loss, model.learned_parameters())[0] / scale

    wanted = gradient(1.0)
    model.host.precision = "float16"
    # float16 rounds what is below 3e-8 to 0: without scaling half of these numbers would be.
    found = gradient(1e-3)
    assert F.cosine_similarity(found.flatten(), wanted.flatten(), dim=0) > 0.99
    assert relative(found, wanted) < 0.05


def test_auto_is_what_the_device_multiplies_in_hardware():
    automatic = host()
    automatic.precision = "auto"
    fast = fast_dtypes(torch.device("cpu"))
    assert automatic.dtype == (fast[0] if fast else torch.float32)
    automatic.double()
    assert automatic.dtype == torch.float64  # Such weights are there to be exact.


@pytest.mark.parametrize("precision", ["auto", "float32"])
def test_a_host_without_weights_computes_as_it_does(precision):
    bare = reprogram.Host.wrap(lambda pixels: pixels.flatten(1)[:, :5], size=8, name="bare")
    bare.precision = precision
    assert bare.dtype == torch.float32
    assert bare(torch.rand(2, 3, 8, 8)).dtype == torch.float32


def test_wrong_precisions_are_refused(one_line):
    bare = reprogram.Host.wrap(lambda pixels: pixels.flatten(1)[:, :5], size=8, name="bare")
    bare.precision = "bfloat16"
    with pytest.raises(reprogram.ConfigError) as error:
        bare(torch.rand(2, 3, 8, 8))
    one_line(error, "bare", "bfloat16", "float32")
    wrong = host()
    wrong.precision = "int8"
    with pytest.raises(reprogram.ConfigError) as error:
        wrong(torch.rand(2, 3, 48, 48))
    one_line(error, "int8", "bfloat16")


class Inverse(torch.nn.Module):
    """Has an operation without a kernel in half precision."""

    def __init__(self):
        super().__init__()
        self.head = torch.nn.Linear(4, 12)

    def forward(self, pixels):
        return self.head(torch.linalg.inv(pixels.mean(1) + 9 * torch.eye(2).to(pixels)).flatten(1))


@halves
def test_an_operation_that_is_not_there_is_one_line_in_every_verb(precision, one_line):
    task = random_task()
    model = reprogram.Reprogrammed.build(reprogram.Host.wrap(Inverse(), size=2, name="odd"), task, canvas="scaled")
    wanted = reprogram.evaluate(model, task.test).accuracy
    model.host.precision = precision
    for verb in (
        lambda: reprogram.evaluate(model, task.test),
        lambda: model(task.test.images),
        lambda: reprogram.fit(model, task, epochs=1, precision=precision),
        lambda: model.host.features(torch.rand(2, 3, 2, 2)),
    ):
        with pytest.raises(reprogram.ConfigError) as error:
            verb()
        one_line(error, "odd", precision, "use float32")
    model.host.precision = "auto"
    assert reprogram.evaluate(model, task.test).accuracy == wanted


def test_a_precision_holds_within_its_context_only():
    precise = host()
    with pytest.raises(ZeroDivisionError), precise.in_precision("bfloat16"):
        assert precise.dtype == torch.bfloat16
        raise ZeroDivisionError
    assert precise.precision == "float32"


def test_changed_weights_are_seen_in_every_precision(squares):
    precise = host()
    pixels = torch.rand(2, 3, 48, 48)
    with torch.no_grad():
        before = {p: (setattr(precise, "precision", p), precise(pixels))[1] for p in ("float32", "bfloat16")}
        for parameter in precise.net.parameters():
            parameter.mul_(1.5)
        for precision, scores in before.items():
            precise.precision = precision
            assert relative(precise(pixels), scores) > 0.1


def test_a_copy_keeps_its_precision():
    precise = host()
    precise.precision = "bfloat16"
    pixels = torch.rand(2, 3, 48, 48)
    with torch.no_grad():
        assert torch.equal(copy.deepcopy(precise)(pixels), precise(pixels))


@halves
def test_probabilities_have_logarithms_in_half_precision(precision):
    net = torch.nn.Sequential(seeded(lambda: ConvNet(num_classes=6)), torch.nn.Softmax(dim=1))
    with torch.no_grad():
        net[0].head.weight.mul_(300)  # Probabilities far below the smallest number of float16.
    unsure = reprogram.Host.wrap(net, size=16, outputs="probabilities")
    unsure.precision = precision
    assert torch.isfinite(unsure(torch.rand(4, 3, 16, 16))).all()


@halves
def test_features_are_float32(precision):
    precise = host()
    precise.precision = precision
    features, where = precise.features(torch.rand(2, 3, 48, 48))
    assert features.dtype == torch.float32 and where == "input of head"
