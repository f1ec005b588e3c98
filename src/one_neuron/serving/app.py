"""The server: its addresses, its limits, and what it answers when something is wrong.

A picture is decoded in a thread, on as many threads at once as there are cores. A request that would wait behind too
many others gets status 429 at once. No answer contains a traceback or a path of the server.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from one_neuron.errors import DataError
from one_neuron.serving.predictor import Predictor
from one_neuron.serving.requests import BadRequest, read_pictures
from one_neuron.system.machine import count_cores

Result = TypeVar("Result")

MAX_WAITING = 64  # requests
PAGE = Path(__file__).with_name("page")
# The page loads nothing from elsewhere, and no other page may show it in a frame.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; img-src 'self' data: blob:; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def create_app(predictor: Predictor) -> Starlette:
    """Return the ASGI application that serves a model.

    POST /predict
        Pictures in; `{"results": [...]}` out, one result for each picture, in their order: "file", "class",
        "probability" and "positive_class", or "file" and "error". Status 400 if no picture can be read.
    POST /explain
        One picture in; its prediction, what the neuron sees, and the contribution of each pixel, as pictures.
    GET /health, GET /model, GET /mistakes, GET /
        Whether it runs; what the model is; its worst mistakes; the page.
    """
    handlers = _Handlers(predictor)
    pages = {"/": "index.html", "/page.js": "page.js", "/page.css": "page.css"}
    routes = [
        Route("/predict", handlers.predict, methods=["POST"]),
        Route("/explain", handlers.explain, methods=["POST"]),
        Route("/health", handlers.health),
        Route("/model", handlers.model),
        Route("/mistakes", handlers.mistakes),
        *(Route(path, _serve_file(PAGE / name)) for path, name in pages.items()),
    ]
    return Starlette(
        routes=routes,
        exception_handlers={
            BadRequest: _refuse,
            HTTPException: _refuse_address,
            ClientDisconnect: _leave,
            Exception: _fail,
        },
    )


class _Handlers:
    """The answers to requests."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self._waiting = 0
        self._threads: anyio.CapacityLimiter | None = None

    async def predict(self, request: Request) -> Response:
        """Answer with the predictions for all pictures."""
        pictures = await read_pictures(request)

        def answer() -> list[dict[str, object]]:
            return [self._predictor.answer(name, content) for name, content in pictures]

        results = await self._work(answer)
        readable = any("error" not in result for result in results)
        return _json({"results": results}, 200 if readable else 400)

    async def explain(self, request: Request) -> Response:
        """Answer with one prediction and its pictures."""
        pictures = await read_pictures(request)
        try:
            return _json(await self._work(lambda: self._predictor.explain(pictures[0][1])))
        except DataError as error:
            raise BadRequest(400, str(error)) from error

    async def health(self, _: Request) -> Response:
        """Answer that the server runs."""
        return _json({"status": "ok"})

    async def model(self, _: Request) -> Response:
        """Answer with what the model is."""
        return _json(self._predictor.describe() | {"weights": self._predictor.weights})

    async def mistakes(self, _: Request) -> Response:
        """Answer with the worst mistakes on the test set."""
        return _json({"mistakes": await self._work(lambda: self._predictor.mistakes)})

    async def _work(self, work: Callable[[], Result]) -> Result:
        """Do some work in a thread."""
        if self._waiting >= MAX_WAITING:
            raise BadRequest(429, f"{MAX_WAITING} requests are waiting; send it again in a second")
        self._threads = self._threads or anyio.CapacityLimiter(count_cores())
        self._waiting += 1
        try:
            return await anyio.to_thread.run_sync(work, limiter=self._threads)
        finally:
            self._waiting -= 1


def _json(content: object, status: int = 200) -> Response:
    """Return an answer in JSON."""
    return JSONResponse(content, status, HEADERS)


def _serve_file(path: Path) -> Callable[[Request], Awaitable[Response]]:
    """Return the handler that answers with a file of the page."""

    async def serve(_: Request) -> Response:
        return FileResponse(path, headers=HEADERS)

    return serve


async def _refuse(_: Request, error: Exception) -> Response:
    """Answer a request that has something wrong."""
    assert isinstance(error, BadRequest)
    response = _json({"error": str(error)}, error.status)
    if error.status == 429:
        response.headers["Retry-After"] = "1"
    return response


async def _refuse_address(request: Request, error: Exception) -> Response:
    """Answer an unknown address or method."""
    assert isinstance(error, HTTPException)
    what = f"{request.method} {request.url.path[:100]}"
    known = "POST /predict, GET /health, GET /model and GET /"
    response = _json({"error": f"{what} is not known; use {known}"}, error.status_code)
    response.headers.update(error.headers or {})
    return response


async def _leave(_: Request, __: Exception) -> Response:
    """Return an empty answer, which Starlette needs even if the client has gone."""
    return Response(status_code=400)


async def _fail(_: Request, __: Exception) -> Response:
    """Answer after a mistake of the program; Starlette passes its traceback to the log of the server."""
    return _json({"error": "the server made a mistake; its log has the details"}, 500)
