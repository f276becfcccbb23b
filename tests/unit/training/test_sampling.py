"""The order of the training images: each class spread evenly over an epoch, or all at random as in earlier versions."""

import numpy as np
import pytest
import torch

import reprogram
from helpers import ConvNet, seeded
from reprogram.cli.fit import resolve
from reprogram.registry import configure
from reprogram.runs.config import MARK, RunConfig, to_toml
from reprogram.runs.folder import RunFolder
from reprogram.training.batches import Batches
from reprogram.utils.seeding import stratified_order


def order(labels, seed=0, epoch=0):
    return stratified_order(torch.as_tensor(labels), seed, epoch).numpy()


@pytest.mark.parametrize("counts", [[100] * 10, [500, 50, 5], [1], [0, 3, 0, 7], [1] * 40, [999, 1]])
def test_each_image_comes_once_and_each_class_by_its_share(counts):
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    found = order(labels)
    assert np.array_equal(np.sort(found), np.arange(len(labels)))
    seen = np.cumsum(labels[found][:, None] == np.arange(len(counts)), axis=0)  # n x k, of the first images
    # The i-th of n images of a class comes between i / n and (i + 1) / n of the way: after a part t of the order, the
    # number of each class is off t·n by less than one, and so is that of all classes together by less than k.
    place = np.arange(1, len(labels) + 1)[:, None] / len(labels)
    assert np.abs(seen - place * counts).max() < 1 + len(counts) * max(counts) / len(labels)


def test_batches_of_balanced_classes_are_balanced():
    labels = np.repeat(np.arange(10), 200)
    spread = labels[order(labels)].reshape(-1, 20)
    random = labels[np.random.default_rng(0).permutation(2000)].reshape(-1, 20)
    by_class = [np.stack([(batches == k).sum(1) for k in range(10)]) for batches in (spread, random)]
    assert by_class[0].var() < by_class[1].var() / 3
    assert abs(by_class[1].var() - 20 * 0.1 * 0.9) < 0.3  # The binomial's, as a check of the check.


def test_the_order_depends_on_seed_and_epoch_alone_and_is_random_within_a_class():
    labels = torch.arange(300) % 3
    first = order(labels, seed=5, epoch=2)
    assert np.array_equal(first, order(labels, seed=5, epoch=2))
    assert not np.array_equal(first, order(labels, seed=5, epoch=3))
    assert not np.array_equal(first, order(labels, seed=6, epoch=2))
    own = first[first % 3 == 0]
    assert 0.3 < np.mean(np.diff(own) > 0) < 0.7


def test_shuffled_is_the_order_of_earlier_versions(digits):
    variant, config = configure("augmentations", "none")
    batches = Batches(digits.train, variant(config), 8, 3, "shuffled")
    expected = torch.randperm(len(digits.train), generator=torch.Generator().manual_seed((3 * 1_000_003 + 1) % 2**63))
    assert torch.equal(batches.indices(1, 2), expected[16:24])
    spread = Batches(digits.train, variant(config), 8, 3, "stratified")
    assert torch.equal(spread.indices(1, 2), stratified_order(digits.train.labels, 3, 1)[16:24])


def test_a_checkpoint_of_one_order_is_not_resumed_with_the_other(squares, tmp_path, one_line):
    class StoppedError(Exception):
        pass

    def stop(progress):
        raise StoppedError

    def model():
        host = reprogram.Host.wrap(seeded(lambda: ConvNet(num_classes=32, width=16)), size=48, name="host")
        return reprogram.Reprogrammed.build(host, squares)

    given = {"images": 160, "checkpoint": tmp_path / "c.safetensors", "checkpoint_every": 1}
    with pytest.raises(StoppedError):
        reprogram.fit(model(), squares, on_progress=stop, **given)
    with pytest.raises(reprogram.ConfigError) as error:
        reprogram.fit(model(), squares, sampling="shuffled", **given)
    one_line(error, "sampling", "another")
    with pytest.raises(reprogram.ConfigError) as error:
        reprogram.fit(model(), squares, sampling="sorted")
    one_line(error, "sampling", "sorted", "stratified", "shuffled")


def test_a_run_that_was_begun_before_there_was_a_choice_goes_on_as_it_began(tmp_path):
    flags = {"host": "linear:40", "task": "digits", "epochs": 2.0, "out": str(tmp_path / "run")}
    assert resolve(flags, None).sampling == "stratified"
    text = to_toml(RunConfig(**flags))
    assert 'sampling = "stratified"\n' in text and text.startswith(MARK)
    (tmp_path / "run").mkdir()
    written = tmp_path / "run" / "config.toml"
    written.write_text(text.replace('sampling = "stratified"\n', ""))
    assert (
        resolve({}, written).sampling == "shuffled" and RunFolder(tmp_path / "run").read_config().sampling == "shuffled"
    )
    assert resolve(flags, None).sampling == "shuffled"
    assert resolve({**flags, "sampling": "stratified"}, None).sampling == "stratified"
    own = tmp_path / "own.toml"
    own.write_text('[fit]\ntask = "digits"\n')
    assert resolve({}, own).sampling == "stratified"
    assert RunConfig(sampling="shuffled").identity() == {
        key: value for key, value in RunConfig().identity().items() if key != "sampling"
    }
