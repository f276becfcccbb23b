"""What is cached between calls is computed anew when something that it was made of changes."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from reprogram import Host, Reprogrammed, Split, Task
from reprogram.utils.tensor_cache import ModuleVersion, TensorCache


def small_model() -> Reprogrammed:
    """A host of two layers, and a program drawn around 8 × 8 images."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 6, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    images = torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8)
    split = Split(images=images, labels=torch.arange(4) % 2)
    task = Task(name="noise", train=split, validation=split, test=split, class_names=("a", "b"))
    return Reprogrammed.build(Host.wrap(net, size=24), task)


IMAGES = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def write(tensor: Tensor) -> None:
    """Change a tensor where it is."""
    tensor.add_(0.125)


def other_weight(model: Reprogrammed) -> None:
    """Put another parameter in the program's."""
    model.program.weight = nn.Parameter(model.program.weight.detach() + 0.25)


def other_layer(model: Reprogrammed) -> None:
    """Put another layer in the host's."""
    model.host.net[2] = nn.Conv2d(4, 6, 1).requires_grad_(False)


def other_state(model: Reprogrammed) -> None:
    """Load another program."""
    model.program.load_state_dict({"weight": model.program.weight.detach() * 0.5})


CHANGES: dict[str, Callable[[Reprogrammed], object]] = {
    "program, written": lambda model: write(model.program.weight),
    "program, behind its counter": lambda model: model.program.weight.data.add_(0.5),
    "program, other memory": lambda model: setattr(model.program.weight, "data", model.program.weight.data + 1),
    "program, replaced": other_weight,
    "program, loaded": other_state,
    "mask": lambda model: write(model.program.mask),
    "canvas": lambda model: write(model.canvas.frame),
    "canvas, replaced": lambda model: setattr(model.canvas, "frame", model.canvas.frame + 0.25),
    "host, written": lambda model: write(model.host.net[0].weight),
    "host, replaced": other_layer,
    "normalisation": lambda model: write(model.host.mean),
    "precision": lambda model: model.double(),
}


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_a_change_is_noticed(name: str, mode: Callable[[], torch.no_grad]) -> None:
    model = small_model()
    with mode():
        before = model(IMAGES)
        assert torch.equal(before, model(IMAGES))
    CHANGES[name](model)
    with mode():
        scores = model(IMAGES)
        expected = copy.deepcopy(model)(IMAGES)  # A copy has cached nothing.
    assert torch.equal(scores, expected)
    assert not torch.equal(scores.double(), before.double())


def test_an_unchanged_program_is_drawn_once() -> None:
    model, drawn = small_model(), []
    run = model.program.run
    model.program.run = lambda framed: (drawn.append(1), run(framed))[1]
    with torch.no_grad():
        for _ in range(3):
            model(IMAGES)
    assert len(drawn) == 1


def test_what_somebody_writes_into_a_drawn_frame_stays_with_them() -> None:
    model = small_model()
    with torch.no_grad():
        before = model(IMAGES)
        model.program(model.canvas(IMAGES)).frame.zero_()
        assert torch.equal(model(IMAGES), before)


def test_calls_between_steps_leave_the_gradient() -> None:
    model = small_model()

    def gradient() -> Tensor:
        return torch.autograd.grad(model(IMAGES).square().sum(), model.program.weight)[0]

    before = gradient()
    with torch.inference_mode():
        model(IMAGES)
    assert torch.equal(gradient(), before) and before.abs().sum() > 0


def test_a_tensor_cache_compares_parameters_number_for_number() -> None:
    cache, made = TensorCache(), []
    parameter, other = torch.ones(3), torch.ones(3)

    def make() -> Tensor:
        made.append(1)
        return parameter + other

    for _ in range(2):
        assert cache.get(make, other, parameters=[parameter]).tolist() == [2, 2, 2]
    assert len(made) == 1
    cache.get(make, other, parameters=[parameter.clone()])
    assert len(made) == 1
    cache.get(make, other.clone(), parameters=[parameter])
    assert len(made) == 2
    parameter.data[1] = 5
    assert cache.get(make, other, parameters=[parameter]).tolist() == [2, 6, 2]


def test_a_module_version_sees_every_part_of_a_module() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    assert ModuleVersion(net).fits(net) and not ModuleVersion(net).fits(copy.deepcopy(net))
    for change in (
        lambda: net.append(nn.ReLU()),
        lambda: write(net[1].running_mean),
        lambda: net[0].register_buffer("more", torch.ones(1)),
        lambda: setattr(net[0], "weight", nn.Parameter(net[0].weight.detach())),
        lambda: net.double(),
    ):
        version = ModuleVersion(net)
        change()
        assert not version.fits(net)
