"""A model behind TorchServe's inference API: `torchserve:http://127.0.0.1:8080?model=M&num_classes=1000`."""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

import numpy as np

from reprogram.hosts._json_path import kind_of
from reprogram.hosts._reading import pairs_of
from reprogram.hosts._remote import RemoteSource
from reprogram.hosts._remote_config import RemoteConfig
from reprogram.hosts._vocabulary import Answer
from reprogram.hosts._wire import Request, Response, WrongAnswerError


class Torchserve(RemoteSource):
    """A model that TorchServe serves with its `image_classifier` handler: an image file a request, the top 5 labels.

    Reference: TorchServe, inference API (docs/inference_api.md) and default handlers (docs/default_handlers.md).
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(RemoteConfig):
        """Options beside those of all remote hosts.

        Attributes:
            url: of the inference API.
            model: its name.
            version: of the model; the default one without it.
        """

        url: str
        model: str
        version: str | int | float = ""

    config: Config

    @classmethod
    def example(cls) -> Config:
        """A model of ten labels on this machine."""
        return cls.Config(url="http://localhost:8080", model="digits", num_classes=10, size=48)

    def encode(self, images: np.ndarray) -> Request:
        """The image file as the body."""
        (file,) = self.files(images)
        version = f"/{quote(str(self.config.version), safe='')}" if self.config.version != "" else ""
        path = f"/predictions/{quote(self.config.model, safe='')}{version}"
        return Request(path=path, body=file, headers={"Content-Type": f"image/{self.config.encoding}"})

    def decode(self, response: Response, count: int) -> Sequence[Answer]:
        """An object of probabilities by label."""
        document = response.json()
        if not isinstance(document, dict):
            raise WrongAnswerError(f"answers with {kind_of(document)}; an object of probabilities by label is expected")
        return [pairs_of(list(document), list(document.values()))]
