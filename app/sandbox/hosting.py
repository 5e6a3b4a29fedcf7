"""What stands between the web and the shop when a fault strikes: limits, pages, redirects, and answers lost or bent."""

from collections.abc import Sequence
from dataclasses import replace

from app.sandbox.exchange import HTML, HttpAnswer, HttpRequest, bad_gateway
from app.sandbox.faults import Fault

_MAINTENANCE = (
    b"<!DOCTYPE html><html><head><title>Maintenance</title></head><body><h1>Briefly unavailable for scheduled "
    b"maintenance. Check back in a minute.</h1></body></html>"
)
_FRONT_PAGE = b"<!DOCTYPE html><html><head><title>Sandbox shop</title></head><body><h1>Sandbox shop</h1></body></html>"
_CAPTCHA = b'<html><head><meta http-equiv="refresh" content="0;/.well-known/sgcaptcha/"></head></html>'
_NOTICE = b"<br />\n<b>Notice</b>:  Undefined index: total in <b>/srv/shop/plugin.php</b> on line <b>42</b><br />\n"


def kept_away(request: HttpRequest, faults: Sequence[Fault]) -> HttpAnswer | None:
    """Return the answer of a fault that keeps the request from the shop altogether."""
    for fault in faults:
        retry = {"Retry-After": str(fault.retry_after_s)}
        plain = {"Content-Type": "text/plain"}
        match fault.name:
            case "rate_limited":
                return HttpAnswer(status=429, headers={**plain, **retry}, body=b"Too Many Requests")
            case "bad_gateway":
                return bad_gateway()
            case "maintenance":
                return HttpAnswer(status=503, headers={**HTML, "Retry-After": "600"}, body=_MAINTENANCE)
            case "unavailable":
                return HttpAnswer(status=503, headers={**plain, **retry}, body=b"Service Unavailable")
            case "html":
                return HttpAnswer(status=200, headers=HTML, body=_FRONT_PAGE)
            case "captcha":
                return HttpAnswer(status=202, headers={**HTML, "SG-Captcha": "challenge"}, body=_CAPTCHA)
            case "redirect":
                location = request.site_url.replace("://", "://www.") + request.path
                return HttpAnswer(status=301, headers={**HTML, "Location": location}, body=b"")
            case _:
                pass
    return None


def on_the_way_back(answer: HttpAnswer, faults: Sequence[Fault]) -> HttpAnswer:
    """Return what is left of an answer after the faults that strike it."""
    for fault in faults:
        match fault.name:
            case "lost_answer":
                return replace(answer, connection="lost")
            case "truncated_json":
                return replace(answer, connection="truncated")
            case "bad_gateway_after":
                return bad_gateway()
            case "bom":
                answer = replace(answer, body=b"\xef\xbb\xbf" + answer.body)
            case "notice":
                answer = replace(answer, body=_NOTICE + answer.body)
            case _:
                pass
    return answer
