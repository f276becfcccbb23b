"""The application: routes behind one gate, errors in the protocol's form, and an OpenAPI description."""

import contextlib
from collections.abc import AsyncIterator

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Match

from reprogram._version import __version__
from reprogram.errors import DataError
from reprogram.serving.bodies import RefusedError
from reprogram.serving.desk import Desk
from reprogram.serving.gate import Gate, refused
from reprogram.serving.routes_oip import add_oip_routes
from reprogram.serving.routes_plain import add_plain_routes
from reprogram.utils.text import printable


def create_app(desk: Desk) -> FastAPI:
    """The ASGI application of a server.

    Args:
        desk: the server's state; it is closed when the application ends.
    """

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        desk.is_ready = True
        yield
        desk.is_ready = False
        desk.close()

    app = FastAPI(
        title="reprogram serve",
        version=__version__,
        description="Programs on a frozen classifier, by the Open Inference Protocol v2 and for ordinary image files.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
    )
    add_oip_routes(app, desk)
    add_plain_routes(app, desk)
    for kind in (RefusedError, DataError):
        app.add_exception_handler(kind, _refused)
    app.add_exception_handler(HTTPException, _no_route)
    app.add_exception_handler(RequestValidationError, _wrong_option)
    app.add_middleware(Gate, desk=desk)
    if desk.needs_token:
        _ask_for_tokens(app)
    return app


async def _refused(_: Request, error: Exception) -> Response:
    status, reason, headers = refused(error)
    return JSONResponse({"error": reason}, status, headers)


async def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    reason = {404: "no such path; /openapi.json describes those that there are", 405: "the path takes another method"}
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = ", ".join(sorted(_methods(request)))
    return JSONResponse({"error": reason.get(error.status_code, str(error.detail))}, error.status_code, headers)


def _methods(request: Request) -> set[str]:
    """The methods of all routes that have a request's path."""
    found: set[str] = set()
    for route in request.app.routes:
        if route.matches(request.scope)[0] is not Match.NONE:
            found |= set(getattr(route, "methods", None) or ())
    return found | ({"HEAD"} if "GET" in found else set())


async def _wrong_option(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:]) or "request"
    return JSONResponse({"error": f"{printable(where)[:60]}: {printable(first['msg'])[:120]}"}, 400)


def _ask_for_tokens(app: FastAPI) -> None:
    """Say in the description that a bearer token is asked for."""
    usual = app.openapi

    def described() -> dict[str, object]:
        document = usual()
        document.setdefault("components", {})["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        for path, methods in document["paths"].items():
            for operation in methods.values():
                operation["security"] = [] if path.startswith("/v2/health/") else [{"token": []}]
        return document

    app.openapi = described  # type: ignore[method-assign]
