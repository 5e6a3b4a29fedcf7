"""A request as the web server gets it, an answer as it sends it, and the answers that are no API's own."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import JsonValue

from app.sandbox.model import Json

HTML: Mapping[str, str] = {"Content-Type": "text/html; charset=UTF-8"}
JSON: Mapping[str, str] = {"Content-Type": "application/json; charset=UTF-8"}

_BAD_GATEWAY = (
    b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n"
    b"<hr><center>nginx/1.22.1</center>\r\n</body>\r\n</html>\r\n"
)
_CRITICAL = (
    "<p>There has been a critical error on this website.</p><p>"
    '<a href="https://wordpress.org/documentation/article/faq-troubleshooting/">'
    "Learn more about troubleshooting WordPress.</a></p>"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    method: str
    #: As sent, percent-encoded.
    path: str
    query_string: str
    #: Names in lower case.
    headers: Mapping[str, str]
    body: bytes
    #: `https://shop.example`
    site_url: str
    is_https: bool

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpAnswer:
    status: int
    headers: Mapping[str, str]
    body: bytes
    #: What happens to the connection: `lost` closes it without a byte, `truncated` in the middle of the body.
    connection: Literal["kept", "lost", "truncated"] = "kept"


def json_answer(status: int, body: JsonValue, headers: Mapping[str, str]) -> HttpAnswer:
    return HttpAnswer(status=status, headers=headers, body=json.dumps(body, separators=(",", ":")).encode())


def bad_gateway() -> HttpAnswer:
    """Return what nginx says when PHP has not answered."""
    return HttpAnswer(status=502, headers=HTML, body=_BAD_GATEWAY)


def critical_error(request: HttpRequest, headers: Mapping[str, str]) -> HttpAnswer:
    """Return WordPress' last words; its error handler speaks JSON only to those who speak of JSON."""
    if "json" not in request.headers.get("accept", "") + request.content_type:
        page = f"<!DOCTYPE html><html><body>{_CRITICAL}</body></html>"
        return HttpAnswer(status=500, headers=HTML, body=page.encode())
    body: Json = {
        "code": "internal_server_error",
        "message": _CRITICAL,
        "data": {"status": 500},
        "additional_errors": [],
    }
    return json_answer(500, body, headers)
