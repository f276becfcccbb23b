"""Several noisy copies of each image are classified, and vote."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from reprogram.defences.base import Defence, straight_through
from reprogram.errors import ConfigError
from reprogram.framed import Framed
from reprogram.hosts._guard import Ask, Images
from reprogram.utils.finite import require_finite
from reprogram.utils.seeding import Draws


class Smoothing(Defence):
    """Shows how many of `copies` noisy copies have each label, or the mean of their probabilities.

    With v of n copies, the score of a label is log((v + 1/2) / (n + K/2)): a label without a vote has some evidence
    left. Certificates of this method need thousands of copies; they say nothing of programs, which change an image
    without bounds. Who knows it learns through the mean of the copies' probabilities, by its exact gradient; for votes
    that gradient stands in for theirs.

    Reference: Cohen, Rosenfeld and Kolter, Certified Adversarial Robustness via Randomized Smoothing, ICML 2019,
    section 3.2; Salman et al., Provably Robust Deep Learning via Adversarially Trained Smoothed Classifiers, NeurIPS
    2019, section 2.2 (the attack).
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            copies: n, 1 to 10,000; the host computes as many images.
            sigma: the standard deviation of each pixel's normal noise, in [0, 1] pixels; 0 or more.
            answer: `votes`, or the `mean` of the probabilities.
            seed: decides the noise.
        """

        copies: int = 10
        sigma: float = 0.1
        answer: Literal["votes", "mean"] = "votes"
        seed: int = 0

        def __post_init__(self) -> None:
            if not 1 <= self.copies <= 10_000:
                raise ConfigError(f"copies={self.copies}; 1 to 10,000 are expected")
            if not 0 <= self.sigma < 10:
                raise ConfigError(f"sigma={self.sigma}; 0 or a small positive number is expected")

    @classmethod
    def example(cls) -> Config:
        """A few copies."""
        return cls.Config(copies=3)

    def answer(self, ask: Ask, images: Images, draws: Draws) -> Tensor:
        """Classify the copies, one of each image at a time, and count."""
        whole = images.dense() if isinstance(images, Framed) else images
        copies, sigma = self.config.copies, self.config.sigma
        generators, votes, means = list(draws.generators()), torch.zeros(()), torch.zeros(())
        for _ in range(copies):
            noise = torch.stack([torch.randn(whole.shape[1:], generator=generator) for generator in generators])
            # clip(x + σ ε), as pixels; b x C x H x W
            scores = ask((whole + sigma * noise.to(whole)).clamp(0, 1))
            chances = scores.softmax(dim=1)
            require_finite(chances)
            labels = scores.detach().argmax(dim=1)
            exact = chances.to(torch.promote_types(chances.dtype, torch.float32))  # Half stops counting at 2,048.
            votes = votes.to(exact) + F.one_hot(labels, scores.shape[1])
            means = means.to(exact) + exact / copies
        mean = means.clamp_min(torch.finfo(means.dtype).tiny).log()
        if self.config.answer == "mean":
            return mean.to(scores)
        # log((v + 1/2) / (n + K/2)), b x K
        return straight_through(((votes + 0.5) / (copies + votes.shape[1] / 2)).log(), mean).to(scores)
