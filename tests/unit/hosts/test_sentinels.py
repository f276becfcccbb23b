"""Fixed images show that a service has another model than at the start."""

import numpy as np
import pytest
import torch

pytest.importorskip("httpx2", reason="needs the extra remote")

import reprogram
from helpers_server import ModelServer, logits, settled
from reprogram.errors import BudgetError, HostUnavailableError
from reprogram.hosts._info import HostInfo
from reprogram.hosts._sentinels import difference, fixed_images
from reprogram.training.answers import keeping_answers


def host_of(server, more=""):
    return reprogram.load_host(f"tf-serving:{server.url}?model=m&num_classes=10&size=48&format=bytes{more}")


def test_the_distance_is_numpys():
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(2, 3, 7, generator=generator, dtype=torch.float64).numpy() * 3
    powers = np.exp(scores)
    p, q = powers / powers.sum(2, keepdims=True)
    expected = np.abs(p - q).sum(1).max() / 2
    assert difference(*map(torch.from_numpy, scores)) == pytest.approx(expected)


def test_the_images_are_fixed_and_of_8_bits():
    info = HostInfo(id="x", num_classes=2, size=(20, 12), channels=1, mean=(0.0,), std=(1.0,))
    images = fixed_images(3, info)
    assert images.shape == (3, 1, 20, 12) and torch.equal(images, fixed_images(3, info))
    assert torch.equal(images * 255, (images * 255).round()) and len(images.unique(dim=0)) == 3


def test_another_model_is_noticed_and_a_little_noise_is_not():
    with ModelServer() as server:
        host = host_of(server)
        with keeping_answers(host, None):
            host.check_unchanged("start")
            host.check_unchanged("start")
            assert host.meter.images == server.answered == 2, "the same check isn't asked twice"
            server.scores = lambda pixels: logits(pixels) + 0.01
            host.check_unchanged("step 5")
            assert host.meter.images == 4
            server.scores = lambda pixels: logits(pixels, seed=1)
            with pytest.raises(HostUnavailableError, match="another model than at the start") as error:
                host.check_unchanged("step 9")
            assert "\n" not in str(error.value) and host.meter.images == server.answered == 6
        quiet = host_of(server, "&sentinels=0")
        with keeping_answers(quiet, None):
            quiet.check_unchanged("start")
        assert quiet.meter.images == 0


@pytest.mark.parametrize("sentinels", [0, 3])
def test_a_run_checks_at_its_start_and_at_each_validation(sentinels):
    task = reprogram.load_task("squares(train=32, validation=8, test=8)")
    with ModelServer() as server:
        host = host_of(server, f"&sentinels={sentinels}")
        model = reprogram.Reprogrammed.build(host, task, program="tiles(side=2)")
        options = {"learner": "spsa", "batch_size": 8, "validations": 2, "validation_images": 4}
        least = sentinels + 16 + 4 + sentinels
        with pytest.raises(BudgetError, match=f"{least} images"):
            reprogram.fit(model, task, queries=least - 1, **options)
        assert server.requests == 0
        fitted = reprogram.fit(model, task, queries=100, **options)
        settled(server)
        assert host.meter.images == server.answered == fitted.queries <= 100


def test_a_run_ends_where_the_model_changes():
    task = reprogram.load_task("squares(train=32, validation=8, test=8)")
    with ModelServer() as server:
        own = server.scores
        server.scores = lambda pixels: own(pixels) if server.requests < 8 else logits(pixels, seed=3)
        model = reprogram.Reprogrammed.build(host_of(server), task, program="tiles(side=2)")
        with pytest.raises(HostUnavailableError, match="another model"):
            reprogram.fit(model, task, learner="spsa", batch_size=8, queries=400, validations=5)
