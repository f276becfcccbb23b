"""A model behind TensorFlow Serving's REST API: `tf-serving:http://127.0.0.1:8501?model=M&num_classes=1000`."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

import numpy as np

from reprogram.errors import ConfigError
from reprogram.hosts._json_path import kind_of
from reprogram.hosts._reading import items, pairs_of, vector
from reprogram.hosts._remote import RemoteSource
from reprogram.hosts._remote_config import RemoteConfig
from reprogram.hosts._vocabulary import Answer
from reprogram.hosts._wire import Request, Response, WrongAnswerError


class TfServing(RemoteSource):
    """A model that TensorFlow Serving serves, asked by `:predict` or `:classify`.

    Reference: TensorFlow Serving, RESTful API (g3doc/api_rest.md).
    """

    usual_batch = 32
    most_images = 4096

    @dataclass(frozen=True, kw_only=True)
    class Config(RemoteConfig):
        """Options beside those of all remote hosts.

        Attributes:
            url: of the server, without `/v1`.
            model: its name.
            version: of the model; the latest by default.
            verb: `predict`, which gives the numbers of all labels, or `classify`, which gives labels with scores.
            format: how images are sent: `tensor`, H × W × C numbers in [0, 1], or `bytes`, files as base64.
            input: name of the input, or of an example's feature; needed where the model has several.
            output: name of the output, where the model has several.
            signature: name of the signature; the server's default without one.
        """

        url: str
        model: str
        version: str | int = ""
        verb: Literal["predict", "classify"] = "predict"
        format: Literal["tensor", "bytes"] = "tensor"
        input: str = ""
        output: str = ""
        signature: str = ""
        access: Literal["scores", "topk", "label"] = "scores"

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.verb == "classify" and not self.input:
                raise ConfigError("verb=classify needs input=NAME, the feature of an example that holds the image")

    config: Config

    @classmethod
    def example(cls) -> Config:
        """A model of ten labels on this machine."""
        return cls.Config(url="http://localhost:8501", model="digits", num_classes=10, size=48)

    @property
    def names_labels(self) -> bool:
        """Where the model is asked to classify."""
        return bool(self.config.verb == "classify")

    def encode(self, images: np.ndarray) -> Request:
        """`instances` or `examples`, one an image."""
        config = self.config
        values: list[Any]
        if config.format == "bytes":
            values = [{"b64": base64.b64encode(file).decode()} for file in self.files(images)]
        else:
            values = [image.tolist() for image in (images / np.float32(255)).astype(np.float32)]
        body: dict[str, Any] = {"signature_name": config.signature} if config.signature else {}
        key = "examples" if config.verb == "classify" else "instances"
        body[key] = [{config.input: value} for value in values] if config.input else values
        version = f"/versions/{quote(str(config.version), safe='')}" if config.version != "" else ""
        return Request.of_json(body, f"/v1/models/{quote(config.model, safe='')}{version}:{config.verb}")

    def decode(self, response: Response, count: int) -> Sequence[Answer]:
        """`predictions` or `outputs`, rows of numbers; or `result`, lists of labels with scores."""
        document = response.json()
        if self.config.verb == "classify":
            return [_classified(answer) for answer in items(document, "result")]
        if isinstance(document, dict) and "predictions" not in document and "outputs" in document:
            outputs = document["outputs"]
            return [vector(row) for row in items(self._chosen(outputs), "")]
        return [vector(self._chosen(row)) for row in items(document, "predictions")]

    def _chosen(self, value: Any) -> Any:
        """The output of the options' name, where the model has several."""
        if not isinstance(value, dict):
            return value
        name = self.config.output or (next(iter(value)) if len(value) == 1 else "")
        if name not in value:
            raise WrongAnswerError(f"answers with {kind_of(value)}; say output=NAME of the one that is meant")
        return value[name]


def _classified(answer: Any) -> Answer:
    """Pairs of label and score; where the model names no labels, they are numbered in their order."""
    if not isinstance(answer, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in answer):
        raise WrongAnswerError(f"answers with {kind_of(answer)} where [label, score] pairs are expected")
    labels = [label if label != "" else index for index, (label, _) in enumerate(answer)]
    return pairs_of(labels, [score for _, score in answer])
