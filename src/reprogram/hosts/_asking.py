"""Ask a host that only answers: no image twice, several requests at once, and answers are kept with their bill."""

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from reprogram.errors import ReprogramError
from reprogram.framed import Framed
from reprogram.hosts._meter import Ledger, Meter
from reprogram.hosts._turns import Turns

DIGEST_BYTES = 16
"""128 bits: two of a billion images have the same digest with a probability of 1e-21."""


class Store(Ledger, Protocol):
    """Answers that were paid for, and the ledger of what was paid; `hosts/_store.py` implements and describes it."""

    used: int
    used_requests: int
    free: int
    before: dict[str, int]
    labels: tuple[str, ...]

    def learn(self, labels: Sequence[str]) -> None:
        """Keep the labels of a service, in the order of their columns.

        Args:
            labels: all of them.
        """
        raise NotImplementedError

    @property
    def mark(self) -> int:
        """The place of the last answer that this run has come to."""
        raise NotImplementedError

    def go_on(self, *, mark: int, used: int, used_requests: int, free: int) -> None:
        """Go on from a checkpoint.

        Args:
            mark: the checkpoint's.
            used: the checkpoint's.
            used_requests: the checkpoint's.
            free: the checkpoint's.
        """
        raise NotImplementedError

    def add(self, counts: dict[str, int]) -> None:
        """Add to the bill what an older state knows of and this store doesn't.

        Args:
            counts: by their names.
        """
        raise NotImplementedError

    def get(self, digests: Sequence[bytes]) -> dict[bytes, Tensor]:
        """The answers to some images, as far as they are there.

        Args:
            digests: of the images, no two the same.

        Returns:
            K scores (float32) by digest.
        """
        raise NotImplementedError

    def put(self, digests: Sequence[bytes], rows: Tensor, requests: list[int]) -> None:
        """Keep answers, and settle the requests that they came with, at once.

        Args:
            digests: b, of the images, no two the same.
            rows: b × K scores.
            requests: the requests' numbers in the ledger.
        """
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Asker:
    """Answers batches of images, from a store and by asking.

    Attributes:
        ask: a function of images (b × C × H × W, or a `Framed` batch where it was given one) that counts what it sends
            and returns b × K scores, or what `read` makes them of.
        meter: the host's.
        store: what was answered before; None asks for every image as it comes.
        salt: what beside the pixels decides an answer, such as the host's precision.
        size: the most images that are asked for at once; None for all.
        threads: how many threads ask at once.
        read: makes scores of what `ask` returned, for one request at a time.
        ordered: whether `read` depends on the order of the images: then it is called in their order.
    """

    ask: Callable[[Any], Any]
    meter: Meter
    store: Store | None
    salt: bytes = b""
    size: int | None = None
    threads: int = 1
    read: Callable[[Any], Tensor] = lambda found: found
    ordered: bool = False

    def answers(self, images: Tensor | Framed, as_sent: Callable[[Tensor], Tensor]) -> Tensor:
        """The answers to a batch, in its order.

        Args:
            images: b × C × H × W pixels, or a `Framed` batch.
            as_sent: turns pixels into the numbers by which an image is known again.

        Returns:
            b × K scores.
        """
        if self.store is None or not len(images):
            return self._asked(images, keep=lambda _, rows: rows)
        store, names = self.store, _digests(images, as_sent, self.salt)
        places = {name: place for place, name in reversed(list(enumerate(names)))}  # The first place of each image.
        known = store.get(list(places))
        missing = sorted(place for name, place in places.items() if name not in known)
        if missing:
            wanted = torch.tensor(missing)
            window = images.window if isinstance(images, Framed) else images

            def keep(part: slice, rows: Tensor) -> Tensor:
                rows = rows.detach().float().cpu()
                known.update(zip((names[place] for place in missing[part]), rows, strict=True))
                return rows

            self._asked(_some(images, wanted.to(window.device)), keep, [names[place] for place in missing])
        frame = images.frame if isinstance(images, Framed) else images
        return torch.stack([known[name] for name in names]).to(frame)

    def _asked(
        self,
        images: Tensor | Framed,
        keep: Callable[[slice, Tensor], Tensor],
        names: Sequence[bytes] | None = None,
    ) -> Tensor:
        """Ask for all images, request by request.

        Where one fails, nothing more is sent, and what is under way is kept before its error is raised.
        """
        count = len(images)
        size = self.size or max(count, 1)
        parts = [slice(start, min(start + size, count)) for start in range(0, count, size)] or [slice(0, 0)]

        turns = Turns(ordered=self.ordered)

        def one(number: int, part: slice) -> Tensor:
            some = images if len(parts) == 1 else _some(images, part)
            with torch.no_grad(), turns.working(number):  # Gradients are on in each new thread.
                with self.meter.batch() as requests:
                    found = self.ask(some)
                    try:
                        with turns.turn(number):
                            rows = self.read(found)
                            if self.store is not None and names is not None:
                                self.store.put(names[part], rows, requests)
                            return keep(part, rows)
                    except ReprogramError as error:  # It was answered all the same.
                        if self.store is not None:
                            self.store.settle(requests, "answered")
                        failure = error
                raise failure

        with self.meter.waiting():
            if len(parts) == 1 or self.threads == 1:
                return torch.cat([one(number, part) for number, part in enumerate(parts)])
            with ThreadPoolExecutor(self.threads) as pool:
                futures = [pool.submit(one, number, part) for number, part in enumerate(parts)]
        return torch.cat([future.result() for future in futures])


def exactly(images: Tensor) -> Tensor:
    """The bytes of pixels, by which images are known again that are sent as they are.

    Args:
        images: of any shape and type.

    Returns:
        uint8; the last axis is longer.
    """
    return images.contiguous().view(torch.uint8)


def _some(images: Tensor | Framed, rows: Any) -> Tensor | Framed:
    return replace(images, window=images.window[rows]) if isinstance(images, Framed) else images[rows]


def _digests(images: Tensor | Framed, as_sent: Callable[[Tensor], Tensor], salt: bytes) -> list[bytes]:
    """A digest of each image: a framed image has that of the whole image."""
    levels = as_sent(images.dense() if isinstance(images, Framed) else images).detach().cpu().numpy()
    return [hashlib.blake2b(image.tobytes(), digest_size=DIGEST_BYTES, key=salt).digest() for image in levels]
