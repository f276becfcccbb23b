"""CLIP and SigLIP with class names as text: `open-clip:ViT-B-32?weights=laion2b_s34b_b79k&classes=cat,dog`."""

import importlib.util
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reprogram.errors import ConfigError, HostUnavailableError
from reprogram.hosts._imagenet import class_names
from reprogram.hosts._info import NO_LICENCE, HostInfo
from reprogram.hosts._naming import host_id, hub, one_line
from reprogram.hosts._weights import read_safetensors
from reprogram.hosts.base import Host, HostSource
from reprogram.utils.messages import nearest
from reprogram.utils.seeding import seeded

MAX_ID = 3000
"""The most characters that class names may fill in a host's name; longer lists are named by their file."""


class OpenClip(HostSource):
    """Image tower and text prompts of open_clip (Ilharco et al., 2021): scores are logit_scale · cos + logit_bias.

    The text tower runs once, when the host is built; what stays is the image tower and a linear layer of the prompts.
    Weights are read from safetensors alone. Needs `pip install 'reprogram[clip]'`.

    Reference: Radford et al., CLIP, 2021 (3.1.2); Zhai et al., SigLIP, 2023 (the bias).
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            model: open_clip's name, or a folder with open_clip_config.json and open_clip_model.safetensors.
            weights: tag of trained weights, or a `.safetensors` file; empty takes the folder's own.
            classes: names of the labels, as `cat,dog` or `('cat', 'dog')`, or a `.txt` file with one a line; empty
                takes ImageNet's 1,000.
            prompt: the text of a label, with its name for `{}`.
            pretrained: whether to load trained weights; otherwise they are random, from `seed`.
            seed: of random weights.
        """

        model: str
        weights: str = ""
        classes: str | tuple[str, ...] = ()
        prompt: str = "a photo of a {}"
        pretrained: bool = True
        seed: int = 0

        def __post_init__(self) -> None:
            if "{}" not in self.prompt:
                raise ConfigError(f"prompt {self.prompt!r} has no {{}}, where the label's name goes")

    @classmethod
    def example(cls) -> Config:
        """A folder that tests write first."""
        return cls.Config(model="example-clip", classes=("cat", "dog", "blue car"))

    def build(self, *, download: bool = False) -> Host:
        """Build both towers, encode the prompts, and keep the image tower."""
        open_clip, config, names = _package(), self.config, self._names()
        folder, record = self._find(open_clip)
        name = f"local-dir:{config.model}" if folder else config.model
        preprocessing = {key: record[key] for key in ("mean", "std", "interpolation", "resize_mode") if key in record}
        with hub(download=download), seeded(config.seed):
            try:
                model = open_clip.create_model(
                    name,
                    load_weights=False,
                    pretrained_text=False,
                    force_quick_gelu=record.get("quick_gelu", False),
                    force_preprocess_cfg=preprocessing,
                ).eval()
                tokenizer = open_clip.get_tokenizer(name)
            except Exception as error:  # open_clip and the tokenizers raise whatever they meet.
                raise HostUnavailableError(
                    f"open-clip:{config.model}: model or tokenizer can't be built ({one_line(error)}); "
                    "add --download if they may be fetched"
                ) from None
            if config.pretrained:
                self._load(open_clip, model, folder, record)
            net = TextScores(model, tokenizer([config.prompt.replace("{}", name) for name in names]))
        return Host(net, self._info(model.visual, names), untrained=self.untrained)

    @classmethod
    def catalogue(cls, pattern: str) -> list[str]:
        """The models of open_clip with the tags of their weights; none where it isn't installed."""
        if importlib.util.find_spec("open_clip") is None:
            return []
        names = (f"{model}?weights={tag}" for model, tag in _package().list_pretrained())
        return [name for name in names if fnmatchcase(name, pattern)]

    def spec(self) -> str:
        """The spec `open-clip:MODEL?...`, with the class names themselves where they aren't too long."""
        config = self.config
        short = replace(config, weights=Path(config.weights).name)
        if config.classes:
            named = replace(short, classes=self._names())
            short = named if len(repr(named)) < MAX_ID else replace(short, classes=Path(str(config.classes)).name)
        return host_id("open-clip", Path(config.model).name, short, skip="model")

    def nameable(self) -> bool:
        """Whether no option names a file or folder."""
        config = self.config
        files = config.weights.endswith(".safetensors") or str(config.classes).endswith(".txt")
        return not files and "/" not in config.model and not Path(config.model).exists()

    def untrained(self, seed: int) -> Host:
        """The same host with random weights in both towers."""
        return OpenClip(replace(self.config, pretrained=False, seed=seed)).build()

    def _names(self) -> tuple[str, ...]:
        classes = self.config.classes
        if isinstance(classes, str) and classes.endswith(".txt"):
            try:
                classes = tuple(Path(classes).read_text(encoding="utf-8").splitlines())
            except (OSError, ValueError) as error:
                raise ConfigError(f"open-clip: {classes}: can't be read ({one_line(error)})") from None
        elif isinstance(classes, str):
            classes = tuple(classes.split(","))
        names = tuple(name.strip() for name in classes if name.strip()) or class_names()
        if len(set(names)) < len(names) and names != class_names():
            raise ConfigError("open-clip: a class name is there twice; each label needs its own")
        return names

    def _find(self, open_clip: Any) -> tuple[bool, dict[str, Any]]:
        """Whether the model is a folder, and open_clip's record of its weights, empty where it has none."""
        config = self.config
        known = open_clip.list_models()
        if config.model not in known:
            if (Path(config.model) / "open_clip_config.json").is_file():
                return True, {}
            raise ConfigError(
                f"open-clip: no model named {config.model!r}, and no folder with open_clip_config.json; "
                f"{nearest(config.model, known)}"
            )
        record: dict[str, Any] = open_clip.get_pretrained_cfg(config.model, config.weights) if config.weights else {}
        if config.pretrained and not record and not config.weights.endswith(".safetensors"):
            tags = open_clip.list_pretrained_tags_by_model(config.model)
            raise ConfigError(
                f"open-clip:{config.model}: weights={config.weights!r}; give a .safetensors file, or "
                f"{nearest(config.weights, tags)}"
            )
        return False, record

    def _load(self, open_clip: Any, model: Any, folder: bool, record: dict[str, Any]) -> None:
        from huggingface_hub import hf_hub_download

        config = self.config
        if record:
            repository, _, filename = record.get("hf_hub", "").rpartition("/")
            filename = filename if filename.endswith(".safetensors") else "open_clip_model.safetensors"
            try:
                path = Path(hf_hub_download(repository, filename))
            except Exception as error:  # The hub's client raises whatever its transport raises.
                raise HostUnavailableError(
                    f"open-clip:{config.model}: the weights {config.weights} aren't in the cache as safetensors "
                    f"({one_line(error)[:80]}); add --download, or give a file: weights=FILE.safetensors"
                ) from None
        elif folder and not config.weights:
            path = Path(config.model) / "open_clip_model.safetensors"
        else:
            path = Path(config.weights)
        read_safetensors(path)
        try:
            open_clip.load_checkpoint(model, str(path))
        except Exception as error:  # It converts names of many formats, with as many errors.
            raise ConfigError(f"{path}: doesn't fit open-clip:{config.model}: {one_line(error)}") from None

    def _info(self, visual: Any, names: tuple[str, ...]) -> HostInfo:
        size, preprocessing = visual.image_size, visual.preprocess_cfg
        return HostInfo(
            id=self.spec(),
            num_classes=len(names),
            size=tuple(size) if isinstance(size, (tuple, list)) else (size, size),
            mean=tuple(preprocessing["mean"]),
            std=tuple(preprocessing["std"]),
            interpolation=preprocessing["interpolation"],
            crop=1.0,
            class_names=names if self.config.pretrained else None,
            licence="unknown" if self.config.pretrained else NO_LICENCE,
        )


class TextScores(nn.Module):
    """The image tower, and a linear layer whose rows are the scaled embeddings of the prompts.

    Args:
        model: open_clip's model, with both towers.
        tokens: K x length, those of the prompts.
    """

    def __init__(self, model: Any, tokens: Tensor) -> None:
        super().__init__()
        self.visual = model.visual
        with torch.no_grad():
            text = torch.cat([model.encode_text(part, normalize=True) for part in torch.split(tokens, 64)])
            # K x d: exp(logit_scale) · text embeddings of length 1; bias logit_bias
            self.head = nn.Linear(text.shape[1], len(text))
            self.head.weight.copy_(model.logit_scale.exp() * text)
            self.head.bias.fill_(0.0 if model.logit_bias is None else model.logit_bias.item())

    def forward(self, pixels: Tensor) -> Tensor:
        """The scores logit_scale · cos + logit_bias of images and prompts.

        Args:
            pixels: b x C x H x W, normalised.

        Returns:
            b x K.
        """
        features = self.visual(pixels)
        pooled = features[0] if isinstance(features, tuple) else features  # CoCa's tower returns its tokens too.
        # b x d of length 1, times d x K
        scores: Tensor = self.head(F.normalize(pooled, dim=-1))
        return scores


def _package() -> Any:
    try:
        import open_clip
    except ImportError:
        raise HostUnavailableError(
            "open-clip: the package open_clip_torch isn't installed; pip install 'reprogram[clip]'"
        ) from None
    return open_clip
