"""What is served: programs on one host by their names, and the host itself; how they are asked, and what is shown."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor

from reprogram.errors import ConfigError, DataError
from reprogram.hosts._shown import Shown
from reprogram.hosts._told import shown_by
from reprogram.model import Reprogrammed
from reprogram.serving.batcher import Outcome
from reprogram.serving.options import MOST_DECIMALS, ServeOptions
from reprogram.serving.shared_host import SharedHost
from reprogram.utils import images as image_files
from reprogram.utils.photographs import as_photograph

HOST = "host"
"""The name under which the host itself is asked, without a program."""

PIXELS_OF_ALL = 4
"""The files of a request may have so many times the pixels that one may have."""

Detector = Callable[[Sequence[Any], str, Mapping[str, Any]], Sequence[Any]]
"""What looks at the images that the host itself was sent, such as `Watch.see`: it is called with b images of C × H × W
levels (uint8), with who sent them, and with the host's b × K "scores"; it returns alarms, which have a `detector`."""


@dataclass(frozen=True, kw_only=True)
class Served:
    """One thing that can be asked.

    Attributes:
        name: by which clients ask it.
        version: changes with its weights.
        labels: of its scores.
        shape: c, h, w of its images.
        index: of the program among the models; None for the host itself.
    """

    name: str
    version: str
    labels: tuple[str, ...]
    shape: tuple[int, int, int]
    index: int | None


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a client sees of the scores of b images.

    Attributes:
        numbers: b × k for each kind that is shown.
        order: b × m, the labels that are shown; the first of each row has the largest number.
        only_first: whether the numbers of other labels are no answer, so that a tensor of numbers follows the order.
    """

    numbers: Mapping[str, np.ndarray]
    order: np.ndarray
    only_first: bool = False


class Answering:
    """Programs on one host, and the host itself.

    Args:
        models: by the names under which they are asked; all of one host.
        versions: of the models, by name.
        options: what is shown.

    Raises:
        ConfigError: models of different hosts, or a name that isn't one.
    """

    def __init__(self, models: Mapping[str, Reprogrammed], versions: Mapping[str, str], options: ServeOptions) -> None:
        self.models = list(models.values())
        self.together = SharedHost(self.models, names=[*models])
        self.host, self.options = self.together.host, options
        info = self.host.info
        self.served = {
            name: Served(
                name=name,
                version=versions[name],
                labels=model.task.classes,
                shape=model.task.shape,
                index=index,
            )
            for index, (name, model) in enumerate(models.items())
        }
        labels = tuple(map(info.label, range(info.num_classes)))
        version = self.host.fingerprint.rpartition(":")[2][:12]
        self.served[HOST] = Served(name=HOST, version=version, labels=labels, shape=info.shape, index=None)

    def compute(self, batches: Mapping[str, Tensor]) -> dict[str, Outcome]:
        """Ask programs and host for scores.

        Args:
            batches: b × c × h × w by name: uint8, or pixels in [0, 1].

        Returns:
            b × k scores of the name's labels, and the b × K scores of the host, by name; both are logits on the CPU.

        Raises:
            ConfigError: a score isn't finite.
        """
        outcomes: dict[str, Outcome] = {}
        device = self.models[0].canvas.frame.device
        asked = {self.served[name].index: images.to(device) for name, images in batches.items()}
        with torch.no_grad():
            if (bare := asked.pop(None, None)) is not None:
                scores = self.host(bare.float() / 255 if bare.dtype == torch.uint8 else bare)
                outcomes[HOST] = scores, scores
            if asked:
                empty = [model.canvas.frame.new_empty(0, *model.task.shape) for model in self.models]
                every = self.together.host_scores([asked.get(index, empty[index]) for index in range(len(empty))])
                for name in batches.keys() - {HOST}:
                    index = self.served[name].index
                    assert index is not None
                    model, answers = self.models[index], every[index]
                    outcomes[name] = model.label_map(answers), model.program.host_answer(answers)
        for name, (scores, of_host) in outcomes.items():
            if not torch.isfinite(scores).all():
                raise ConfigError(f"{name}: the host's scores aren't finite")
            outcomes[name] = scores.float().cpu(), of_host.float().cpu()
        return outcomes

    def warm_up(self) -> None:
        """Ask everything once, so that the first client doesn't wait for what is prepared only once."""
        self.compute({name: torch.zeros(1, *served.shape) for name, served in self.served.items()})

    def decode(self, served: Served, files: Sequence[bytes]) -> Tensor:
        """Image files as what is asked expects them.

        For a program they are resized to cover the task image and cut to its centre, as `reprogram predict` does it.
        For the host an image of the host's own size stays as it is; any other is resized and cut as a photograph.

        Args:
            served: what is asked.
            files: b files.

        Returns:
            b × c × h × w, uint8.

        Raises:
            DataError: one is no image, damaged or too large, or all together have too many pixels.
        """
        left, images = PIXELS_OF_ALL * self.options.max_pixels, []
        for number, file in enumerate(files, start=1):
            name = "the image" if len(files) == 1 else f"image {number}"
            image = image_files.read_bytes(file, most_pixels=min(left, self.options.max_pixels), name=name)
            left -= image.width * image.height
            images.append(self._fitted(served, image))
        return torch.stack(images)

    def _fitted(self, served: Served, image: Image) -> Tensor:
        channels, height, width = served.shape
        if served.index is not None:
            return image_files.to_tensor(image_files.fit(image, height, width), channels)
        if image.size == (width, height):
            return image_files.to_tensor(image, channels)
        info = self.host.info
        pixels = as_photograph(
            image, size=info.size, crop=info.crop, interpolation=info.interpolation, channels=channels
        )
        return (pixels[0] * 255).round().byte()

    @torch.no_grad()
    def canvas(self, served: Served, image: Tensor) -> bytes:
        """What the host sees of an image, as a PNG file: the canvas with the program around it.

        Args:
            served: what is asked.
            image: c × h × w, uint8.
        """
        if served.index is None:
            return image_files.to_png(image.float() / 255)
        model = self.models[served.index]
        batch = image[None].to(model.canvas.frame.device)
        return image_files.to_png(model.program(model.canvas(batch)).dense()[0])

    def options_of(self, served: Served) -> ServeOptions:
        """What clients see of something: of a host that shows less than its scores, no more than the host shows.

        Args:
            served: what is asked.
        """
        shown = shown_by(self.host) if served.index is None else None
        return self.options if shown is None else narrowed(self.options, shown)

    def see(self, served: Served, scores: Tensor) -> Seen:
        """What a client sees of scores.

        Args:
            served: what was asked.
            scores: b × k, logits.
        """
        options, scores = self.options_of(served), scores.double()
        if not options.is_black_box:
            every = {"logits": scores.numpy(), "probabilities": scores.softmax(dim=1).numpy()}
            return Seen(numbers=every, order=scores.argsort(dim=1, descending=True, stable=True).numpy())
        noise = torch.randn_like(scores) if options.noise else None
        exact, shown = shown_with(options, rounded=False).answer(scores, noise)
        ordered = exact.masked_fill(~shown, -torch.inf).argsort(dim=1, descending=True, stable=True)
        rounded, _ = shown_with(options, rounded=True).answer(scores, noise)
        numbers: dict[str, np.ndarray] = {} if options.answers == "label" else {options.kind: rounded.numpy()}
        order = ordered[:, : options.num_shown(scores.shape[1])].numpy()
        return Seen(numbers=numbers, order=order, only_first=options.answers == "topk")


def shown_with(options: ServeOptions, *, rounded: bool) -> Shown:
    """What options show of scores.

    Args:
        options: the server's, or those of a host that shows less.
        rounded: whether numbers are rounded.
    """
    return Shown(
        labels={"topk": options.k, "label": 1}.get(options.answers),
        numbers=options.answers != "label",
        kind=options.kind,
        round=options.round if rounded else None,
        noise=options.noise,
    )


def narrowed(options: ServeOptions, shown: Shown) -> ServeOptions:
    """Options that show no more of a host than it shows itself.

    Args:
        options: the server's.
        shown: what the host shows of its scores.
    """
    if not shown.numbers or shown.floor is not None:  # Which labels lie below a floor differs from image to image.
        return replace(options, answers="label", k=ServeOptions.k)
    if options.answers == "label":
        return options
    decimals = None if shown.round is None else min(shown.round + 2 * (shown.kind == "percent"), MOST_DECIMALS)
    rounds = [number for number in (options.round, decimals) if number is not None]
    labels = [options.k] if options.answers == "topk" else []
    labels += [] if shown.labels is None else [shown.labels]
    return replace(
        options,
        answers="topk" if labels else "scores",
        k=min(labels, default=options.k),
        round=min(rounds, default=None),
        kind="logits" if shown.kind == "logits" else options.kind,
    )


def checked_pixels(images: Tensor) -> Tensor:
    """Pixels that a client sent as floating point.

    Args:
        images: b × c × h × w.

    Returns:
        The same, float32.

    Raises:
        DataError: a value isn't in [0, 1].
    """
    images = images.float()
    if not bool(((images >= 0) & (images <= 1)).all()):  # NaN is neither.
        raise DataError("the tensor holds values outside of [0, 1]; send pixels in [0, 1], or levels as UINT8")
    return images


def watched(detectors: Sequence[Detector], images: Tensor, account: str, scores: Tensor) -> list[Any]:
    """Show images that the host itself was sent to detectors.

    Args:
        detectors: called one after the other.
        images: b × C × H × W: uint8, or pixels in [0, 1].
        account: who sent them.
        scores: b × K, the host's answers.

    Returns:
        The alarms of all of them.
    """
    levels = list(images if images.dtype == torch.uint8 else (images * 255).round().byte())
    answers = {"scores": scores.double().numpy()}
    return [alarm for detector in detectors for alarm in detector(levels, account, answers)]
