"""Augmentations against NumPy; that learning sees them, and only learning; that chance doesn't depend on who asks."""

import signal

import numpy as np
import pytest
import torch

import reprogram
from helpers import random_task, tiny_model
from reprogram.evaluation import from_scratch
from reprogram.registry import configure, names


def build(spec):
    variant, config = configure("augmentations", spec)
    return variant(config)


def images(n=7, shape=(3, 9, 6)):
    return torch.from_numpy(np.random.default_rng(n).integers(0, 256, (n, *shape), dtype=np.uint8))


@pytest.mark.parametrize("pixels", [1, 2, 20])
def test_shift_is_numpys_edge_padding(pixels):
    shift, given = build(f"shift(pixels={pixels})"), images()
    chance = shift.draw(7, seed=3, epoch=1)
    found = shift.run(given, chance).numpy()
    for image, moved, numbers in zip(given.numpy(), found, chance.numpy(), strict=True):
        down, right = np.floor(numbers * (2 * pixels + 1)).astype(int) - pixels
        padded = np.pad(image, ((0, 0), (pixels, pixels), (pixels, pixels)), mode="edge")
        expected = padded[:, pixels - down : pixels - down + 9, pixels - right : pixels - right + 6]
        np.testing.assert_array_equal(moved, expected)


def test_shift_goes_alike_often_to_every_side():
    point = torch.zeros(2_000, 1, 5, 5, dtype=torch.uint8)
    point[:, 0, 2, 2] = 255
    shift = build("shift(pixels=1)")
    places = shift.run(point, shift.draw(2_000, seed=0, epoch=0)).flatten(1).argmax(1)
    reached, counts = places.unique(return_counts=True)
    assert reached.tolist() == [6, 7, 8, 11, 12, 13, 16, 17, 18]
    assert (counts - 2_000 / 9).abs().max() < 5 * (2_000 / 9) ** 0.5


def test_flip_mirrors_about_half():
    flip, given = build("flip"), images(400)
    found = flip.run(given, flip.draw(400, seed=0, epoch=0)).numpy()
    mirrored = (found == given.numpy()[..., ::-1]).all(axis=(1, 2, 3))
    unchanged = (found == given.numpy()).all(axis=(1, 2, 3))
    assert (mirrored ^ unchanged).all() and 150 < mirrored.sum() < 250


@pytest.mark.parametrize(("shape", "count"), [((3, 6, 6), 8), ((1, 9, 6), 4)])
def test_dihedral_shows_each_symmetry_alike_often(shape, count):
    """NumPy's quarter turns, and those of the mirrored image; only half turns where the sides differ."""
    dihedral, image = build("dihedral"), images(1, shape).numpy()[0]
    turned = [np.rot90(start, turns, axes=(1, 2)) for start in (image, image[..., ::-1]) for turns in range(4)]
    expected = [one for one in turned if one.shape == image.shape]
    many = torch.from_numpy(image).expand(400 * count, -1, -1, -1)
    found = dihedral.run(many, dihedral.draw(len(many), seed=0, epoch=0)).numpy()
    shown = np.array([(found == one).all(axis=(1, 2, 3)).sum() for one in expected])
    assert len(expected) == count and shown.sum() == len(found)
    assert (abs(shown - 400) < 5 * 400**0.5).all()


@pytest.mark.parametrize("name", names("augmentations"))
def test_an_image_is_varied_by_its_own_chance_alone(name):
    augmentation, given = build(name), images(16)
    before, chance = given.clone(), augmentation.draw(16, seed=1, epoch=2)
    whole = augmentation.run(given, chance)
    assert whole.dtype == torch.uint8 and whole.shape == given.shape and torch.equal(given, before)
    parts = [augmentation.run(given[[i]], chance[[i]]) for i in range(16)]
    assert torch.equal(torch.cat(parts), whole)
    assert torch.equal(augmentation.draw(16, seed=1, epoch=2), chance)
    if name != "none":
        assert not torch.equal(whole, given)
        assert not torch.equal(augmentation.draw(16, seed=1, epoch=3), chance)
        assert not torch.equal(augmentation.draw(16, seed=2, epoch=2), chance)


def test_learning_sees_each_epoch_anew_and_validation_as_it_is():
    task, seen = random_task(n=(8, 8, 8)), {"train": [], "validation": []}
    model = tiny_model(task)

    def watch(canvas, arguments):
        seen["train" if torch.is_grad_enabled() else "validation"].append(arguments[0].clone())

    model.canvas.register_forward_pre_hook(watch)
    reprogram.fit(
        model, task, epochs=3, validations=3, batch_size=8, num_microbatches=1, augmentation="shift(pixels=1)"
    )
    steps = [batch for batch in seen["train"] if len(batch) == 8]
    assert len(steps) == 3
    originals = {image.numpy().tobytes() for image in seen["validation"][-1]}
    assert originals == {image.numpy().tobytes() for image in task.validation.images}
    epochs = [{image.numpy().tobytes() for image in batch} for batch in steps]
    assert not epochs[0] & epochs[1] & epochs[2]


def learned(model):
    return {key: value.clone() for key, value in model.learned_state().items()}


@pytest.mark.parametrize("augmentation", ["shift(pixels=2)", "flip"])
def test_interrupted_at_every_step_it_is_the_same_run(tmp_path, augmentation):
    task = random_task()
    arguments = {"epochs": 2, "batch_size": 16, "validations": 2, "augmentation": augmentation, "seed": 4}
    whole, plain = tiny_model(task), tiny_model(task)
    reprogram.fit(whole, task, **arguments)
    reprogram.fit(plain, task, **{**arguments, "augmentation": "none"})
    assert not torch.equal(whole.program.weight, plain.program.weight)
    while True:
        model = tiny_model(task)
        try:
            reprogram.fit(
                model, task, checkpoint=tmp_path / "c", on_progress=lambda _: signal.raise_signal(2), **arguments
            )
            break
        except KeyboardInterrupt:
            pass
    assert all(torch.equal(value, learned(whole)[key]) for key, value in learned(model).items())


def test_a_checkpoint_of_another_augmentation_is_refused(tmp_path, one_line):
    task, arguments = random_task(), {"epochs": 1, "validations": 1}
    for name, first, second in (("a", "none", "flip"), ("b", "flip", "none"), ("c", "shift", "shift(pixels=1)")):
        path = tmp_path / name
        reprogram.fit(tiny_model(task), task, checkpoint=path, augmentation=first, **arguments)
        with pytest.raises(reprogram.ConfigError) as error:
            reprogram.fit(tiny_model(task), task, checkpoint=path, augmentation=second, **arguments)
        one_line(error, "another augmentation")


@pytest.mark.parametrize("spec", ["shift(pixels=0)", "shift(pixels=-2)", f"shift(pixels={2**63 - 1})"])
def test_wrong_options_are_refused(spec, one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        build(spec)
    one_line(error, "pixels", "1 to 4,096")


def test_direct_training_has_it_too():
    task = random_task(n=(64, 16, 16))
    plain, varied = (from_scratch.train(task, "convolutional", 640, seed=0, augmentation=a) for a in ("none", "shift"))
    assert plain == from_scratch.train(task, "convolutional", 640, seed=0) and plain.loss != varied.loss
