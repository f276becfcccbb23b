"""CMA-ES against the library `cma` of its author, step by step, and on problems whose answer is known."""

import numpy as np
import pytest
import torch
from torch import nn

import reprogram
from reprogram.learners.base import Progress
from reprogram.learners.cma import CMA, Rates
from reprogram.registry import configure


class Function:
    """A function of a point as an objective of four images."""

    num_images = 4
    whole_batch = False

    def __init__(self, function):
        self.function = function

    def losses(self, points, images):
        values = torch.tensor([float(self.function(point.detach().numpy())) for point in points], dtype=torch.float64)
        return values[:, None].expand(-1, images.stop - images.start)


def ellipsoid(x):
    """Condition 100, in directions that aren't the axes."""
    y = np.cumsum(x - 0.5) if len(x) > 1 else x - 0.5
    return float((np.logspace(0, 2, len(x)) * y**2).sum())


def started(spec, start):
    variant, config = configure("learners", spec)
    torch.manual_seed(3)
    parameter = nn.Parameter(torch.tensor(start, dtype=torch.float64))
    learner = variant(config)
    learner.start([parameter])
    return learner, parameter


def the_librarys(start, radius, population, rates):
    """The library's own object, which its constants but for those of the tutorial's table 1 leave as it is."""
    cma = pytest.importorskip("cma", reason="the library cma isn't installed")
    options = {"verbose": -9, "seed": 1, "popsize": population, "AdaptSigma": cma.sigma_adaptation.CMAAdaptSigmaCSA}
    theirs = cma.CMAEvolutionStrategy(start, radius, options | {"CMA_eigenmethod": np.linalg.eigh})
    theirs.adapt_sigma.initialize(theirs)
    # The library damps the step size by younger constants than the tutorial's; all else is what it chooses itself.
    theirs.adapt_sigma.cs, theirs.adapt_sigma.damps = rates.step_path, rates.damping
    theirs.sm.lazy_update_gap = 0
    theirs.sm.C = np.eye(len(start))  # It begins with axes that differ by 0.01 %.
    theirs.sm.D, theirs.sm.B = np.ones(len(start)), np.eye(len(start))
    return theirs


@pytest.mark.parametrize("size, population", [(2, 6), (6, 9), (20, 12)])
def test_it_is_the_librarys(size, population):
    """The same points and losses lead to the same mean, step size and covariances, step after step."""
    start = np.linspace(-1, 2, size)
    learner, parameter = started(f"cma(radius=0.4, population={population}, covariance='full')", start)
    rates = Rates(size, population, diagonal=False)
    theirs = the_librarys(start, 0.4, population, rates)
    np.testing.assert_allclose(rates.weights.numpy(), np.array(theirs.sp.weights), rtol=1e-12)
    np.testing.assert_allclose([rates.one, rates.rank, rates.path], [theirs.sp.c1, theirs.sp.cmu, theirs.sp.cc])
    point, progress = parameter.detach().clone(), Progress(fraction=0, epoch=0)
    for _ in range(30):
        points = np.array(theirs.ask())
        losses = [ellipsoid(x) for x in points]
        theirs.tell(list(points), losses)
        point = learner.tell(point, torch.from_numpy(points), torch.tensor(losses, dtype=torch.float64), progress)
        learner.num_steps += 1
        np.testing.assert_allclose(point.numpy(), theirs.mean, rtol=1e-7, atol=1e-9)
        assert float(learner.state["sigma"]) == pytest.approx(theirs.sigma, rel=1e-7)
        np.testing.assert_allclose(learner.state["covariance"].numpy(), theirs.sm.C, rtol=1e-6, atol=1e-8)


def test_points_have_the_distribution_of_the_state():
    learner, parameter = started("cma(population=20000)", np.zeros(3))
    root = torch.tensor([[2.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, -1.0, 0.5]], dtype=torch.float64)
    learner.state |= {"covariance": root @ root.T, "sigma": torch.tensor(0.5, dtype=torch.float64)}
    points = learner.ask(parameter.detach().clone() + 1, torch.Generator().manual_seed(0)).numpy()
    np.testing.assert_allclose(points.mean(0), 1, atol=0.03)
    np.testing.assert_allclose(np.cov(points.T), 0.25 * (root @ root.T).numpy(), atol=0.05)


def test_the_diagonal_is_the_full_updates_diagonal_at_its_own_rates():
    """One step from C = I: both learn by the same formula, which leaves the other entries away."""
    start = np.linspace(-1, 1, 8)
    learner, parameter = started("cma(radius=0.3, covariance='diagonal', population=10)", start)
    rates = Rates(8, 10, diagonal=True)
    plain = Rates(8, 10, diagonal=False)
    assert rates.one == pytest.approx(plain.one * 10 / 3) and rates.rank == pytest.approx(plain.rank * 10 / 3)
    points = learner.ask(parameter.detach().clone(), torch.Generator().manual_seed(learner.seed)).numpy()
    learner.step(Function(ellipsoid), Progress(fraction=0, epoch=0))
    moves = (points - start)[np.argsort([ellipsoid(point) for point in points])] / 0.3
    weights = rates.weights.numpy()
    scaled = np.where(weights < 0, weights * 8 / (moves**2).sum(1), weights)
    path = (rates.path * (2 - rates.path) * rates.mass) ** 0.5 * (np.maximum(weights, 0) @ moves)
    expected = 1 - rates.one - rates.rank * weights.sum() + rates.one * path**2 + rates.rank * scaled @ moves**2
    np.testing.assert_allclose(learner.state["covariance"].numpy(), expected, rtol=1e-9)


@pytest.mark.parametrize(
    "spec, function, steps",
    [("cma", ellipsoid, 300), ("cma(covariance='diagonal')", lambda x: ((x - 1) ** 2).sum(), 200)],
)
def test_it_finds_the_minimum(spec, function, steps):
    learner, parameter = started(spec, np.zeros(10))
    first = function(parameter.detach().numpy())
    for _ in range(steps):
        learner.step(Function(function), Progress(fraction=0, epoch=0))
    assert function(parameter.detach().numpy()) < first * 1e-6


def test_a_loaded_state_goes_on_to_the_same_bytes_and_numpys_random_numbers_are_left_alone():
    np.random.seed(7)
    numpys = np.random.get_state()[1].tobytes()
    whole, parameter = started("cma(population=8)", np.zeros(5))
    for _ in range(6):
        whole.step(Function(ellipsoid), Progress(fraction=0, epoch=0))
    first, half = started("cma(population=8)", np.zeros(5))
    for _ in range(3):
        first.step(Function(ellipsoid), Progress(fraction=0, epoch=0))
    second, again = started("cma(population=8)", half.detach().numpy())
    torch.manual_seed(99)
    second.load_state_dict({name: value.clone() for name, value in first.state_dict().items()})
    for _ in range(3):
        second.step(Function(ellipsoid), Progress(fraction=0, epoch=0))
    assert again.detach().numpy().tobytes() == parameter.detach().numpy().tobytes()
    for name, value in whole.state_dict().items():
        assert value.numpy().tobytes() == second.state_dict()[name].numpy().tobytes(), name
    assert np.random.get_state()[1].tobytes() == numpys


def test_full_up_to_300_numbers_and_as_many_points_as_the_tutorial():
    for size, full in ((10, True), (300, True), (301, False)):
        learner = CMA(CMA.Config())
        learner.start([nn.Parameter(torch.zeros(size))])
        assert (learner.state["covariance"].ndim == 2) == full
        assert learner.num_losses == 4 + int(3 * np.log(size))


@pytest.mark.parametrize("spec, words", [("cma(radius=0.0)", "radius"), ("cma(population=1)", "at least 2")])
def test_options_that_make_no_sense(spec, words):
    with pytest.raises(reprogram.ConfigError, match=words):
        configure("learners", spec)


def test_covariances_of_too_many_numbers_are_refused(one_line):
    learner = CMA(CMA.Config(covariance="full"))
    with pytest.raises(reprogram.ConfigError) as error:
        learner.start([nn.Parameter(torch.zeros(150_528))])
    one_line(error, "150,528", "diagonal")
