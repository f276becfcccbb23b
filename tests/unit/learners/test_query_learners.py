"""SPSA, SPSA-GC, RGF, NES and SNES against their formulas in NumPy, and on problems whose answer is known."""

import numpy as np
import pytest
import torch
from torch import nn

import reprogram
from reprogram.learners._query_base import rank_utilities
from reprogram.learners.base import Progress
from reprogram.registry import configure

QUERY_LEARNERS = ("nes", "rgf", "snes", "spsa", "spsa-gc")


def started(spec, size=6, seed=0):
    variant, config = configure("learners", spec)
    torch.manual_seed(seed)
    parameter = nn.Parameter(torch.linspace(-1, 1, size, dtype=torch.float64))
    learner = variant(config)
    learner.start([parameter])
    return learner, parameter


class Quadratic:
    """s · Σ i (w_i - 1)², the same for each of eight images; it notes at which points and images it was asked."""

    num_images = 8
    whole_batch = False

    def __init__(self, parameter, asked=None, scale=1.0):
        self.parameter, self.asked, self.scale = parameter, [] if asked is None else asked, scale
        self.images = []

    def at(self, point):
        factors = torch.arange(1, len(point) + 1, dtype=torch.float64)
        return self.scale * (factors * (point - 1).square()).sum()

    def __call__(self):
        return self.at(self.parameter)

    def losses(self, points, images):
        self.asked += list(points.detach().numpy().copy())
        self.images += [images] * len(points)
        return torch.stack([self.at(point) for point in points])[:, None].expand(-1, images.stop - images.start)


class Flat(Quadratic):
    """The same loss everywhere."""

    def at(self, point):
        return torch.tensor(1.2345, dtype=torch.float64)


def losses_at(points):
    return np.array([(np.arange(1, len(p) + 1) * (p - 1) ** 2).sum() for p in points])


def test_spsa_is_spalls():
    learner, parameter = started("spsa(learning_rate=0.1, radius=0.01, averages=2, clip=False)")
    start, asked = parameter.detach().numpy().copy(), []
    for k in range(3):
        before = parameter.detach().numpy().copy()
        asked.clear()
        learner.step(Quadratic(parameter, asked), Progress(fraction=k / 3, epoch=0))
        c, a = 0.01 / (k + 1) ** 0.101, 0.1 * (101 / (k + 101)) ** 0.602
        signs = (np.array(asked[:2]) - before) / c
        np.testing.assert_allclose(np.abs(signs), 1, rtol=1e-8)
        upper, lower = losses_at(asked[:2]), losses_at(asked[2:])
        gradient = ((upper - lower) / (2 * c))[:, None] * signs
        np.testing.assert_allclose(parameter.detach().numpy(), before - a * gradient.mean(0), rtol=1e-9)
    assert not np.array_equal(start, parameter.detach().numpy())


def test_spsas_moves_may_be_blackvips():
    """From ±[1/2, 1], and the estimate divides by them: its own code, spsa_grad_estimate_bi."""
    learner, parameter = started(
        "spsa(learning_rate=0.1, radius=0.01, moves='segmented-uniform', clip=False)", size=400
    )
    before, asked = parameter.detach().numpy().copy(), []
    learner.step(Quadratic(parameter, asked), Progress(fraction=0, epoch=0))
    moves = (asked[0] - before) / 0.01
    assert 0.5 <= np.abs(moves).min() < 0.51 and 0.99 < np.abs(moves).max() <= 1 and 150 < (moves > 0).sum() < 250
    np.testing.assert_allclose(asked[1] - before, -0.01 * moves, atol=1e-12)
    upper, lower = losses_at(asked)
    expected = before - 0.1 * (upper - lower) / (2 * 0.01 * moves)
    np.testing.assert_allclose(parameter.detach().numpy(), expected, rtol=1e-6)


def test_a_move_that_rounding_eats_gives_no_step():
    learner, parameter = started("spsa(radius=1e-30)")
    before = parameter.detach().clone()
    learner.step(Quadratic(parameter), Progress(fraction=0, epoch=0))
    assert torch.equal(parameter, before)


def test_spsas_estimate_is_clipped_at_the_root_of_its_size():
    learner, parameter = started("spsa(learning_rate=0.1)")
    before = parameter.detach().clone()
    learner.step(Quadratic(parameter, scale=1e6), Progress(fraction=0, epoch=0))
    assert float((parameter.detach() - before).norm()) == pytest.approx(0.1 * 6**0.5, rel=1e-9)


def test_spsa_gc_is_nesterovs_step_with_estimates():
    learner, parameter = started("spsa-gc(learning_rate=0.01, radius=0.01, averages=3, momentum=0.8, clip=False)")
    momentum = np.zeros(6)
    for k in range(4):
        before, asked = parameter.detach().numpy().copy(), []
        learner.step(Quadratic(parameter, asked), Progress(fraction=0, epoch=0))
        lead, c = before + 0.8 * momentum, 0.01 / (k + 1) ** 0.101
        a = 0.01 * (101 / (k + 101)) ** 0.602
        moves = (np.array(asked[:3]) - lead) / c
        estimate = (((losses_at(asked[:3]) - losses_at(asked[3:])) / (2 * c))[:, None] * moves).mean(0)
        momentum = 0.8 * momentum - a * estimate
        np.testing.assert_allclose(parameter.detach().numpy(), before + momentum, rtol=1e-8)


def test_rgf_is_bars():
    learner, parameter = started("rgf(learning_rate=0.01, radius=0.05, directions=4, schedule='constant')")
    before, asked = parameter.detach().numpy().copy(), []
    learner.step(Quadratic(parameter, asked), Progress(fraction=0, epoch=0))
    np.testing.assert_array_equal(asked[0], before)
    units = (np.array(asked[1:]) - before) / 0.05
    np.testing.assert_allclose(np.linalg.norm(units, axis=1), 1, rtol=1e-9)
    slopes = (losses_at(asked[1:]) - losses_at(asked[:1])) / 0.05
    expected = before - 0.01 * 6 * (slopes[:, None] * units).mean(0)
    np.testing.assert_allclose(parameter.detach().numpy(), expected, rtol=1e-9)


def test_rgfs_estimates_average_to_the_gradient():
    learner, parameter = started("rgf(learning_rate=1.0, radius=1e-4, directions=20000, schedule='constant')")
    before = parameter.detach().clone()
    learner.step(Quadratic(parameter), Progress(fraction=0, epoch=0))
    gradient = 2 * torch.arange(1, 7, dtype=torch.float64) * (before - 1)
    assert float((before - parameter.detach() - gradient).norm() / gradient.norm()) < 0.05


def test_rank_utilities():
    """JMLR 2014, section 3.1, for four points: log 3 - log k, where positive, over their sum, less a quarter."""
    raw = np.maximum(0, np.log(3) - np.log([1, 2, 3, 4]))
    expected = raw / raw.sum() - 0.25
    np.testing.assert_allclose(rank_utilities(torch.tensor([1.0, 2.0, 3.0, 4.0])).numpy(), expected, atol=1e-6)
    np.testing.assert_allclose(
        rank_utilities(torch.tensor([4.0, 2.0, 1.0, 3.0])).numpy(), expected[[3, 1, 0, 2]], atol=1e-6
    )
    tied = rank_utilities(torch.tensor([2.0, 1.0, 2.0, 2.0])).numpy()
    np.testing.assert_allclose(
        tied, [expected[1:].mean(), expected[0], expected[1:].mean(), expected[1:].mean()], atol=1e-6
    )
    assert rank_utilities(torch.ones(5)).abs().max() < 1e-6, "equal losses say nothing"


def test_snes_is_the_papers_algorithm():
    learner, parameter = started("snes(learning_rate=1.0, radius=0.2, population=6, race=0.0)")
    before, asked = parameter.detach().numpy().copy(), []
    learner.step(Quadratic(parameter, asked), Progress(fraction=0, epoch=0))
    moves = (np.array(asked) - before) / 0.2
    order = losses_at(asked).argsort()
    utilities = np.empty(6)
    raw = np.maximum(0, np.log(4) - np.log(np.arange(1, 7)))
    utilities[order] = raw / raw.sum() - 1 / 6
    np.testing.assert_allclose(parameter.detach().numpy(), before + 0.2 * utilities @ moves, rtol=1e-6)
    rate = (3 + np.log(6)) / (5 * 6**0.5)
    sigma = 0.2 * np.exp(rate / 2 * (utilities @ (moves**2 - 1)))
    np.testing.assert_allclose(learner.state["sigma"].numpy(), sigma, rtol=1e-6)


@pytest.mark.parametrize(
    "spec",
    [
        "snes(radius=0.5)",
        "nes(learning_rate=0.05, radius=0.05)",
        "spsa(learning_rate=0.02, radius=0.05, averages=4)",
        "spsa-gc(learning_rate=0.005, radius=0.05, averages=2)",
        "rgf(learning_rate=0.01, radius=0.05)",
    ],
)
def test_they_find_the_minimum(spec):
    learner, parameter = started(spec)
    first = Quadratic(parameter)().item()
    for i in range(400):
        learner.step(Quadratic(parameter), Progress(fraction=i / 400, epoch=0))
    assert Quadratic(parameter)().item() < first / 100


@pytest.mark.parametrize("name", QUERY_LEARNERS)
def test_as_many_losses_as_announced_and_a_loss_that_is_not_finite_changes_nothing(name):
    learner, parameter = started(f"{name}(race=0.0)")
    objective = Quadratic(parameter)
    learner.step(objective, Progress(fraction=0, epoch=0))
    assert len(objective.asked) == learner.num_losses and learner.access == "label"
    assert set(map(str, objective.images)) == {str(slice(0, 8))}, "all points on the whole batch"
    before = parameter.detach().clone()
    for value in (float("nan"), float("inf")):
        with pytest.raises(reprogram.DataError, match="isn't finite"):
            learner.step(Quadratic(parameter, scale=value), Progress(fraction=0, epoch=0))
        assert torch.equal(parameter, before)


@pytest.mark.parametrize("size", [6, 147, 400])
@pytest.mark.parametrize("spec", [*QUERY_LEARNERS, "cma", "cma(covariance='diagonal')", "nes(pairs=3, race=0.0)"])
def test_where_all_losses_are_equal_nothing_moves(spec, size):
    """A host that shows its top label alone gives many points the same loss: there is no way to go."""
    learner, parameter = started(spec, size)
    before = parameter.detach().clone(), {name: value.clone() for name, value in learner.state.items()}
    for step in range(5):
        learner.step(Flat(parameter), Progress(fraction=0, epoch=0))
        assert torch.equal(parameter, before[0]) and learner.num_steps == step + 1
    assert all(torch.equal(value, before[1][name]) for name, value in learner.state.items())


@pytest.mark.parametrize("population", [2, 5, 14, 20])
def test_equal_losses_share_their_weights(population):
    """By the formula in NumPy, and the mean of it over each group of equal losses."""
    losses = np.array([3.0, 1.0] * population)[:population]
    raw = np.maximum(0, np.log(population / 2 + 1) - np.log(np.arange(1, population + 1)))
    weights = raw / raw.sum() - 1 / population
    ones = int((losses == 1).sum())
    expected = np.where(losses == 1, weights[:ones].mean(), weights[ones:].mean())
    np.testing.assert_allclose(rank_utilities(torch.from_numpy(losses)).numpy(), expected, atol=1e-12)
    assert not rank_utilities(torch.full((population,), 0.7)).any()


@pytest.mark.parametrize(
    "spec, words",
    [
        ("spsa(radius=0)", "radius"),
        ("spsa(averages=0)", "averages"),
        ("spsa(decay=2.0)", "decay"),
        ("spsa-gc(momentum=1.0)", "momentum"),
        ("rgf(directions=0)", "directions"),
        ("rgf(schedule='linear')", "schedule"),
        ("snes(population=1)", "population"),
        ("nes(pairs=0)", "pairs"),
    ],
)
def test_options_that_make_no_sense(spec, words):
    with pytest.raises(reprogram.ConfigError, match=words):
        configure("learners", spec)
