"""Hosts that only answer: images leave as a service receives them, and no image is asked for twice."""

from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from reprogram.framed import Framed
from reprogram.hosts._encoding import Encoding, as_sent
from reprogram.hosts.base import Host


class AnsweringHost(Host):
    """A host that answers images with scores, and gives nothing else. A subclass implements `ask`.

    Where a store of answers is attached (`answers`), images that it holds aren't asked for, and an image that occurs
    repeatedly in a batch is asked for once. Images are known again by their 8-bit pixels as they are sent.

    Attributes:
        is_local: whether this process computes the answers; if not, nothing is ever asked that isn't counted.
        encoding: the format in which images are sent.
        quality: of JPEG, 1 to 100.
        images_per_request: the most images of one `ask`; None for all at once.
        concurrent_requests: how many threads ask at once.
        takes_framed: whether `ask` takes `Framed` batches, which a local engine computes faster.
    """

    encoding: Encoding = "png"
    quality: int = 95
    takes_framed: bool = False

    def ask(self, images: Any) -> Any:
        """Ask for some images. Several threads may call it at once, where `concurrent_requests` says so.

        It counts what it sends: by `meter.request` around each attempt of a request, or by `meter.count` before a local
        host computes. All of it happens in the calling thread.

        Args:
            images: b × C × H × W, multiples of 1/255 in [0, 1], at most `images_per_request` of them. Where
                `takes_framed` says so, possibly a `Framed` batch.

        Returns:
            b × K scores, the evidence of the answers; or what `read` makes them of.

        Raises:
            BudgetError: the meter has a limit that doesn't allow it.
        """
        raise NotImplementedError

    def read(self, found: Any) -> Float[Tensor, "b K"]:
        """The scores of what `ask` returned; one call at a time, in the order of the images where `is_ordered`.

        Args:
            found: what `ask` returned.
        """
        scores: Tensor = found
        return scores

    @property
    def is_ordered(self) -> bool:
        """Whether `read` depends on the images that were read before."""
        return False

    def forward(self, pixels: Any, labels: Tensor | None = None) -> Float[Tensor, "b K"]:
        """Answer canvases.

        Args:
            pixels: in [0, 1], b × C × H × W or a `Framed` batch; they are rounded to 8 bits and encoded.
            labels: has no effect: a service computes all.

        Returns:
            b × K scores, the evidence of what is shown; without a gradient.
        """
        if not len(pixels):
            return self.mean.new_empty(0, self.info.num_classes)
        with torch.no_grad():
            images = as_sent(pixels, self.encoding, self.quality)
            if isinstance(images, Framed) and not self.takes_framed:
                images = images.dense()
            asker = replace(self._asker(self.ask), read=self.read, ordered=self.is_ordered)
            return asker.answers(images, levels)


def levels(images: Tensor) -> Tensor:
    """The 8-bit levels of images.

    Args:
        images: multiples of 1/255, of any shape.

    Returns:
        uint8, of the same shape.
    """
    return (images * 255).round().clamp(0, 255).to(torch.uint8)
