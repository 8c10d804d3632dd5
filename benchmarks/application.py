"""The service, and beside it two routes that do nothing: what its own are measured against.

Run as a module it serves as `python -m rackfit` does, in all but these two routes.
"""

import sys

from litestar import Litestar, MediaType, get
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

import rackfit.application as service
from benchmarks.questions import LITESTAR_PATH, RAW_PATH
from rackfit.__main__ import main

_serve_only = service.application


async def raw_no_op(_scope: Scope, _receive: Receive, send: Send) -> None:
    """Answer with as little as ASGI allows."""
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"ok", "more_body": False})


@get(LITESTAR_PATH, media_type=MediaType.TEXT)
async def litestar_no_op() -> str:
    """Answer with as little as Litestar allows."""
    return "ok"


class Beside:
    """The service's application and the no-ops, none inside another."""

    def __init__(self, application: ASGIApp) -> None:
        self._service = application
        framework = Litestar([litestar_no_op], openapi_config=None, logging_config=None)
        self._no_ops: dict[str, ASGIApp] = {RAW_PATH: raw_no_op, LITESTAR_PATH: framework}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection; start-up and shutdown are the service's."""
        path = scope["path"] if scope["type"] == ScopeType.HTTP else ""
        await self._no_ops.get(path, self._service)(scope, receive, send)


def application() -> ASGIApp:
    """Make the service from the environment, and put the no-ops beside it."""
    return Beside(_serve_only())


if __name__ == "__main__":
    # The service's own entry point then serves this: whatever options it runs the server with,
    # they are measured.
    service.application = application
    sys.exit(main())
