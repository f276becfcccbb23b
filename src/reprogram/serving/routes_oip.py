"""The routes of the Open Inference Protocol v2."""

from fastapi import FastAPI, Request
from starlette.responses import JSONResponse, Response

from reprogram._version import __version__
from reprogram.serving.description import INFERENCE_BODY, INFERRED, MODEL, TEXT, answers, thing
from reprogram.serving.desk import SMALL, Desk
from reprogram.serving.oip import EXTENSIONS, HEAD_LENGTH, Inference, metadata, outputs_of, write
from reprogram.serving.oip_request import read

BOOLEAN = {"type": "boolean"}
TEXTS = {"type": "array", "items": TEXT}
MODEL_PATHS = ("/v2/models/{model}", "/v2/models/{model}/versions/{version}")


def add_oip_routes(app: FastAPI, desk: Desk) -> None:
    """Add the routes that say whether the server is ready and what there is, and those that infer.

    Args:
        app: the application.
        desk: the server's state.
    """
    _say(app, desk)
    for path in MODEL_PATHS:
        _describe(app, desk, path)
        _infer(app, desk, path)


def _say(app: FastAPI, desk: Desk) -> None:
    health = thing(live=BOOLEAN, ready=BOOLEAN)

    @app.get("/v2/health/live", responses=answers(health))
    async def is_live() -> Response:
        """Whether the server runs."""
        return JSONResponse({"live": True, "ready": desk.is_ready})

    @app.get("/v2/health/ready", responses=answers(health) | {503: answers(health)[200]})
    async def is_ready() -> Response:
        """Whether requests are answered; once the server was told to stop it isn't ready any more."""
        return JSONResponse({"live": True, "ready": desk.is_ready}, 200 if desk.is_ready else 503)

    @app.get("/v2", responses=answers(thing(name=TEXT, version=TEXT, extensions=TEXTS)))
    async def server() -> Response:
        """What the server is, and what it understands beyond the protocol."""
        return JSONResponse({"name": "reprogram", "version": __version__, "extensions": EXTENSIONS})

    @app.get("/v2/models", responses=answers(thing(models=TEXTS)))
    async def models() -> Response:
        """The names of what can be asked: programs, and the host itself."""
        return JSONResponse({"models": list(desk.answering.served)})


def _describe(app: FastAPI, desk: Desk, path: str) -> None:
    ready = thing(name=TEXT, ready=BOOLEAN)

    @app.get(path, responses=answers(MODEL, 404))
    async def model_metadata(model: str, version: str | None = None) -> Response:
        """The tensors of a model."""
        return JSONResponse(metadata(desk.answering, desk.served(model, version)))

    @app.get(f"{path}/ready", responses=answers(ready, 404) | {503: answers(ready)[200]})
    async def is_model_ready(model: str, version: str | None = None) -> Response:
        """Whether a model answers."""
        name = desk.served(model, version).name
        return JSONResponse({"name": name, "ready": desk.is_ready}, 200 if desk.is_ready else 503)


def _infer(app: FastAPI, desk: Desk, path: str) -> None:
    answering = desk.answering
    described = answers(INFERRED, 400, 404, 408, 413, 415, 429, 503, binary=True)

    @app.post(f"{path}/infer", responses=described, openapi_extra={"requestBody": INFERENCE_BODY})
    async def infer(request: Request, model: str, version: str | None = None) -> Response:
        """The outputs for some images: tensors of levels (UINT8) or of pixels in [0, 1] (FP32), or files (BYTES)."""
        served = desk.served(model, version)
        width = outputs_of(answering, served)

        def understood(body: bytes) -> Inference:
            return read(body, request.headers.get(HEAD_LENGTH), served, tuple(width), desk.batcher.queue)

        async with desk.bodies.read(request) as body:
            inference = await desk.helped(understood, body) if len(body) > SMALL else understood(body)
            images = inference.images
            if isinstance(images, list):
                images = await desk.helped(answering.decode, served, images)
        scores, _ = await desk.scores(served, images, request.scope["account"])

        def written() -> tuple[bytes, dict[str, str]]:
            return write(inference, served, answering.see(served, scores), width)

        content, headers = await desk.helped(written) if scores.numel() > SMALL else written()
        return Response(content, headers=headers)
