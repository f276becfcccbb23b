"""An endpoint of Amazon SageMaker: `sagemaker:URL?endpoint=NAME&num_classes=1000`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

import numpy as np

from reprogram.hosts import _sigv4
from reprogram.hosts._json_path import JsonPath
from reprogram.hosts._reading import declared
from reprogram.hosts._remote import RemoteSource
from reprogram.hosts._remote_config import RemoteConfig
from reprogram.hosts._vocabulary import Answer
from reprogram.hosts._wire import Request, Response


class Sagemaker(RemoteSource):
    """The action InvokeEndpoint: an image file as the body, and a JSON answer of which the user says how it is read.

    Requests are signed with AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, where those are set. A
    `ModelError` is tried again where the model's container answered with a status of 500 or more.

    Reference: Amazon SageMaker, API reference, InvokeEndpoint.
    """

    variables = _sigv4.VARIABLES

    @dataclass(frozen=True, kw_only=True)
    class Config(RemoteConfig):
        """Options beside those of all remote hosts.

        Attributes:
            url: of the runtime service in a region.
            endpoint: the endpoint's name.
            region: that requests are signed for; by default AWS_REGION's, or the one in the URL.
            content_type: of the body; by default that of the encoding, such as image/png.
            labels: path of a label or a list of them in the answer, as of the source `http`.
            numbers: path of a number, a list of them, or an object of numbers by label.
        """

        url: str
        endpoint: str
        region: str = ""
        content_type: str = ""
        labels: str = ""
        numbers: str = ""

        def __post_init__(self) -> None:
            super().__post_init__()
            for path in (self.labels, self.numbers):
                JsonPath(path)

    config: Config

    @classmethod
    def example(cls) -> Config:
        """An endpoint of ten labels on this machine that answers with all its numbers."""
        return cls.Config(
            url="http://localhost:8000", endpoint="digits", num_classes=10, numbers="predictions[0]", size=48
        )

    def encode(self, images: np.ndarray) -> Request:
        """The image file as the body."""
        (file,) = self.files(images)
        kind = self.config.content_type or f"image/{self.config.encoding}"
        path = f"/endpoints/{quote(self.config.endpoint, safe='')}/invocations"
        return Request(path=path, body=file, headers={"Content-Type": kind, "Accept": "application/json"})

    def decode(self, response: Response, count: int) -> Sequence[Answer]:
        """What lies at the declared paths."""
        return [declared(response.json(), self.config.labels, self.config.numbers)]

    def authorisation(self, request: Request, secrets: Mapping[str, str]) -> Mapping[str, str]:
        """Amazon's signature."""
        return _sigv4.signed(
            request, self.config.url.rstrip("/"), secrets, service="sagemaker", region=self.config.region
        )
