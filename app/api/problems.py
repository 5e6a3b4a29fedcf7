"""Problems (RFC 9457): how a request is told no."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from app.api.problem_codes import InputCode, ProblemCode
from app.api.problem_table import PROBLEMS

PROBLEM_JSON = "application/problem+json"


class Problem(Exception):
    """Ends a request with a problem; the exception handler writes it."""

    def __init__(
        self,
        code: ProblemCode,
        detail: str | None = None,
        *,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
        errors: list[dict[str, Any]] | None = None,
        **facts: Any,
    ) -> None:
        """Take the code's own explanation as `detail` when there is nothing better to say."""
        super().__init__(code)
        self.code = code
        self.status = PROBLEMS[code].status if status is None else status
        self.detail = PROBLEMS[code].explanation if detail is None else detail
        self.headers = dict(headers or {})
        self.errors = errors
        self.facts = facts

    def document(self, request_id: str) -> dict[str, Any]:
        """Give the body of the answer."""
        kind = PROBLEMS[self.code]
        members: dict[str, Any] = {
            "type": f"/problems/{self.code}",
            "title": kind.title,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            "request_id": request_id,
            "retryable": kind.retryable,
        }
        if self.errors is not None:
            members["errors"] = self.errors
        return {**self.facts, **members}


@dataclass(frozen=True, slots=True, kw_only=True)
class InputFault:
    """One thing that is wrong with the form of a request."""

    code: InputCode
    pointer: str  #: JSON pointer (RFC 6901) into the body, or "/" and the name of a header or query parameter
    message: str
    place: Literal["body", "query", "header", "path"] = "body"
    facts: Mapping[str, Any] = field(default_factory=dict)

    def as_member(self) -> dict[str, Any]:
        """Give the entry of `errors`."""
        return {
            **self.facts,
            "pointer": self.pointer,
            "in": self.place,
            "code": self.code,
            "message": self.message,
        }


def invalid_request(faults: list[InputFault]) -> Problem:
    """Make the problem that names every fault of a request's form."""
    detail = faults[0].message if len(faults) == 1 else f"{len(faults)} things are wrong with the request; see errors."
    return Problem("invalid_request", detail, errors=[fault.as_member() for fault in faults])
