"""A classifier in an ONNX file, run by ONNX Runtime: `onnx:FILE`, also one that `reprogram export` wrote."""

import hashlib
import importlib.util
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from reprogram.errors import ConfigError, HostUnavailableError
from reprogram.hosts._frozen import LogProbabilities
from reprogram.hosts._info import MAX_SIZE, HostInfo
from reprogram.hosts._naming import host_id, one_line
from reprogram.hosts._wrap import probe
from reprogram.hosts.base import Host, HostSource
from reprogram.utils.files import exists, why_missing
from reprogram.utils.onnx_runtime import session

TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}
"""The types of pixels that a file may take, beside uint8, by their names in ONNX Runtime."""

SIDE_FILES = (".data", "_data")
"""What the names of second files with weights end with, as PyTorch and Hugging Face write them."""


class Onnx(HostSource):
    """A classifier in an ONNX file: one input, a batch of images, and a row of scores for each of them.

    A file that `reprogram export` wrote is a host without further options: its task images are the host's input, its
    task's classes the host's labels. Of any other file the options say what it doesn't: the preprocessing, the size
    where it takes several, the labels. It gives scores and no gradient: programs are learned on it by asking.

    ONNX Runtime runs the file; it holds no code. It is taken from your command line or configuration alone.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            path: of the file.
            size: height and width of its images in pixels; 0 takes the file's own.
            mean: subtracted from [0, 1] pixels, one value a channel; empty for none.
            std: divides the difference, one value a channel; empty for none.
            class_names: the labels, or the name of a .txt file with one a line; empty takes those that the file keeps.
            outputs: what the file gives: scores, or probabilities.
            input: the name of the images' input; empty where there is one input.
            output: the name of the scores' output; empty for the first.
            layout: nchw, or nhwc where channels come last; empty tells it by the file's shapes.
            interpolation: for photographs.
            crop: the central part of a photograph's shorter side.
            licence: of the weights; empty takes what the file says.
        """

        path: str
        size: int | tuple[int, int] = 0
        mean: tuple[float, ...] = ()
        std: tuple[float, ...] = ()
        class_names: tuple[str, ...] | str = ()
        outputs: Literal["scores", "probabilities"] = "scores"
        input: str = ""
        output: str = ""
        layout: Literal["", "nchw", "nhwc"] = ""
        interpolation: str = "bilinear"
        crop: float = 0.875
        licence: str = ""

    @classmethod
    def example(cls) -> Config:
        """A file that tests write first."""
        return cls.Config(path="example.onnx")

    @classmethod
    def needs(cls, config: Config) -> list[Path]:
        """The file, and that of the labels."""
        names = config.class_names
        return [Path(config.path), *([Path(names)] if isinstance(names, str) and names.endswith(".txt") else [])]

    def build(self, *, download: bool = False) -> Host:
        """Open the file and ask it for a blank image."""
        config, path = self.config, Path(self.config.path)
        opened = _opened(path)
        net = Network(opened, path, config)
        texts = dict(opened.get_modelmeta().custom_metadata_map)
        mean, std = config.mean or (0.0,) * net.channels, config.std or (1.0,) * net.channels
        if net.takes_levels and (any(mean) or any(value != 1 for value in std)):
            raise ConfigError(f"{path}: takes uint8 pixels, which aren't normalised; leave mean and std out")
        blank = torch.full((1, net.channels, *net.size), 0.5)
        scores = probe(net, blank, config.outputs, self.spec())
        info = HostInfo(
            id=self.spec(),
            num_classes=scores.shape[1],
            size=net.size,
            channels=net.channels,
            mean=mean,
            std=std,
            interpolation=config.interpolation,
            crop=config.crop,
            class_names=self._names(texts, scores.shape[1]),
            licence=config.licence or texts.get("host_licence") or texts.get("license") or "unknown",
            access="scores",
        )
        whole = LogProbabilities(net, info.id) if config.outputs == "probabilities" else net
        host = OnnxHost(whole, info)
        host.path, host.options = path, repr((config.outputs, config.input, config.output, config.layout))
        return host

    def spec(self) -> str:
        """The spec, with the files' names instead of their paths."""
        names = self.config.class_names
        is_file = isinstance(names, str) and names.endswith(".txt")
        short = replace(self.config, class_names=Path(names).name) if is_file else self.config
        return host_id("onnx", Path(self.config.path).name, short, skip="path")

    def nameable(self) -> bool:
        """False: this source opens files."""
        return False

    def _names(self, texts: dict[str, str], count: int) -> tuple[str, ...] | None:
        """The labels: those of the options, or those that the file keeps; None where neither says them."""
        names: Any = self.config.class_names
        if isinstance(names, str) and not names.endswith(".txt"):
            names = [name.strip() for name in names.split(",") if name.strip()]
        elif isinstance(names, str):
            try:
                names = Path(names).read_text(encoding="utf-8").splitlines()
            except (OSError, ValueError) as error:
                raise ConfigError(f"{names}: can't be read ({one_line(error)}); give a label a line") from None
        if not names and "class_names" in texts:
            try:
                names = json.loads(texts["class_names"])
            except (ValueError, RecursionError):
                names = None  # Others may use the word for what they like.
            if not isinstance(names, list) or len(names) != count or not all(isinstance(name, str) for name in names):
                return None
        if names and len(names) != count:
            raise ConfigError(f"{self.config.path}: {len(names)} class names for {count} scores; give a name for each")
        return tuple(names) if names else None


class OnnxHost(Host):
    """A host whose weights are in a file that another runtime reads.

    Attributes:
        path: the file.
        options: how it is read.
    """

    path: Path
    options: str

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the files and of how they are read."""
        info = self.info
        text = repr((info.shape, info.mean, info.std, info.num_classes, self.options))
        digest = hashlib.sha256(text.encode())
        for path in (self.path, *(self.path.with_name(self.path.name + end) for end in SIDE_FILES)):
            if exists(path):
                with path.open("rb") as file:
                    while block := file.read(2**20):
                        digest.update(block)
        return digest.hexdigest()


class Network(nn.Module):
    """An ONNX file as a module; a copy of it is itself.

    Args:
        opened: the `onnxruntime.InferenceSession`.
        path: the file, for errors.
        config: the options.

    Raises:
        ConfigError: its input is no batch of images, or the options don't fit it.
    """

    def __init__(self, opened: Any, path: Path, config: Onnx.Config) -> None:
        super().__init__()
        self.opened = opened
        inputs, outputs = (
            {value.name: value for value in values} for values in (opened.get_inputs(), opened.get_outputs())
        )
        self.input = _named(path, "input", config.input, list(inputs), only=True)
        self.output = _named(path, "output", config.output, list(outputs), only=False)
        kind, shape = inputs[self.input].type, list(inputs[self.input].shape)
        self.takes_levels = kind == "tensor(uint8)"
        if len(shape) != 4 or not (self.takes_levels or kind in TYPES):
            raise ConfigError(
                f"{path}: its input {self.input!r} is {kind} {shape}; a batch of images in four axes, of floats or "
                "uint8, is expected"
            )
        self.taken: Any = np.uint8 if self.takes_levels else TYPES[kind]
        last = config.layout == "nhwc" or (not config.layout and shape[3] in (1, 3) and shape[1] not in (1, 3))
        self.axes = (0, 2, 3, 1) if last else (0, 1, 2, 3)
        batch, *image = shape
        channels, *size = (image[2], *image[:2]) if last else image
        self.batch = batch if isinstance(batch, int) else 0
        self.channels = channels if isinstance(channels, int) else 3
        self.size = self._size(path, config.size, size)

    def _size(self, path: Path, stated: int | tuple[int, int], own: list[Any]) -> tuple[int, int]:
        """Height and width in pixels: those of the file, or where it takes several those of the options."""
        asked = (stated, stated) if isinstance(stated, int) else stated
        sides = [side if isinstance(side, int) else asked[i] for i, side in enumerate(own)]
        if not all(sides):
            raise ConfigError(f"{path}: takes images of any size; say which: ?size=224")
        if any(asked) and tuple(sides) != tuple(asked):
            raise ConfigError(f"{path}: takes images of {sides[0]}x{sides[1]} pixels; leave size out")
        if not all(1 <= side <= MAX_SIZE for side in sides):
            raise ConfigError(f"{path}: size={stated}; 1 to {MAX_SIZE} pixels are expected")
        return sides[0], sides[1]

    def __deepcopy__(self, memo: dict[int, Any]) -> "Network":
        return self

    def forward(self, pixels: Tensor) -> Tensor:
        """Run the file.

        Args:
            pixels: b × C × H × W, normalised; in [0, 1] where it takes uint8 levels.

        Returns:
            b × K scores, without a gradient.
        """
        values = pixels.detach()
        values = (values * 255).round().clamp(0, 255) if self.takes_levels else values
        images = np.ascontiguousarray(values.permute(self.axes).cpu().numpy().astype(self.taken))
        if not self.batch:
            return self._scores(images).to(pixels.device)
        rows = []
        for start in range(
            0, len(images), self.batch
        ):  # A file of a fixed number of images gets copies beside the last.
            part = images[start : start + self.batch]
            filled = np.concatenate([part, *[part[-1:]] * (self.batch - len(part))])
            rows.append(self._scores(filled)[: len(part)])
        return torch.cat(rows).to(pixels.device) if rows else torch.zeros(0, 1)

    def _scores(self, images: Any) -> Tensor:
        (scores,) = self.opened.run([self.output], {self.input: images})
        return torch.from_numpy(np.asarray(scores, dtype=np.float32))


def _opened(path: Path) -> Any:
    """The file's session."""
    if importlib.util.find_spec("onnxruntime") is None:
        raise HostUnavailableError(f"onnx:{path}: needs onnxruntime; pip install 'reprogram[onnx]'")
    if not path.is_file():
        raise HostUnavailableError(f"{path}: {why_missing(path)}; give the path of an ONNX file")
    try:
        return session(path)
    except Exception as error:  # ONNX Runtime raises whatever it meets.
        raise HostUnavailableError(
            f"{path}: ONNX Runtime can't open it ({one_line(error)}); get the file anew"
        ) from None


def _named(path: Path, what: str, name: str, names: list[str], *, only: bool) -> str:
    """The input or output of a name; without one the only one, or the first."""
    if name and name not in names:
        raise ConfigError(f"{path}: no {what} {name!r}; it has {', '.join(names)}")
    if not name and (not names or (only and len(names) > 1)):
        raise ConfigError(f"{path}: has the {what}s {', '.join(names) or 'none'}; say which: ?{what}=NAME")
    return name or names[0]
