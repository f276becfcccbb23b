"""Points that lose leave early, and points that can't be told apart wait: against SciPy's and NumPy's formulas."""

import itertools

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

import reprogram
from reprogram.learners._racing import LEAST_IMAGES, in_race, mean_losses, reliability, rounds, staying
from reprogram.learners.base import Progress
from reprogram.registry import configure

PROGRESS = Progress(fraction=0, epoch=0)


def losses_of(points, images, spread, seed=0):
    """Points that differ by `spread`, images that are hard for all alike, and noise."""
    generator = np.random.default_rng(seed)
    return (
        spread * np.arange(points)[:, None]
        + generator.normal(size=(1, images)) * 5
        + generator.normal(size=(points, images))
    )


@pytest.mark.parametrize("n", [1, 3, 4, 7, 8, 16, 50, 128, 1000])
def test_rounds_cover_the_batch_once_and_double(n):
    parts = rounds(n)
    assert list(itertools.chain(*(range(part.start, part.stop) for part in parts))) == list(range(n))
    assert len(parts) == 1 or parts[0].stop >= LEAST_IMAGES
    assert all(later.stop in (2 * part.stop, 2 * part.stop + 1) for part, later in itertools.pairwise(parts))
    assert len(parts) <= 4


@pytest.mark.parametrize("points, images, spread", [(2, 8, 1.0), (6, 16, 0.3), (9, 40, 0.1), (12, 20, 0.0)])
def test_those_stay_that_a_paired_t_test_does_not_throw_out(points, images, spread):
    losses = losses_of(points, images, spread)
    order = losses.mean(1).argsort()
    better, last = order[: points // 2], order[points // 2 - 1]
    expected = [i in better or stats.ttest_rel(losses[i], losses[last]).statistic <= 2 for i in range(points)]
    stay = staying(torch.from_numpy(losses), 2.0)
    assert stay.tolist() == expected and stay.sum() >= points // 2


def test_nobody_leaves_before_the_first_images_and_who_has_left_stays_away():
    losses = torch.from_numpy(losses_of(6, 16, 3.0))
    assert staying(losses[:, : LEAST_IMAGES - 1], 2.0).all() and staying(losses[:, :0], 2.0).all()
    losses[4, 8:] = torch.nan
    assert not staying(losses, 1e9)[4] and not in_race(losses)[4]


def test_the_mean_of_one_that_left_is_its_distance_from_the_others_on_its_own_images():
    losses = losses_of(5, 12, 0.5)
    assert np.allclose(mean_losses(torch.from_numpy(losses)).numpy(), losses.mean(1), atol=1e-12)
    table = torch.from_numpy(losses.copy())
    table[3, 4:] = torch.nan
    others = losses[[0, 1, 2, 4]].mean(0)
    found = mean_losses(table).numpy()
    assert found[3] == pytest.approx(others.mean() + (losses[3, :4] - others[:4]).mean(), rel=1e-12)
    assert np.allclose(found[[0, 1, 2, 4]], losses[[0, 1, 2, 4]].mean(1), atol=1e-12)


def test_equal_counts_of_answers_give_equal_means():
    """With labels alone, losses have two values; ranks share their weights only where means are equal."""
    generator = torch.Generator().manual_seed(0)
    rows = [torch.randperm(60, generator=generator) < 17 for _ in range(20)]
    table = torch.where(torch.stack(rows), 0.69314718, 2.3025851)
    assert len(mean_losses(table).unique()) == 1


@pytest.mark.parametrize("points, images, spread", [(2, 10, 0.5), (5, 30, 0.1), (8, 64, 1.0)])
def test_reliability_is_cronbachs(points, images, spread):
    """m / (m - 1) · (1 - Σ variances of the images' losses / variance of their sum), over the points."""
    losses = losses_of(points, images, spread, seed=3)
    alpha = images / (images - 1) * (1 - losses.var(axis=0, ddof=1).sum() / losses.sum(axis=1).var(ddof=1))
    assert reliability(torch.from_numpy(losses)) == pytest.approx(alpha, rel=1e-9)


def test_reliability_of_nothing_to_compare():
    assert reliability(torch.ones(4, 9)) == 0.0
    table = torch.from_numpy(losses_of(2, 8, 1.0))
    table[1, 4:] = torch.nan
    assert reliability(table) == 1.0
    assert reliability(torch.ones(3, 1)) == 0.0


class Noisy:
    """Quadratics with an optimum of their own for each image, by the number of the batch; it counts what is asked."""

    whole_batch = False

    def __init__(self, size, num_images, noise):
        self.num_images, self.noise, self.size = num_images, noise, size
        self.batch, self.asked, self.counts = 0, [], []

    def losses(self, points, images):
        generator = torch.Generator().manual_seed(self.batch)
        optima = 1 + self.noise * torch.randn(self.num_images, self.size, generator=generator)
        self.asked.append((points.clone(), images))
        distances = points[:, None] - optima[None, images]
        return distances.square().mean(dim=2)

    @property
    def num_asked(self):
        return sum(len(points) * (images.stop - images.start) for points, images in self.asked)


def started(spec, size=20):
    variant, config = configure("learners", spec)
    torch.manual_seed(0)
    parameter = nn.Parameter(torch.zeros(size))
    learner = variant(config)
    learner.start([parameter])
    return learner, parameter


@pytest.mark.parametrize("name", ["snes", "cma", "nes", "spsa", "spsa-gc", "rgf"])
def test_a_race_asks_for_less_and_never_for_more(name):
    learner, parameter = started(f"{name}(race=2.0)")
    objective = Noisy(20, 32, noise=0.1)
    for objective.batch in range(5):
        learner.step(objective, PROGRESS)
    all_of_it = 5 * learner.num_losses * 32
    assert all_of_it / 8 <= objective.num_asked < 0.95 * all_of_it
    assert parameter.detach().isfinite().all()


def test_a_loss_of_the_whole_batch_is_asked_at_once():
    learner, _ = started("snes(race=2.0)")
    objective = Noisy(20, 32, noise=0.1)
    objective.whole_batch = True
    learner.step(objective, PROGRESS)
    assert [images for _, images in objective.asked] == [slice(0, 32)]
    assert objective.num_asked == learner.num_losses * 32


def test_a_race_comes_as_far_with_fewer_images():
    ends = []
    for race in (0.0, 2.0):
        learner, parameter = started(f"snes(learning_rate=1.0, radius=0.3, population=20, race={race})")
        objective = Noisy(20, 32, noise=0.2)
        while objective.num_asked < 10_000:
            objective.batch += 1
            learner.step(objective, PROGRESS)
        ends.append(float((parameter.detach() - 1).square().mean()))
    assert ends[1] < 0.6 * ends[0], ends


def test_points_that_cannot_be_told_apart_are_asked_on_the_next_batch():
    learner, parameter = started("nes(pairs=4, reliability=0.9, max_batches=3)")
    objective, before = Noisy(20, 8, noise=20.0), parameter.detach().clone()
    for objective.batch in range(3):
        assert torch.equal(parameter, before), "the search stands while the points wait"
        learner.step(objective, PROGRESS)
    assert not torch.equal(parameter, before) and learner.num_steps == 1
    points = [asked for asked, _ in objective.asked]
    assert torch.equal(points[0], points[1]) and torch.equal(points[1], points[2])
    batches = []
    for objective.batch in range(3):
        batches.append(objective.losses(points[0], slice(0, 8)))
    together = torch.cat(batches, dim=1)
    expected = learner.tell(before, points[0], together.mean(1), PROGRESS)
    torch.testing.assert_close(parameter.detach(), expected)


def test_points_that_differ_clearly_do_not_wait():
    learner, _ = started("nes(pairs=4, reliability=0.9)")
    learner.step(Noisy(20, 8, noise=0.01), PROGRESS)
    assert learner.num_steps == 1 and learner.num_batches == 0


@pytest.mark.parametrize("spec", ["cma(race=2.0, reliability=0.9)", "spsa(averages=4, race=1.5, reliability=0.95)"])
def test_an_interrupted_race_goes_on_to_the_same_bytes(spec):
    def steps(learner, batches):
        objective = Noisy(20, 16, noise=3.0)
        for objective.batch in batches:
            learner.step(objective, PROGRESS)

    whole, parameter = started(spec)
    steps(whole, range(7))
    first, half = started(spec)
    steps(first, range(3))
    assert first.num_batches, "it is interrupted while points wait"
    second, again = started(spec)
    with torch.no_grad():
        again.copy_(half)
    second.load_state_dict({name: value.clone() for name, value in first.state_dict().items()})
    steps(second, range(3, 7))
    assert torch.equal(again, parameter)
    for name, value in whole.state_dict().items():
        assert value.numpy().tobytes() == second.state_dict()[name].numpy().tobytes(), name


@pytest.mark.parametrize("option", ["race=-1.0", "reliability=1.0", "reliability=-0.1", "max_batches=0"])
def test_options_of_every_learner_that_make_no_sense(option):
    with pytest.raises(reprogram.ConfigError, match=option.partition("=")[0]):
        configure("learners", f"snes({option})")
