"""Any service over HTTP, whose request and response its user declares: `http:http://127.0.0.1:8000/classify`."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reprogram.errors import ConfigError
from reprogram.hosts._json_path import JsonPath
from reprogram.hosts._reading import declared, items
from reprogram.hosts._remote import RemoteSource
from reprogram.hosts._remote_config import RemoteConfig
from reprogram.hosts._vocabulary import Answer
from reprogram.hosts._wire import Request, Response

ONE, ALL = "{image}", "{images}"
"""The texts in a template that stand for an image's base64, and for the list of those of all images."""


class Http(RemoteSource):
    """A service that takes an image file as the body of a POST, or base64 in JSON, and answers with JSON.

    Where labels and numbers lie is said by paths, such as `predictions[*].label`: names after dots, `[3]` for an item
    of a list, `[*]` for all of them (`hosts/_json_path.py`). A path of numbers may also lead to an object of numbers
    by label, or, without a path of labels, to the list of all numbers.
    """

    usual_batch = 16
    most_images = 4096

    @dataclass(frozen=True, kw_only=True)
    class Config(RemoteConfig):
        """Options beside those of all remote hosts.

        Attributes:
            url: that images are posted to.
            request: a JSON object, or its text, in which "{image}" stands for the image's base64, or "{images}" for the
                list of those of several images; without one the body is the image file.
            answers: path of the list of answers, one an image, where "{images}" are sent; the whole response by
                default.
            labels: path, within an image's answer, of a label or a list of them.
            numbers: path, within an image's answer, of a number or a list of them, or of an object of numbers by label.
            query: what follows `?` in the address, such as top=5.
            token_header: the header that holds the variable MODEL_SERVER_TOKEN, where that is set; after "Bearer" in
                Authorization, alone in others.
        """

        url: str
        request: str | dict[str, Any] = ""
        answers: str = ""
        labels: str = ""
        numbers: str = ""
        query: str = ""
        token_header: str = "Authorization"  # noqa: S105

        def __post_init__(self) -> None:
            super().__post_init__()
            for path in (self.answers, self.labels, self.numbers):
                JsonPath(path)
            if not self.labels and self.access == "label":
                raise ConfigError("access=label needs labels=PATH, where the label lies in the answer")
            if self.request and sum(_texts(_template(self.request)).count(mark) for mark in (ONE, ALL)) != 1:
                raise ConfigError(f'request={str(self.request)[:60]!r}: "{ONE}" or "{ALL}" is expected in it, once')
            if not self.token_header.replace("-", "").isalnum():
                raise ConfigError(f"token_header={self.token_header[:40]!r}; the name of a header is expected")

    config: Config

    @classmethod
    def example(cls) -> Config:
        """A service on this machine that answers with a list of labels and scores."""
        return cls.Config(
            url="http://localhost:8000/classify", labels="[*].label", numbers="[*].score", num_classes=10, size=48
        )

    @property
    def _together(self) -> bool:
        return ALL in _texts(_template(self.config.request)) if self.config.request else False

    def images_per_request(self) -> int:
        """One, unless the template takes several."""
        return super().images_per_request() if self._together else 1

    def encode(self, images: np.ndarray) -> Request:
        """The image file, or the template with base64 in it."""
        files, config = self.files(images), self.config
        path = f"?{config.query}" if config.query else ""
        if not config.request:
            return Request(path=path, body=files[0], headers={"Content-Type": f"image/{config.encoding}"})
        texts = [base64.b64encode(file).decode() for file in files]
        return Request.of_json(_filled(_template(config.request), {ONE: texts[0], ALL: texts}), path)

    def decode(self, response: Response, count: int) -> Sequence[Answer]:
        """What lies at the declared paths."""
        config, document = self.config, response.json()
        answers = items(document, config.answers) if self._together else [document]
        return [declared(answer, config.labels, config.numbers) for answer in answers]

    def authorisation(self, request: Request, secrets: Mapping[str, str]) -> Mapping[str, str]:
        """The token in the header that the options name."""
        header, token = self.config.token_header, secrets.get(self.variables[0])
        if not token:
            return {}
        return {header: f"Bearer {token}" if header.lower() == "authorization" else token}


def _template(text: str | dict[str, Any]) -> Any:
    if isinstance(text, dict):
        return text
    try:
        return json.loads(text)
    except ValueError as error:
        raise ConfigError(f"request={text[:60]!r} is no JSON ({error})") from None


def _texts(template: Any) -> list[str]:
    """All texts that are values in a template."""
    if isinstance(template, dict | list):
        values = template.values() if isinstance(template, dict) else template
        return [text for value in values for text in _texts(value)]
    return [template] if isinstance(template, str) else []


def _filled(template: Any, values: dict[str, Any]) -> Any:
    """A template with values for the texts that stand for them."""
    if isinstance(template, dict):
        return {key: _filled(value, values) for key, value in template.items()}
    if isinstance(template, list):
        return [_filled(value, values) for value in template]
    return values.get(template, template) if isinstance(template, str) else template
