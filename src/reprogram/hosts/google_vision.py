"""The label detection of Google Cloud Vision: `google-vision:URL?num_classes=200`."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reprogram.hosts._json_path import kind_of
from reprogram.hosts._reading import items, pairs_of
from reprogram.hosts._remote import RemoteSource
from reprogram.hosts._remote_config import RemoteConfig
from reprogram.hosts._shown import Kind
from reprogram.hosts._vocabulary import Answer
from reprogram.hosts._wire import Request, Response, WrongAnswerError


class GoogleVision(RemoteSource):
    """The feature LABEL_DETECTION of `images:annotate`: labels of an open vocabulary, with independent scores.

    The variable GOOGLE_API_KEY goes in the header `X-Goog-Api-Key`; without it GOOGLE_ACCESS_TOKEN as a bearer token.

    Reference: Google Cloud Vision API, REST, v1 images.annotate.
    """

    usual_batch = 16
    most_images = 16
    variables = ("GOOGLE_API_KEY", "GOOGLE_ACCESS_TOKEN")

    @dataclass(frozen=True, kw_only=True)
    class Config(RemoteConfig):
        """Options beside those of all remote hosts.

        Attributes:
            url: of the API, without `/v1`.
            max_results: the most labels of an image.
        """

        url: str
        max_results: int = 10
        kind: Kind = "independent"

    config: Config

    @classmethod
    def example(cls) -> Config:
        """A service of at most ten labels on this machine."""
        return cls.Config(url="http://localhost:8000", num_classes=10, size=48)

    def encode(self, images: np.ndarray) -> Request:
        """One of `requests` an image."""
        features = [{"type": "LABEL_DETECTION", "maxResults": self.config.max_results}]
        contents = [base64.b64encode(file).decode() for file in self.files(images)]
        requests = [{"image": {"content": content}, "features": features} for content in contents]
        return Request.of_json({"requests": requests}, "/v1/images:annotate")

    def decode(self, response: Response, count: int) -> Sequence[Answer]:
        """The `labelAnnotations` of each of `responses`; one without any shows no label."""
        return [_labels(answer) for answer in items(response.json(), "responses")]

    def authorisation(self, request: Request, secrets: Mapping[str, str]) -> Mapping[str, str]:
        """The key, or the token."""
        if key := secrets.get("GOOGLE_API_KEY"):
            return {"X-Goog-Api-Key": key}
        token = secrets.get("GOOGLE_ACCESS_TOKEN")
        return {"Authorization": f"Bearer {token}"} if token else {}


def _labels(answer: Any) -> Answer:
    annotations = answer.get("labelAnnotations", []) if isinstance(answer, dict) else None
    if not isinstance(annotations, list) or not all(isinstance(item, dict) for item in annotations):
        raise WrongAnswerError(f"answers with {kind_of(answer)} where labelAnnotations are expected")
    labels = [item.get("description") or item.get("mid") for item in annotations]
    return pairs_of(labels, [item.get("score") for item in annotations])
