"""The routes that take an ordinary image file, the page, and what the server counts."""

import base64
import functools
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from fastapi import FastAPI, Query, Request
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send
from torch import Tensor

from reprogram.model import Reprogrammed
from reprogram.registry import format_spec
from reprogram.serving.answering import HOST, Answering, Seen, Served
from reprogram.serving.bodies import image_file
from reprogram.serving.description import CLASSIFIED, FILE_BODY, SHOWN, answers
from reprogram.serving.desk import Desk

HOST_LABELS = 3
"""The host's own labels that are shown beside an answer, at the most; as `reprogram predict` shows them."""

PIECE = 64 * 1024
"""Bytes of a large answer that are sent at once; the next ones wait until the client has taken most of them."""

FOLDER = Path(__file__).parent
PAGE = {
    "/": ("page.html", "text/html"),
    "/page.js": ("page.js", "text/javascript"),
    "/page.css": ("page.css", "text/css"),
}
"""The page's files, by their paths on the server."""

ERRORS = (400, 404, 408, 413, 415, 429, 503)


def add_plain_routes(app: FastAPI, desk: Desk) -> None:
    """Add the routes for image files, for the page and for Prometheus.

    Args:
        app: the application.
        desk: the server's state.
    """
    _classify(app, desk)
    _show(app, desk)
    _read_only(app, desk)


def _classify(app: FastAPI, desk: Desk) -> None:
    first = next(iter(desk.answering.served))

    @app.post("/v1/classify", responses=answers(CLASSIFIED, *ERRORS), openapi_extra={"requestBody": FILE_BODY})
    async def classify(
        request: Request,
        model: Annotated[str, Query(description="The name of a program, or of the host.")] = first,
        top: Annotated[int, Query(ge=1, le=100_000, description="How many labels are named.")] = 5,
    ) -> Response:
        """What an image file is: the body itself, or the file of a form."""
        served = desk.served(model)
        async with desk.bodies.read(request) as body:
            file = await image_file(request.headers, body)
            images = await desk.helped(desk.answering.decode, served, [file])
        outcome = await desk.scores(served, images, request.scope["account"])
        return JSONResponse(_answer(desk.answering, served, *outcome, top=top))


def _show(app: FastAPI, desk: Desk) -> None:
    @app.post("/v1/show", responses=answers(SHOWN, *ERRORS), openapi_extra={"requestBody": FILE_BODY})
    async def show(request: Request) -> Response:
        """What the host sees of an image file with each program, and what it and the task's labels say."""
        shown = []
        async with desk.bodies.read(request) as body:
            file = await image_file(request.headers, body)
            for served in desk.answering.served.values():
                images = await desk.helped(desk.answering.decode, served, [file])
                outcome = await desk.scores(served, images, request.scope["account"])
                picture = await desk.helped(desk.answering.canvas, served, images[0])
                shown.append({**_answer(desk.answering, served, *outcome, top=5), "picture": _url(picture)})
        return JSONResponse({"shown": shown})


def _read_only(app: FastAPI, desk: Desk) -> None:
    described = JSONResponse(_described(desk)).body  # Once: with its samples it has many MiB, which all clients share.

    @app.get("/v1/programs", responses=answers({"type": "object"}))
    async def programs() -> Response:
        """What is served, for the page: programs with their tasks and samples, and the host."""
        return _InPieces(described, media_type="application/json")

    metrics: dict[int | str, Any] = {200: {"description": "The counts.", "content": {"text/plain": {}}}}

    @app.get("/metrics", responses=metrics | {401: answers({}, 401)[401]})
    async def counts() -> Response:
        """What the server counted, as Prometheus reads it."""
        return Response(desk.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    for path, (name, kind) in PAGE.items():
        page = Response((FOLDER / name).read_bytes(), media_type=f"{kind}; charset=utf-8")
        app.add_route(path, _always(page), methods=["GET"], include_in_schema=False)


class _InPieces(Response):
    """An answer of which a client that doesn't read holds no more than a piece or two in memory."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        for end in range(PIECE, len(self.body) + PIECE, PIECE):
            part = bytes(self.body[end - PIECE : end])
            await send({"type": "http.response.body", "body": part, "more_body": end < len(self.body)})


def _always(response: Response) -> Callable[[Request], Awaitable[Response]]:
    """A route's function that has one answer."""

    async def endpoint(_: Request) -> Response:
        return response

    return endpoint


def _answer(answering: Answering, served: Served, scores: Tensor, of_host: Tensor, *, top: int) -> dict[str, Any]:
    """What is said of an image: the task's labels, and beside them the host's own."""
    predictions, kind = _named(answering.see(served, scores), served.labels, top)
    host, itself = predictions, answering.served[HOST]
    if served is not itself:
        host, _ = _named(answering.see(itself, of_host), itself.labels, HOST_LABELS)
    return {
        "model": served.name,
        **predictions[0],
        "kind": kind,
        "predictions": predictions,
        "host": host[:HOST_LABELS],
    }


def _named(seen: Seen, labels: tuple[str, ...], top: int) -> tuple[list[dict[str, Any]], str]:
    """The first labels with their numbers where they are shown, and which numbers these are."""
    kind = "probabilities" if "probabilities" in seen.numbers else next(iter(seen.numbers), "none")
    key = "probability" if kind == "probabilities" else "score"
    numbers: np.ndarray | None = seen.numbers.get(kind)
    named = []
    for index in seen.order[0, :top].tolist():
        named.append({"label": labels[index]} | ({} if numbers is None else {key: float(numbers[0, index])}))
    return named, kind


def _described(desk: Desk) -> dict[str, Any]:
    programs = []
    for served, model in zip(desk.answering.served.values(), desk.answering.models, strict=False):
        samples = [{"caption": caption, "picture": _url(file)} for caption, file in desk.samples.get(served.name, ())]
        programs.append(
            {
                "name": served.name,
                "version": served.version,
                "task": model.task.name,
                "labels": served.labels[:50],
                "num_labels": len(served.labels),
                "shape": served.shape,
                "program": format_spec(model.program),
                "canvas": format_spec(model.canvas),
                "label_map": format_spec(model.label_map),
                "read_from": _read_from(model),
                "samples": samples,
            }
        )
    info = desk.answering.host.info
    host = {"id": info.id, "num_labels": info.num_classes, "shape": info.shape, "licence": info.licence}
    return {"host": host, "programs": programs, "black_box": desk.options.is_black_box}


def _read_from(model: Reprogrammed) -> dict[str, list[str]]:
    """The first host labels that each task label is read from, where a label map has such."""
    name = functools.partial(model.host.info.column, apart=model.program.num_groups > 1)
    names = [[name(i) for i in row[:HOST_LABELS]] for row in model.label_map.assignment()]
    return {label: row for label, row in zip(model.task.classes, names, strict=False) if row}


def _url(file: bytes) -> str:
    """An image file as a data URL; browsers look at the bytes themselves for its format."""
    return "data:image/png;base64," + base64.b64encode(file).decode("ascii")
