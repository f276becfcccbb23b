"""A model behind the Open Inference Protocol v2 (KServe, MLServer, Triton): `oip:http://127.0.0.1:8000?model=M`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal
from urllib.parse import quote

import numpy as np

from reprogram.errors import ConfigError, HostUnavailableError
from reprogram.hosts._client import Client
from reprogram.hosts._oip import Answered, TensorRecord, float_datatypes, input_tensor, read_outputs
from reprogram.hosts._remote import RemoteSource
from reprogram.hosts._remote_config import RemoteConfig
from reprogram.hosts._shown import Kind
from reprogram.hosts._vocabulary import Answer
from reprogram.hosts._wire import Request, Response, WrongAnswerError
from reprogram.utils.text import printable

Layout = Literal["", "NCHW", "NHWC"]


class Oip(RemoteSource):
    """A model that the Open Inference Protocol v2 serves, over HTTP.

    Names, shapes and datatypes come from the model's metadata, unless the options say them. A server that isn't ready
    is refused. The version that answers is watched: it may not change.

    Reference: KServe, Open Inference Protocol, inference_rest.md; Triton Inference Server, extension_binary_data.md and
    extension_classification.md.
    """

    usual_batch = 32
    most_images = 4096

    @dataclass(frozen=True, kw_only=True)
    class Config(RemoteConfig):
        """Options beside those of all remote hosts.

        Attributes:
            url: of the server, without `/v2`.
            model: its name.
            version: of the model; the server's choice by default.
            format: how images are sent: `json` tensors, `binary` tensors (an extension), or files as elements of type
                BYTES, in binary (`bytes`) or as base64 text in JSON (`base64`).
            classification: the number of labels that the server's extension `classification` is asked for; 0 for the
                tensor of all numbers.
            input: name of the input tensor; the only one by default.
            output: name of the output tensor; the first by default.
            layout: of the input tensor, `NCHW` or `NHWC`; by default where the channels stand in its shape.
            datatype: of the input tensor, such as FP32 or UINT8; by default what the metadata say. UINT8 are levels
                from 0 to 255; others are (p - mean) / std of p in [0, 1].
            mean: subtracted from p, one value a channel; 0 by default.
            std: divides the difference, one value a channel; 1 by default, and 1/255 for inputs from 0 to 255.
        """

        url: str
        model: str
        version: str | int = ""
        format: Literal["json", "binary", "bytes", "base64"] = "json"
        classification: int = 0
        input: str = ""
        output: str = ""
        layout: Layout = ""
        datatype: str = ""
        mean: tuple[float, ...] = ()
        std: tuple[float, ...] = ()
        size: int = 0
        kind: Kind = "logits"
        access: Literal["scores", "topk", "label"] = "scores"

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.classification < 0:
                raise ConfigError(f"classification={self.classification}; 0 or the number of labels is expected")
            for name, values in (("mean", self.mean), ("std", self.std)):
                if values and len(values) != self.channels:
                    raise ConfigError(f"{name} needs {self.channels} values, one a channel")
            if any(value <= 0 for value in self.std):
                raise ConfigError(f"std={self.std}; positive numbers are expected")

    config: Config

    @classmethod
    def example(cls) -> Config:
        """A model of 48 x 48 pixels on this machine."""
        return cls.Config(url="http://localhost:8000", model="digits")

    @property
    def _path(self) -> str:
        version = f"/versions/{quote(str(self.config.version), safe='')}" if self.config.version != "" else ""
        return f"/v2/models/{quote(self.config.model, safe='')}{version}"

    def described(self, client: Client) -> "Oip":
        """Ask whether the server is ready, and what the model's tensors are."""
        try:
            client.get("/v2/health/ready")
        except HostUnavailableError as error:
            raise HostUnavailableError(f"{error}; is the server ready?") from None
        document = client.get(self._path).document
        inputs, outputs = (TensorRecord.all_of(document, side, client.name) for side in ("inputs", "outputs"))
        config = self.config
        given = _named(inputs, config.input, "input", client.name)
        asked = _named(outputs, config.output, "output", client.name)
        layout, size = config.layout, config.size
        if config.format in ("json", "binary"):
            layout = layout or given.layout(config.channels)
            side = given.side(layout)
            size = size or side
            if side and side != size:
                raise ConfigError(f"oip: size={size}, and the input {given.name!r} is {given.shape}; leave size out")
        if not size:
            raise ConfigError(f"oip: the input {given.name!r} is {given.shape}; give size=N, the pixels of its sides")
        count = config.num_classes or len(config.class_names) or max(0, asked.shape[-1] if asked.shape else 0)
        settled = replace(
            config,
            input=given.name,
            output=asked.name,
            layout=layout,
            size=size,
            num_classes=count,
            datatype=config.datatype or ("BYTES" if config.format in ("bytes", "base64") else given.datatype),
            access="topk" if 0 < config.classification < count and config.access == "scores" else config.access,
            batch=1 if config.batch == 0 and given.is_single(config.format) else config.batch,
        )
        if settled.datatype not in {"BYTES", "UINT8", *float_datatypes()}:
            raise ConfigError(
                f"oip: the input {given.name!r} is of {printable(settled.datatype)[:20]}; give datatype=FP32"
            )
        source = Oip(settled)
        source.rank = len(given.shape) if config.format in ("json", "binary") else 1
        return source

    rank = 4
    """The axes of the input tensor: 3 for one that holds a single image."""

    @property
    def names_labels(self) -> bool:
        """Only where names were declared: the extension `classification` says indices too."""
        return bool(self.config.class_names)

    def encode(self, images: np.ndarray) -> Request:
        """The inference request: JSON, and behind it the tensor where that is binary."""
        config = self.config
        files = self.files(images) if config.format in ("bytes", "base64") else None
        tensor, behind = input_tensor(
            config, images if files is None else files, batched=self.rank == 4 or files is not None
        )
        output: dict[str, Any] = {"name": config.output}
        if config.classification:
            output["parameters"] = {"classification": config.classification}
        elif config.format in ("binary", "bytes"):
            output["parameters"] = {"binary_data": True}
        request = Request.of_json({"inputs": [tensor], "outputs": [output]}, f"{self._path}/infer")
        if behind is None:
            return request
        assert request.body is not None
        return replace(
            request,
            body=request.body + behind,
            headers={
                "Content-Type": "application/octet-stream",
                "Inference-Header-Content-Length": str(len(request.body)),
            },
        )

    def decode(self, response: Response, count: int) -> Sequence[Answer]:
        """The rows of the output tensor, or the labels that the extension `classification` names."""
        outputs = read_outputs(response)
        found = outputs.get(self.config.output) or (next(iter(outputs.values())) if len(outputs) == 1 else None)
        if found is None:
            names = ", ".join(map(repr, outputs)) or "none"
            raise WrongAnswerError(f"answers with the outputs {names}; {self.config.output!r} is expected")
        if not self.config.classification:
            return found.rows(count)
        return found.classified(count, by_name=bool(self.config.class_names))

    def version(self, response: Response) -> str | None:
        """The `model_version` of the answer."""
        head = Answered.head_of(response)
        version = head.get("model_version") if isinstance(head, dict) else None
        return None if version is None else printable(version)[:60]


def _named(tensors: Sequence[TensorRecord], name: str, side: str, host: str) -> TensorRecord:
    """The tensor of a name; without one the first output, or the only input."""
    known = ", ".join(repr(tensor.name) for tensor in tensors)
    if name:
        for tensor in tensors:
            if tensor.name == name:
                return tensor
        raise ConfigError(f"{host}: the model has no {side} {name!r}; there is {known or 'none'}")
    if not tensors:
        raise HostUnavailableError(f"host {host}: the model's metadata name no {side}; give another model")
    if side == "input" and len(tensors) > 1:
        raise ConfigError(f"{host}: the model has the inputs {known}; say input=NAME of the one that takes images")
    return tensors[0]
