"""A small HTTP/1.1 client for making load: one keep-alive connection per worker and next to no work of its own."""

import asyncio
import json
from typing import Any


class Wire:
    """One connection, one request at a time."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def call(self, method: str, path: str, headers: dict[str, str], body: Any = None) -> tuple[int, bytes]:
        """Send a request and give status and body of the answer."""
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        assert self._reader is not None
        payload = b"" if body is None else json.dumps(body).encode()
        lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{self._port}", f"Content-Length: {len(payload)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if payload:
            lines.append("Content-Type: application/json")
        self._writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + payload)
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        status = int(head.split(" ", 2)[1])
        length = int(head.split("content-length:", 1)[1].split("\r\n", 1)[0])
        return status, await self._reader.readexactly(length)

    def close(self) -> None:
        """Hang up."""
        if self._writer is not None:
            self._writer.close()
