"""Routes behind an API key."""

from collections.abc import Callable, Coroutine
from typing import Any, cast

from fastapi import Request, Response
from fastapi.routing import APIRoute

from app.api.auth import Scope, admit
from app.api.documentation import SCOPE_MEMBER
from app.api.reading import read_json


class _JsonRequest(Request):
    async def json(self) -> Any:
        return read_json(await self.body())


class KeyedRoute(APIRoute):
    """A route that looks at a request only after its key was found to have the scope that the route documents.

    That happens here and not in a dependency, so that strangers learn nothing from how a body or an id is judged, and
    because every dependency costs a request some 50 µs. A JSON body is read by `read_json`; an unreadable one goes on
    as `Unreadable` and fails the model's validation, so that its faults are reported together with the headers'.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap FastAPI's own handler."""
        handler = super().get_route_handler()
        scope = cast("Scope", (self.openapi_extra or {})[SCOPE_MEMBER])

        async def behind_key(request: Request) -> Response:
            await admit(request, scope)
            return await handler(_JsonRequest(request.scope, request.receive))

        return behind_key
