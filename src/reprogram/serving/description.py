"""The parts of the OpenAPI description that routes can't be read off: bodies that they read themselves, and errors."""

from typing import Any

ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {"error": {"type": "string"}},
}
REASONS = {
    400: "The request can't be understood; the error says why.",
    401: "A bearer token is needed.",
    404: "There is no such model or version.",
    408: "The body came too slowly.",
    413: "The body, or the number of images, is too large.",
    415: "The body is compressed.",
    429: "The client asks too often; Retry-After says when to come again.",
    500: "The server failed.",
    503: "The server is full, stopping, or not ready; Retry-After may say when to come again.",
}
TEXT, COUNT = {"type": "string"}, {"type": "integer"}
SHAPE = {"type": "array", "items": COUNT}
PARAMETERS = {"type": ["object", "null"]}
TENSOR = {
    "type": "object",
    "required": ["name", "datatype", "shape"],
    "properties": {"name": TEXT, "datatype": TEXT, "shape": SHAPE},
}
MODEL = {
    "type": "object",
    "required": ["name", "versions", "platform", "inputs", "outputs"],
    "properties": {
        "name": TEXT,
        "versions": {"type": "array", "items": TEXT},
        "platform": TEXT,
        "inputs": {"type": "array", "items": TENSOR},
        "outputs": {"type": "array", "items": TENSOR},
    },
}
INPUT = {
    "type": "object",
    "required": ["name", "shape", "datatype", "data"],
    "properties": {
        "name": {"const": "image"},
        "shape": {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 1, "maxItems": 4},
        "datatype": {"enum": ["UINT8", "FP16", "FP32", "FP64", "BYTES"]},
        "parameters": PARAMETERS,
        "data": {"type": "array"},
    },
}
OUTPUT = {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": {"enum": ["logits", "probabilities", "percent", "independent", "labels"]},
        "parameters": {
            "type": ["object", "null"],
            "properties": {
                "binary_data": {"type": "boolean"},
                "classification": {"type": "integer", "minimum": 1},
            },
        },
    },
}
INFERENCE = {
    "type": "object",
    "required": ["inputs"],
    "properties": {
        "id": {"type": ["string", "null"]},
        "parameters": {"type": ["object", "null"], "properties": {"binary_data_output": {"type": "boolean"}}},
        "inputs": {"type": "array", "items": INPUT, "minItems": 1, "maxItems": 1},
        "outputs": {"type": ["array", "null"], "items": OUTPUT},
    },
}
INFERRED = {
    "type": "object",
    "required": ["model_name", "model_version", "outputs"],
    "properties": {
        "id": TEXT,
        "model_name": TEXT,
        "model_version": TEXT,
        "outputs": {"type": "array", "items": TENSOR},
    },
}
ANSWER = {
    "type": "object",
    "required": ["label"],
    "properties": {
        "label": TEXT,
        "probability": {"type": "number", "minimum": 0, "maximum": 1},
        "score": {"type": "number"},
    },
}
CLASSIFIED = {
    "type": "object",
    "required": ["model", "label", "kind", "predictions", "host"],
    "properties": {
        **ANSWER["properties"],  # type: ignore[dict-item]
        "model": TEXT,
        "kind": {"enum": ["probabilities", "logits", "percent", "independent", "none"]},
        "predictions": {"type": "array", "items": ANSWER},
        "host": {"type": "array", "items": ANSWER},
    },
}
SHOWN = {
    "type": "object",
    "required": ["shown"],
    "properties": {
        "shown": {
            "type": "array",
            "items": {
                **CLASSIFIED,
                "required": [*CLASSIFIED["required"], "picture"],
                "properties": {**CLASSIFIED["properties"], "picture": TEXT},  # type: ignore[dict-item]
            },
        }
    },
}
FILE_BODY = {
    "required": True,
    "content": {
        "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        "image/*": {"schema": {"type": "string", "format": "binary"}},
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["image"],
                "properties": {"image": {"type": "string", "format": "binary"}},
            }
        },
    },
}
INFERENCE_BODY = {
    "required": True,
    "content": {
        "application/json": {"schema": INFERENCE},
        "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
    },
}


def answers(schema: dict[str, Any], *errors: int, binary: bool = False) -> dict[int | str, dict[str, Any]]:
    """What a route answers, for its argument `responses`.

    Args:
        schema: of the answer with status 200.
        errors: the other statuses that it may have, besides those that every route has.
        binary: whether the answer may be binary too.
    """
    content: dict[str, Any] = {"application/json": {"schema": schema}}
    if binary:
        content["application/octet-stream"] = {"schema": {"type": "string", "format": "binary"}}
    described: dict[int | str, dict[str, Any]] = {200: {"description": "The answer.", "content": content}}
    for status in sorted({401, 500, *errors}):
        described[status] = {
            "description": REASONS[status],
            "content": {"application/json": {"schema": ERROR}},
        }
    return described


def thing(**properties: Any) -> dict[str, Any]:
    """The schema of an object that has all these properties.

    Args:
        properties: their schemas, by name.
    """
    return {"type": "object", "required": list(properties), "properties": properties}
