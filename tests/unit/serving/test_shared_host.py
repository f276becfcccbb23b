"""Several programs on one host: the scores of separate calls, for fewer host images."""

from weakref import WeakKeyDictionary

import pytest
import torch

import reprogram
from helpers import ConvNet, random_task, seeded, tiny_model
from reprogram import SharedHost


@pytest.fixture
def host():
    return reprogram.Host.wrap(seeded(lambda: ConvNet(num_classes=24)), size=32, name="shared")


KINDS = [
    ("frame", "centre", "first", (3, 8, 8), 4),
    ("full(init=1.0)", "resize", "random(seed=3)", (1, 6, 7), 3),
    ("concealed", "shuffled", "many-to-one(labels_per_class=2)", (3, 9, 9), 5),
    ("sized(pixels=50)", "centre(size=12)", "random(seed=4)", (1, 8, 8), 2),
    ("border(thickness=2, init=1.0)", "tile", "first", (3, 8, 8), 6),
]


@pytest.fixture
def models(host):
    built = []
    for seed, (program, canvas, label_map, shape, classes) in enumerate(KINDS):
        task = random_task(shape=shape, num_classes=classes, separable=False, seed=seed)
        built.append(
            reprogram.Reprogrammed.build(host, task, program=program, canvas=canvas, label_map=label_map, seed=seed)
        )
    return built


def batches_of(models, sizes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randint(0, 256, (n, *model.task.shape), dtype=torch.uint8, generator=generator)
        for n, model in zip(sizes, models, strict=True)
    ]


def separately(models, batches):
    """Each through the host as a whole, in float64: nothing is shared, fused or stored."""
    scores = []
    for model, images in zip(models, batches, strict=True):
        pixels = model.program(model.canvas(images)).dense().double()
        mean, std = model.host.mean.double(), model.host.std.double()
        net = seeded(lambda: ConvNet(num_classes=24)).double().eval()
        scores.append(model.label_map(net((pixels - mean) / std)))
    return scores


@pytest.mark.parametrize("engine", ["shared", "dense"])
def test_scores_are_those_of_separate_calls(models, host, engine):
    host.engine = engine
    together = SharedHost(models)
    for seed, sizes in enumerate([(3, 2, 4, 1, 2), (1, 1, 1, 1, 1), (5, 0, 2, 0, 3), (0, 0, 0, 0, 0)]):
        batches = batches_of(models, sizes, seed)
        with torch.no_grad():
            expected = separately(models, batches)
        got = together(batches)
        assert [tuple(s.shape) for s in got] == [(n, kind[4]) for n, kind in zip(sizes, KINDS, strict=True)]
        for a, b in zip(got, expected, strict=True):
            assert torch.isfinite(a).all() and not a.requires_grad
            torch.testing.assert_close(a.double(), b, rtol=1e-4, atol=1e-5)


def caches_of(shared_host):
    """The frame caches that it has filled, for each model."""
    lists = (value for value in vars(shared_host).values() if isinstance(value, list))
    (stores,) = (value for value in lists if isinstance(value[0], WeakKeyDictionary))
    return [list(store.values()) for store in stores]


def test_frames_are_stored_for_each_model(host):
    """What the engine recorded at the first call is there at the next; a program that changed is noticed."""
    models = [
        reprogram.Reprogrammed.build(host, random_task(separable=False), program="frame(init=1.0)", seed=s)
        for s in range(3)
    ]
    together, batches = SharedHost(models), batches_of(models, (2, 2, 2))
    together(batches)
    stored = caches_of(together)
    assert [[cache.complete for cache in caches] for caches in stored] == [[True]] * 3
    for _ in range(2):
        together(batches)
        assert caches_of(together) == stored
    with torch.no_grad():
        models[1].program.weight.add_(1.0)
        expected = separately(models, batches)[1]
    torch.testing.assert_close(together(batches)[1].double(), expected, rtol=1e-4, atol=1e-5)
    again = caches_of(together)
    assert again[0] == stored[0] and again[1] != stored[1] and again[2] == stored[2]


def test_images_without_a_frame_are_one_call(host):
    models = [
        reprogram.Reprogrammed.build(host, random_task(seed=s), program="full", canvas="resize", seed=s)
        for s in range(4)
    ]
    batches = batches_of(models, (2, 3, 0, 1))
    calls, images = host.meter.calls, host.meter.images
    SharedHost(models)(batches)
    assert (host.meter.calls - calls, host.meter.images - images) == (1, 6)


def test_what_does_not_belong_together_is_refused(models, one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        SharedHost([])
    one_line(error, "at least one")
    with pytest.raises(reprogram.ConfigError) as error:
        SharedHost([models[0], tiny_model(size=16)])
    one_line(error, "model 1", "one host")
    with pytest.raises(reprogram.ConfigError) as error:
        SharedHost([models[0], tiny_model(size=16)], names=["a", "b"])
    one_line(error, "model b is of the host", "model a of")
    with pytest.raises(reprogram.ConfigError) as error:
        SharedHost(models)(batches_of(models, (1, 1, 1, 1, 1))[:4])
    one_line(error, "4 batches for 5 models")
    with pytest.raises(reprogram.DataError):
        SharedHost(models[:1])([torch.zeros(1, 3, 9, 9)])
