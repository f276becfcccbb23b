"""A Hugging Face image classification endpoint: `hf-inference:URL?num_classes=1000`."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from reprogram.errors import ConfigError
from reprogram.hosts._reading import declared
from reprogram.hosts._remote import RemoteSource
from reprogram.hosts._remote_config import RemoteConfig
from reprogram.hosts._vocabulary import Answer
from reprogram.hosts._wire import Request, Response


class HfInference(RemoteSource):
    """An endpoint of the task `image-classification`, of Hugging Face's services or one's own.

    The variable HF_TOKEN, where it is set, goes as a bearer token.

    Reference: Hugging Face, Inference Providers, Image Classification: API specification.
    """

    variables = ("HF_TOKEN",)

    @dataclass(frozen=True, kw_only=True)
    class Config(RemoteConfig):
        """Options beside those of all remote hosts.

        Attributes:
            url: of the model's endpoint.
            top_k: the number of labels that are asked for; 0 for the endpoint's own number.
            function_to_apply: to the logits: `softmax`, `sigmoid`, or `none`, which needs kind=logits; the endpoint's
                own by default.
        """

        url: str
        top_k: int = 0
        function_to_apply: Literal["", "softmax", "sigmoid", "none"] = ""

        def __post_init__(self) -> None:
            super().__post_init__()
            kind = {"softmax": "probabilities", "sigmoid": "independent", "none": "logits"}.get(self.function_to_apply)
            if kind is not None and self.kind != kind:
                raise ConfigError(f"function_to_apply={self.function_to_apply} gives kind={kind}; say both")
            if self.top_k < 0:
                raise ConfigError(f"top_k={self.top_k}; 0 or the number of labels is expected")

    config: Config

    @classmethod
    def example(cls) -> Config:
        """An endpoint of ten labels on this machine."""
        return cls.Config(url="http://localhost:8000", num_classes=10, size=48)

    def encode(self, images: np.ndarray) -> Request:
        """The image file as the body; JSON with base64 where there are parameters."""
        (file,) = self.files(images)
        options: dict[str, Any] = {"function_to_apply": self.config.function_to_apply, "top_k": self.config.top_k}
        parameters = {name: value for name, value in options.items() if value}
        if parameters:
            return Request.of_json({"inputs": base64.b64encode(file).decode(), "parameters": parameters})
        return Request(body=file, headers={"Content-Type": f"image/{self.config.encoding}"})

    def decode(self, response: Response, count: int) -> Sequence[Answer]:
        """A list of labels with scores."""
        return [declared(response.json(), "[*].label", "[*].score")]
