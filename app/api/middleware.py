"""The frame around every request: its id, its body within limits, its log line, its numbers, and the last resort."""

import asyncio
import re
import time
from typing import Any, cast

import structlog
from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from ulid import ULID

from app.api.errors import problem_response
from app.api.problems import Problem
from app.api.trace import Trace, begin_trace
from app.telemetry import Metrics, log

_REQUEST_ID = re.compile(rb"[!-~]{1,128}")
_UNMATCHED = "unmatched"
#: The client has gone before there was an answer; nginx's number for it.
_CLIENT_GONE = 499
#: A file may take so many times as long as another body.
_UPLOAD_PATIENCE = 8


class _ClientGone(Exception):
    """The client hung up before its body was whole."""


class Frame:
    """Pure ASGI: reads the body under limits, hands it on whole, and sees to it that every request is answered."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        body_limit_bytes: int,
        body_within_s: float,
        upload_limit_bytes: int | None = None,
        uploads: frozenset[str] = frozenset(),
    ) -> None:
        """Wrap an application; a body may have so many bytes and take so many seconds, files at `uploads` more."""
        self._app = app
        self._body_limit_bytes = body_limit_bytes
        self._upload_limit_bytes = upload_limit_bytes or body_limit_bytes
        self._uploads = uploads
        self._body_within_s = body_within_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Carry out one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        headers: dict[bytes, bytes] = dict(scope["headers"])
        trace = Trace(request_id=_request_id(headers))
        begin_trace(scope, trace)
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message.get("headers", ()),
                    (b"x-request-id", trace.request_id.encode()),
                    (b"cache-control", b"no-store"),
                    *trace.headers,
                ]
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=trace.request_id):
            try:
                is_upload = scope["path"] in self._uploads
                limit_bytes = self._upload_limit_bytes if is_upload else self._body_limit_bytes
                within_s = self._body_within_s * (_UPLOAD_PATIENCE if is_upload else 1)
                body = await self._read_body(headers, receive, limit_bytes, within_s)
                await self._app(scope, receive if body is None else _replaying(body, receive), answer)
            except Problem as problem:
                # Only raised here for bodies that were not read to their end, so the connection is of no more use.
                problem.headers["Connection"] = "close"
                await problem_response(problem, trace.request_id)(scope, receive, answer)
            except _ClientGone:
                status = _CLIENT_GONE
            except Exception:
                log.exception("request.crashed", method=scope["method"], route=_route(scope))
                if status == 0:
                    await problem_response(Problem("internal_error"), trace.request_id)(scope, receive, answer)
            finally:
                _finish(scope, trace, status or _CLIENT_GONE, time.perf_counter() - began)

    async def _read_body(
        self, headers: dict[bytes, bytes], receive: Receive, limit_bytes: int, within_s: float
    ) -> bytes | None:
        """Read a body whole; None when there is none to come. Raises Problem or _ClientGone."""
        announced = headers.get(b"content-length")
        if announced is None and b"transfer-encoding" not in headers:
            return None
        if announced is not None and (not announced.isdigit() or int(announced) > limit_bytes):
            raise _too_large(limit_bytes)
        chunks: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(within_s):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _ClientGone
                    chunk: bytes = message.get("body", b"")
                    size += len(chunk)
                    if size > limit_bytes:
                        raise _too_large(limit_bytes)
                    chunks.append(chunk)
                    if not message.get("more_body", False):
                        return b"".join(chunks)
        except TimeoutError:
            raise Problem("body_too_slow") from None


def _too_large(limit_bytes: int) -> Problem:
    return Problem("body_too_large", f"The body has more than {limit_bytes} bytes.", limit_bytes=limit_bytes)


def _request_id(headers: dict[bytes, bytes]) -> str:
    """Take the caller's id if it is fit for logs and headers, else make one."""
    given = headers.get(b"x-request-id")
    return given.decode() if given is not None and _REQUEST_ID.fullmatch(given) else f"req_{ULID()}"


def _replaying(body: bytes, receive: Receive) -> Receive:
    """Give the body once, then whatever the server says next."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def _route(scope: Scope) -> str:
    """Give the route's template; a path would make metrics unbounded and could hold what a log must not."""
    path: Any = getattr(scope.get("route"), "path_format", None) or getattr(scope.get("route"), "path", None)
    return path if isinstance(path, str) else _UNMATCHED


def _finish(scope: Scope, trace: Trace, status: int, duration_s: float) -> None:
    route = _route(scope)
    metrics = cast("Metrics | None", getattr(cast("FastAPI", scope["app"]).state, "metrics", None))
    if metrics is not None:
        metrics.request_finished(route=route, status=status, duration_s=duration_s)
    log.info(
        "request.finished",
        method=scope["method"],
        route=route,
        status=status,
        duration_ms=round(duration_s * 1000, 2),
        key_id=None if trace.caller is None else trace.caller.key_id,
        tenant=None if trace.caller is None else trace.caller.tenant_id,
    )
