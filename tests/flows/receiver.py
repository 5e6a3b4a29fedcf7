"""A receiver of webhooks on a real socket: keeps what it gets, and answers as it is told to."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from standardwebhooks import Webhook

from tests.conftest import free_port


@dataclass(frozen=True, slots=True)
class Received:
    """One POST."""

    headers: dict[str, str]
    body: bytes
    answered: int

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def message(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.body)
        return document

    def verify(self, secret: str) -> Any:
        """Have Standard Webhooks' own library verify it; raises when it does not."""
        return Webhook(secret).verify(self.body, self.headers)


@dataclass(slots=True)
class Receiver:
    """What it has got, and how it answers."""

    url: str = ""
    got: list[Received] = field(default_factory=list)
    #: Gives the status for a message; the headers of every answer are in `says`.
    decide: Callable[[dict[str, Any]], int] = lambda message: 204
    says: dict[str, str] = field(default_factory=dict)
    takes_s: float = 0.0
    at_a_time: int = 0
    most_at_a_time: int = 0

    def taken(self) -> list[dict[str, Any]]:
        """Give the messages that were answered with success, in the order in which they came."""
        return [one.message for one in self.got if 200 <= one.answered < 300]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body = b""
        while True:
            part = await receive()
            body += part.get("body", b"")
            if not part.get("more_body"):
                break
        self.at_a_time += 1
        self.most_at_a_time = max(self.most_at_a_time, self.at_a_time)
        try:
            if self.takes_s:
                await asyncio.sleep(self.takes_s)
        finally:
            self.at_a_time -= 1
        status = self.decide(json.loads(body))
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.got.append(Received(headers, body, status))
        said = [(name.encode(), value.encode()) for name, value in self.says.items()]
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0"), *said]})
        await send({"type": "http.response.body", "body": b""})


@asynccontextmanager
async def listening(app: Any, port: int) -> AsyncIterator[None]:
    """Serve an ASGI app at a port."""
    config = uvicorn.Config(app, host="127.0.0.1", port=port, log_config=None, access_log=False, lifespan="off")
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        assert not task.done()
        await asyncio.sleep(0.005)
    try:
        yield
    finally:
        server.should_exit = True
        await task


@asynccontextmanager
async def receiving(*, port: int = 0) -> AsyncIterator[Receiver]:
    """Run a receiver, at a port that is free."""
    port = port or free_port()
    receiver = Receiver(url=f"http://127.0.0.1:{port}/hooks")
    async with listening(receiver, port):
        yield receiver
