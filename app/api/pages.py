"""The pages that problems' `type` leads to, for people and, by Accept, for programs."""

from html import escape
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse
from pydantic_core import to_json

from app.api import documentation as docs
from app.api.problem_codes import ProblemCode
from app.api.problem_table import INPUT_FAULTS, PROBLEMS
from app.api.problems import PROBLEM_JSON, Problem

router = APIRouter(prefix="/problems", tags=["Problems"])

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:44rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "code{background:#f2f2f2;padding:.1em .3em;border-radius:3px}dt{margin-top:.8rem}dd{margin:0 0 0 1rem}"
    "td,th{text-align:left;padding:.2rem .8rem .2rem 0;vertical-align:top}a{color:#0b57d0}"
)
_ANSWERS: dict[int, dict[str, Any]] = {
    200: {
        "description": "HTML, or JSON when Accept asks for it.",
        "content": {
            "text/html": {"schema": {"type": "string"}},
            PROBLEM_JSON: {"schema": {"type": "object"}},
        },
    }
}


@router.get(
    "",
    operation_id="list_problems",
    response_class=HTMLResponse,
    **docs.documented(None, answers=_ANSWERS),
)
async def list_problems(request: Request) -> Response:
    """List every problem that the gateway can answer with."""
    if _wants_json(request):
        return _json({"data": [_facts(code) for code in sorted(PROBLEMS)]})
    rows = "".join(
        f'<tr><td><a href="/problems/{code}"><code>{code}</code></a><td>{PROBLEMS[code].status}'
        f"<td>{_marked(PROBLEMS[code].title)}"
        for code in sorted(PROBLEMS)
    )
    return _page("Problems", f"<table><tr><th>code<th>status<th>what it means{rows}</table>")


@router.get(
    "/{code}",
    operation_id="explain_problem",
    response_class=HTMLResponse,
    **docs.documented(None, ["not_found"], answers=_ANSWERS),
)
async def explain_problem(request: Request, code: str) -> Response:
    """Explain a problem: what it means and what to do about it."""
    known = next((candidate for candidate in PROBLEMS if candidate == code), None)
    if known is None:
        raise Problem("not_found", "There is no problem of this code; see /problems.")
    if _wants_json(request):
        return _json(_facts(known))
    problem = PROBLEMS[known]
    again = "Yes: the same request can succeed later." if problem.retryable else "No: something has to change first."
    parts = [
        f"<p>{_marked(problem.explanation)}",
        f"<dl><dt><b>What to do</b><dd>{_marked(problem.remedy)}",
        f"<dt><b>Worth a retry</b><dd>{again}",
        f"<dt><b>HTTP status</b><dd>{problem.status}</dl>",
    ]
    if known == "invalid_request":
        faults = "".join(f"<dt><code>{fault}</code><dd>{_marked(text)}" for fault, text in INPUT_FAULTS.items())
        parts.append(f"<h2>Codes in <code>errors</code></h2><dl>{faults}</dl>")
    return _page(problem.title, f"<p><code>{known}</code>{''.join(parts)}")


def _facts(code: ProblemCode) -> dict[str, Any]:
    problem = PROBLEMS[code]
    return {
        "type": f"/problems/{code}",
        "code": code,
        "title": problem.title,
        "status": problem.status,
        "retryable": problem.retryable,
        "explanation": problem.explanation,
        "remedy": problem.remedy,
    }


def _wants_json(request: Request) -> bool:
    """Say whether JSON was asked for by name; browsers and bare clients get the page."""
    accept = request.headers.get("accept", "")
    return "json" in accept and "text/html" not in accept


def _json(document: dict[str, Any]) -> Response:
    return Response(to_json(document), media_type=PROBLEM_JSON)


def _marked(text: str) -> str:
    """Escape a text and set what stands between backticks as code."""
    parts = escape(text, quote=False).split("`")
    return "".join(f"<code>{part}</code>" if i % 2 else part for i, part in enumerate(parts))


def _page(title: str, body: str) -> HTMLResponse:
    return HTMLResponse(
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)} · Refund Gateway</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style>'
        f'<p><a href="/problems">Problems</a><h1>{escape(title)}</h1>{body}</html>'
    )
