"""Expectation over transformation: the mean loss of several draws a step, for hosts that answer by chance."""

from contextlib import AbstractContextManager
from dataclasses import dataclass

from torch import Tensor, nn

from reprogram.errors import ConfigError
from reprogram.learners.base import Learner, Objective, Progress
from reprogram.registry import configure


class Eot(Learner):
    """Minimises the mean loss over what the host draws, as another learner does; each step asks `samples` times.

    Its attacker has the weights and knows the defence, such as `random-padding` or `smoothing`: he draws as it does. In
    the end the host is asked once about an image. Who only asks takes more images, or the host `averaged`.

    Reference: Athalye, Engstrom, Ilyas and Kwok, Synthesizing Robust Adversarial Examples, ICML 2018, section 2.1.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            learner: spec of the learner; one that follows gradients.
            samples: draws a step, 1 to 1,000.
        """

        learner: str = "adam"
        samples: int = 4

        def __post_init__(self) -> None:
            if not 1 <= self.samples <= 1_000:
                raise ConfigError(f"samples={self.samples}; 1 to 1,000 are expected")

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        variant, options = configure("learners", config.learner)
        self.inner: Learner = variant(options)
        if self.inner.access != "gradient" or isinstance(self.inner, Eot):
            raise ConfigError(
                f"eot: learner={config.learner!r}; one that follows gradients is expected, such as 'adam'"
            )

    @property
    def num_losses(self) -> int:
        """One for each draw."""
        return int(self.config.samples)

    def start(self, parameters: list[nn.Parameter]) -> None:
        """Take over the parameters to learn; see `Learner.start`."""
        self.inner.start(parameters)

    def step(self, objective: Objective, progress: Progress) -> float:
        """One step of the other learner down the mean loss."""
        return self.inner.step(_Mean(objective, self.config.samples), progress)

    def eval_weights(self) -> AbstractContextManager[None]:
        """Those of the other learner."""
        return self.inner.eval_weights()

    def state_dict(self) -> dict[str, Tensor]:
        """The tensors of the other learner."""
        return self.inner.state_dict()

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue from what `state_dict` returned."""
        self.inner.load_state_dict(state)


class _Mean:
    """The mean of an objective over what the host draws."""

    def __init__(self, objective: Objective, samples: int) -> None:
        self.objective, self.samples = objective, samples

    @property
    def num_images(self) -> int:
        """The images of the batch."""
        return self.objective.num_images

    @property
    def whole_batch(self) -> bool:
        """Whether an image's loss depends on the others'."""
        return self.objective.whole_batch

    def __call__(self) -> Tensor:
        """The mean of as many losses."""
        # (L_1 + ... + L_n) / n, each with draws of its own
        loss = self.objective() / self.samples
        for _ in range(self.samples - 1):
            loss = loss + self.objective() / self.samples
        return loss

    def losses(self, points: Tensor, images: slice) -> Tensor:
        """The losses of several points, asked once."""
        return self.objective.losses(points, images)
