"""A Clarifai model: `clarifai:URL?model=M&num_classes=200`."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import numpy as np

from reprogram.hosts._reading import declared, items
from reprogram.hosts._remote import RemoteSource
from reprogram.hosts._remote_config import RemoteConfig
from reprogram.hosts._shown import Kind
from reprogram.hosts._vocabulary import Answer
from reprogram.hosts._wire import Request, Response


class Clarifai(RemoteSource):
    """A model of Clarifai's API v2: concepts of an open vocabulary, with independent values.

    The variable CLARIFAI_PAT, a personal access token, goes as `Authorization: Key ...`.

    Reference: Clarifai, API reference, Predict, and Status Codes.
    """

    usual_batch = 16
    most_images = 128
    variables = ("CLARIFAI_PAT",)

    @dataclass(frozen=True, kw_only=True)
    class Config(RemoteConfig):
        """Options beside those of all remote hosts.

        Attributes:
            url: of the API, without `/v2`.
            model: the model's id.
            user: the id of the user that it belongs to.
            app: the id of the app that it belongs to.
            version: the id of the model's version; the latest by default.
            max_concepts: the most concepts of an image; 0 for the model's own number.
        """

        url: str
        model: str
        user: str = "clarifai"
        app: str = "main"
        version: str | int = ""
        max_concepts: int = 0
        kind: Kind = "independent"

    config: Config

    @classmethod
    def example(cls) -> Config:
        """A model of at most ten concepts on this machine."""
        return cls.Config(url="http://localhost:8000", model="digits", num_classes=10, size=48)

    def encode(self, images: np.ndarray) -> Request:
        """One of `inputs` an image."""
        config = self.config
        body: dict[str, Any] = {
            "inputs": [{"data": {"image": {"base64": base64.b64encode(f).decode()}}} for f in self.files(images)]
        }
        if config.max_concepts:
            body["model"] = {"output_info": {"output_config": {"max_concepts": config.max_concepts}}}
        parts = ("users", config.user, "apps", config.app, "models", config.model)
        version = ("versions", str(config.version)) if config.version != "" else ()
        return Request.of_json(body, "/v2/" + "/".join(quote(part, safe="") for part in (*parts, *version, "outputs")))

    def decode(self, response: Response, count: int) -> Sequence[Answer]:
        """The `concepts` of each of `outputs`."""
        outputs = items(response.json(), "outputs")
        return [declared(output, "data.concepts[*].name", "data.concepts[*].value") for output in outputs]

    def authorisation(self, request: Request, secrets: Mapping[str, str]) -> Mapping[str, str]:
        """The personal access token."""
        token = secrets.get("CLARIFAI_PAT")
        return {"Authorization": f"Key {token}"} if token else {}
