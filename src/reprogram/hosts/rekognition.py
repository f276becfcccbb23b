"""The labels of Amazon Rekognition: `rekognition:URL?num_classes=200`."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reprogram.errors import ConfigError
from reprogram.hosts import _sigv4
from reprogram.hosts._json_path import kind_of
from reprogram.hosts._reading import items, number, pairs_of
from reprogram.hosts._remote import RemoteSource
from reprogram.hosts._remote_config import RemoteConfig
from reprogram.hosts._shown import Kind
from reprogram.hosts._vocabulary import Answer
from reprogram.hosts._wire import Request, Response, WrongAnswerError

LEAST_SIZE = 80
"""The smallest side of an image that Rekognition takes, in pixels."""


class Rekognition(RemoteSource):
    """The action DetectLabels: labels of an open vocabulary, with independent confidences from 0 to 100.

    Requests are signed with AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, where those are set.

    Reference: Amazon Rekognition, API reference, DetectLabels.
    """

    variables = _sigv4.VARIABLES

    @dataclass(frozen=True, kw_only=True)
    class Config(RemoteConfig):
        """Options beside those of all remote hosts.

        Attributes:
            url: of the service in a region.
            region: that requests are signed for; by default AWS_REGION's, or the one in the URL.
            max_labels: the most labels of an image.
            min_confidence: labels with less aren't shown, 0 to 100; the service's own default is 55.
        """

        url: str
        region: str = ""
        max_labels: int = 1000
        min_confidence: float = 0.0
        kind: Kind = "independent"

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.size < LEAST_SIZE:
                raise ConfigError(f"size={self.size}; Rekognition takes images of at least {LEAST_SIZE} pixels")
            if not 0 <= self.min_confidence <= 100:
                raise ConfigError(f"min_confidence={self.min_confidence}; 0 to 100 is expected")
            if self.max_labels < 1:
                raise ConfigError(f"max_labels={self.max_labels}; at least 1 is expected")

    config: Config

    @classmethod
    def example(cls) -> Config:
        """A service of at most ten labels on this machine."""
        return cls.Config(url="http://localhost:8000", num_classes=10, size=80)

    def encode(self, images: np.ndarray) -> Request:
        """JSON 1.1 with the image as base64."""
        (file,) = self.files(images)
        body: dict[str, Any] = {
            "Image": {"Bytes": base64.b64encode(file).decode()},
            "MaxLabels": self.config.max_labels,
            "MinConfidence": self.config.min_confidence,
        }
        request = Request.of_json(body, "/", X_Amz_Target="RekognitionService.DetectLabels")
        return Request(
            path="/", body=request.body, headers={**request.headers, "Content-Type": "application/x-amz-json-1.1"}
        )

    def decode(self, response: Response, count: int) -> Sequence[Answer]:
        """`Name` and `Confidence` of each of `Labels`, as a part of 1."""
        labels = items(response.json(), "Labels")
        if not all(isinstance(label, dict) for label in labels):
            raise WrongAnswerError(f"answers with {kind_of(labels)} where Name and Confidence are expected")
        # confidence / 100
        return [
            pairs_of([item.get("Name") for item in labels], [number(item.get("Confidence")) / 100 for item in labels])
        ]

    def authorisation(self, request: Request, secrets: Mapping[str, str]) -> Mapping[str, str]:
        """Amazon's signature."""
        return _sigv4.signed(
            request, self.config.url.rstrip("/"), secrets, service="rekognition", region=self.config.region
        )
