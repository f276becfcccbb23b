"""How far learners that only ask come with so many images, on a function whose minimum is known.

    python benchmarks/query_learners.py --size 147 --images 20000 --batch 4 "snes" "snes(race=2.0)" "spsa-gc"

The loss of image j at the point w is (w - w* - x_j)' H (w - w* - x_j) / 2. H has eigenvalues from 1 to 1,000, in random
directions, and the optimum w* and each image's own shift x_j are such that the loss can fall by 1.28 on average, with a
gradient of norm 2 at the start; that of a single image has noise of norm 7 on top. So it is about where EfficientNet-
Lite0 stands with 147 tiles on digits: its gradient has norm 1.2 there, and 7.2 of noise (64 images). Each line says
which part of that loss is left in the end, a mean over seeds, with the standard error.
"""

import argparse

import torch
from torch import Tensor, nn

from reprogram.learners.base import Progress
from reprogram.registry import configure

DROP, NORM, DECADES = 1.28, 2.0, 3.0


class NoisyQuadratic:
    """The objective of a step: call `new_batch` before each."""

    whole_batch = False

    def __init__(self, size: int, batch: int, noise: float, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.num_images, self.noise, self.asked = batch, noise, 0
        curvature = 10 ** (DECADES * torch.rand(size, generator=self.generator))
        # |gradient|² = 2 · drop · tr H / d
        self.curvature = curvature * NORM**2 * size / (2 * DROP) / curvature.sum()
        self.axes = torch.linalg.qr(torch.randn(size, size, generator=self.generator)).Q
        direction = torch.randn(size, generator=self.generator)
        self.optimum = (2 * DROP) ** 0.5 * self.curvature.rsqrt() * direction / direction.norm()
        self.new_batch()

    def new_batch(self) -> None:
        """Draw other images."""
        shifts = torch.randn(self.num_images, len(self.optimum), generator=self.generator)
        self.shifts = self.noise / self.curvature.sum() ** 0.5 * self.curvature.rsqrt() * shifts

    def losses(self, points: Tensor, images: slice) -> Tensor:
        """The loss of each image at each point."""
        away, shifts = points @ self.axes - self.optimum, self.shifts[images]
        self.asked += len(points) * len(shifts)
        curved = away * self.curvature
        own = (self.curvature * shifts.square()).sum(dim=1)
        return ((curved * away).sum(dim=1, keepdim=True) - 2 * curved @ shifts.T + own) / 2

    def left(self, point: Tensor) -> float:
        """The part of the loss that is left."""
        away = point @ self.axes - self.optimum
        return float((self.curvature * away.square()).sum() / (2 * DROP))


def left_after(spec: str, size: int, batch: int, images: int, noise: float, seed: int) -> float:
    """Learn until another step would exceed the images."""
    variant, config = configure("learners", spec)
    torch.manual_seed(seed)
    learner, parameter = variant(config), nn.Parameter(torch.zeros(size))
    learner.start([parameter])
    objective = NoisyQuadratic(size, batch, noise, seed)
    while objective.asked + learner.num_losses * batch <= images:
        objective.new_batch()
        learner.step(objective, Progress(fraction=objective.asked / images, epoch=0))
    return objective.left(parameter.detach())


def main() -> None:
    """Print a line for each learner."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("learners", nargs="+")
    parser.add_argument("--size", type=int, default=147)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--noise", type=float, default=7.0)
    parser.add_argument("--seeds", type=int, default=4)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for spec in options.learners:
        arguments = options.size, options.batch, options.images, options.noise
        found = torch.tensor([left_after(spec, *arguments, seed) for seed in range(options.seeds)])
        print(f"{spec:60} {found.mean():.3f} ± {found.std() / len(found) ** 0.5:.3f}", flush=True)


if __name__ == "__main__":
    main()
