"""Questions beside the cells: whether the host agrees with itself, what its numbers are, and what its gradients say."""

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from reprogram.auditing.report import Probe
from reprogram.errors import ConfigError, DataError, HostUnavailableError
from reprogram.hosts._sentinels import fixed_images
from reprogram.hosts._store import billed_in
from reprogram.hosts.base import Host
from reprogram.runs.asked import AskedLog
from reprogram.training.answers import keeping_answers
from reprogram.utils.files import read_json, write_atomic

FIXED, SHOWN = 16, 16
"""Images of coloured tiles, and images of the first task as its canvas shows them."""

PASSES = ("pass1", "pass2", "pass3")
"""The names of the passes: two at the start, one at the end."""

T = TypeVar("T")

PATIENCE_S = 300.0
"""Seconds that a host may take to answer the images of a pass."""

MOST_DECIMALS = 4
"""The most decimals that numbers are looked for to be rounded to."""


class Prober:
    """Asks the host the same images three times, and keeps each pass's answers in a file, so that none is asked again.

    Args:
        host: the host as it answers on its own rung.
        images: b × C × H × W pixels in [0, 1].
        labels: b, a host label for each image, for the gradients of the loss.
        folder: of the files.

    Attributes:
        log: of what is asked and has no store of answers.
        limit: the most images that are asked beside the cells, with those of processes that were killed; None for no
            limit.
    """

    def __init__(self, host: Host, images: Tensor, labels: Tensor, folder: Path) -> None:
        self.host, self.images, self.labels, self.folder = host, images, labels, folder
        self.log = AskedLog(folder / "asked.txt")
        self.limit: int | None = None

    @property
    def done(self) -> int:
        """The images of the passes whose answers are here, those for gradients included."""
        return len(self.images) * sum((self.folder / f"{name}.json").exists() for name in (*PASSES, "gradients"))

    @property
    def lost(self) -> int:
        """The images of finished passes whose answers never came whole."""
        found = [self._read(name) for name in PASSES]
        return sum(int(values["lost"]) for values in found if isinstance(values, dict))

    @property
    def spent(self) -> int:
        """All that was asked beside the cells, lost images and those of killed processes included."""
        if self.host.info.access == "gradient":
            return self.log.total
        return self.log.total + self.done + self.lost + self._under_way

    @property
    def _under_way(self) -> int:
        """The images of a pass that a killed process had begun."""
        begun = [name for name in PASSES if not (self.folder / f"{name}.json").exists()]
        return sum(billed_in(self.folder / f"{name}.sqlite") for name in begun)

    def begin(self, patience_s: float = PATIENCE_S) -> None:
        """Ask the two passes at the start.

        Args:
            patience_s: seconds that each may take.

        Raises:
            HostUnavailableError: the host doesn't answer in this time, or with numbers that aren't finite.
            ReprogramError: the host refuses.
        """
        for name in PASSES[:2]:
            self._pass(name, patience_s)
        if self.host.info.access == "gradient" and self._read("gradients") is None:
            with self._limited(), self.log.counting(self.host):
                self._write("gradients", gradients(self.host, self.images, self.labels))

    def end(self, patience_s: float = PATIENCE_S) -> Probe:
        """Ask the pass at the end.

        Args:
            patience_s: seconds that it may take.

        Returns:
            What all passes found.
        """
        first, second, last = (self._pass(name, patience_s) for name in PASSES)
        return judge(first, second, last, self.host, self._read("gradients") or {})

    def _pass(self, name: str, patience_s: float) -> Tensor:
        """The answers of a pass: those of the file, or else those that are asked now and kept there."""
        stored = self._read(name)
        if stored is not None:  # Earlier versions wrote the scores alone.
            return torch.tensor(stored["scores"] if isinstance(stored, dict) else stored, dtype=torch.float64)
        store, lost = self.folder / f"{name}.sqlite", self.host.meter.lost
        asking = keeping_answers(self.host, store, run=f"probe {name[-1]}", anew=True)
        with self._limited(), asking, self.log.counting(self.host):
            scores: Tensor = in_time(lambda: self.host(self.images), patience_s, self.host.info.id).double().cpu()
        if not bool(torch.isfinite(scores).all()):
            raise HostUnavailableError(
                f"host {self.host.info.id}: answers with numbers that aren't finite (NaN or infinity); mend the host"
            )
        self._write(name, {"scores": scores.tolist(), "lost": self.host.meter.lost - lost})
        for end in ("", "-wal", "-shm"):
            store.with_name(store.name + end).unlink(missing_ok=True)
        return scores

    @contextlib.contextmanager
    def _limited(self) -> Iterator[None]:
        """In the block, the meter refuses what would exceed the limit."""
        meter = self.host.meter
        if self.limit is not None:  # A pass that goes on adds what was under way to the meter.
            meter.total_limit = meter.billed + self.limit - self.spent + self._under_way
        try:
            yield
        finally:
            meter.total_limit = None

    def _read(self, name: str) -> Any:
        path = self.folder / f"{name}.json"
        try:
            return read_json(path) if path.exists() else None
        except (OSError, ValueError):
            raise DataError(f"{path}: is damaged; remove it and give the command again") from None

    def _write(self, name: str, values: Any) -> None:
        write_atomic(self.folder / f"{name}.json", json.dumps(values).encode())


def in_time(ask: Callable[[], T], patience_s: float, name: str) -> T:
    """What a function returns, if it returns in time; one that hangs is left alone.

    Args:
        ask: asks the host.
        patience_s: seconds that it may take.
        name: of the host, for the message.

    Raises:
        ConfigError: the time is no positive number of seconds.
        HostUnavailableError: it didn't return in time.
    """
    if not 0 < patience_s <= threading.TIMEOUT_MAX:
        raise ConfigError(f"patience={patience_s:g}; a positive number of seconds is expected")
    found: list[T] = []
    failed: list[BaseException] = []

    def work() -> None:
        try:
            with torch.no_grad():
                found.append(ask())
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(patience_s)
    if failed:
        raise failed[0]
    if not found:
        raise HostUnavailableError(
            f"host {name}: gave no answer in {patience_s:g} seconds; nothing more is asked, make it answer or raise "
            "--patience"
        )
    return found[0]


def probe_images(host: Host, shown: Tensor) -> Tensor:
    """The images of a pass: coloured tiles, and canvases of a task.

    Args:
        host: whose input they are.
        shown: n × C × H × W canvases.
    """
    tiles = fixed_images(FIXED, host.info).to(host.mean)
    return torch.cat([tiles, shown[:SHOWN].to(host.mean)])


def gradients(host: Host, images: Tensor, labels: Tensor) -> dict[str, float]:
    """What the gradients of the loss by the input say of a host.

    Args:
        host: a host that gives gradients.
        images: b × C × H × W pixels.
        labels: b host labels.

    Returns:
        zero: the part of the gradients' numbers that are exactly 0. size: the sum of the absolute numbers of the
        average gradient, ‖1/b Σ g‖₁, by which a step of ε in each number lowers the loss to first order, as a multiple
        of ε. alignment: ‖Σ g‖₂ / Σ ‖g‖₂, 1 where all images' gradients point the same way. Empty where no gradient can
        be computed.

    Reference: Zheng et al., Why Adversarial Reprogramming Works, When It Fails, and How to Tell the Difference,
    Information Sciences 632, 2023 (arXiv 2108.11673), section 3.
    """
    rows = []
    try:
        with torch.enable_grad():
            for image, label in zip(torch.split(images, 4), torch.split(labels, 4), strict=True):
                pixels = image.clone().requires_grad_()
                loss = F.cross_entropy(host(pixels), label, reduction="sum")
                (gradient,) = torch.autograd.grad(loss, pixels)
                rows.append(gradient.double().flatten(1).cpu())
    except RuntimeError:  # Such as an operation without a gradient.
        return {}
    all_rows = torch.cat(rows)
    lengths = all_rows.norm(dim=1)
    mean = all_rows.mean(dim=0)
    return {
        "zero": float((all_rows == 0).double().mean()),
        "size": float(mean.abs().sum()),
        # ‖Σ g‖ / Σ ‖g‖
        "alignment": float(mean.norm() / lengths.mean()) if float(lengths.sum()) > 0 else 0.0,
    }


def judge(first: Tensor, second: Tensor, last: Tensor | None, host: Host, of_gradients: dict[str, float]) -> Probe:
    """What the passes found.

    Args:
        first: b × K scores.
        second: those of the same images, asked again at once.
        last: those at the end; None where nobody asked.
        host: that answered.
        of_gradients: what `gradients` returned, or nothing.
    """
    tops = [scores.argmax(dim=1) for scores in (first, second, *([] if last is None else [last]))]
    shares = [scores.softmax(dim=1) for scores in (first, second)]
    passes = 2 + (last is not None)
    return Probe(
        images=len(first),
        passes=passes,
        asked=len(first) * (passes + bool(of_gradients)),
        disagreement=float((tops[0] != tops[1]).double().mean()),
        largest_difference=float((shares[0] - shares[1]).abs().max()),
        drift=None if last is None else float((tops[0] != tops[2]).double().mean()),
        decimals=decimals(first) if host.info.access != "label" else None,
        looks_normalised=bool(((first >= 0).all(dim=1) & ((first.sum(dim=1) - 1).abs() < 1e-3)).all()),
        labels_used=len(torch.unique(tops[0])),
        constant=bool((first - first[:1]).abs().amax() <= 1e-6 * first.abs().amax().clamp(min=1e-30)),
        zero_gradient=of_gradients.get("zero"),
        gradient_size=of_gradients.get("size"),
        gradient_alignment=of_gradients.get("alignment"),
    )


def decimals(scores: Tensor) -> int | None:
    """The decimals that the highest number of each image is rounded to; None for more than `MOST_DECIMALS`.

    Scores that are logarithms of probabilities are read as probabilities.

    Args:
        scores: b × K.
    """
    highest = scores.amax(dim=1).numpy()
    as_logarithms = bool((scores <= 0).all()) and bool(((scores.exp().sum(dim=1) - 1).abs() < 0.05).all())
    numbers = np.exp(highest) if as_logarithms else highest
    if len(np.unique(numbers.round(8))) < 2:
        return None
    for places in range(MOST_DECIMALS + 1):
        scaled = numbers * 10**places
        if np.all(np.abs(scaled - scaled.round()) < 1e-4):
            return places
    return None


def remember(folder: Path, found: dict[str, Any]) -> dict[str, Any]:
    """What was noted at the first start of an audit in a folder, or what is noted now.

    Args:
        folder: of the probe's files.
        found: JSON values to note.
    """
    path = folder / "host.json"
    with contextlib.suppress(OSError, ValueError):
        stored: dict[str, Any] = read_json(path)
        return stored
    write_atomic(path, (json.dumps(found, indent=2) + "\n").encode())
    return found
