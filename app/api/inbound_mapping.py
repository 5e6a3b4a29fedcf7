"""What a message of another system means as a refund: JMESPath over its body, then the rules of POST /v1/refunds.

Nothing about money is guessed. A fraction keeps the text that it was written with; one that an expression has computed
is refused, whatever it is.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from app.api.faults import faults_of
from app.api.inbound_expressions import Evaluation, WrittenNumber, why
from app.api.problems import InputFault
from app.api.reading import Unreadable, pointer_token, read_json
from app.api.schemas import RefundBody, to_command
from app.domain.decision import check_command
from app.flows.take_in import fault_member
from app.ledger.inbound import Outcome, Source

#: Fields of a refund's body that hold amounts, wherever they stand.
_AMOUNTS = frozenset({"amount", "goodwill", "shipping", "fees", "expected_refunded_total"})
#: What stands below these is the caller's own.
_FREE = frozenset({"metadata", "store_meta_data"})
_LONGEST_KEY = 200
_UNPRINTABLE = re.compile(r"[^!-~]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Understood:
    """What a message comes to."""

    dedupe_key: str
    request: Any  #: the refund's body that the mapping gave; None when there is none
    outcome: Outcome


def understand(source: Source, headers: Mapping[str, str], body: bytes) -> Understood:
    """Read a message as its source says today; whatever goes wrong is part of what it comes to, and nothing is raised.

    `headers` have their names in lower case.
    """
    document = read_json(body, parse_float=WrittenNumber)
    evaluation = Evaluation()
    key = _dedupe_key(source, headers, body, document, evaluation)
    if isinstance(document, Unreadable):
        failure = _failure("invalid_json", "The message cannot be read.", document.faults, place="message")
        return Understood(dedupe_key=key, request=None, outcome=Outcome(failure=failure))
    try:
        request = _mapped(source, document, evaluation)
    except Exception as error:  # an expression can fail in any way on a body it was not written for
        failure = {"code": "mapping_failed", "message": f"The mapping fails on this message: {why(error)}"}
        return Understood(dedupe_key=key, request=None, outcome=Outcome(failure=failure))
    return Understood(dedupe_key=key, request=request, outcome=Outcome() if request is None else _judged(request))


def _mapped(source: Source, document: Any, evaluation: Evaluation) -> Any:
    """Give the refund's body that a message maps to; None when it is about no refund."""
    mapping = source.mapping
    only_if = mapping.get("only_if")
    if only_if is not None and not evaluation.search(only_if, document):
        return None
    fields = mapping.get("fields")
    if fields is None:
        request = evaluation.search(mapping["expression"], document)
    else:
        request = {name: evaluation.search(expression, document) for name, expression in fields.items()}
        request = request if any(value is not None for value in request.values()) else None
    if not isinstance(request, dict):
        return request
    # A message says null where it has nothing to say, and so does an expression that finds nothing.
    request = {name: value for name, value in request.items() if value is not None}
    if source.store is not None:
        request.setdefault("store", source.store)
    return _with_amounts(request) if mapping.get("amounts_as_numbers") else request


def _with_amounts(value: Any) -> Any:
    """Write numbers where amounts belong as the text that they had in the message."""
    if isinstance(value, list):
        return [_with_amounts(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    return {
        name: inner if name in _FREE else _as_written(inner) if name in _AMOUNTS else _with_amounts(inner)
        for name, inner in value.items()
    }


def _as_written(value: Any) -> Any:
    if isinstance(value, WrittenNumber):
        return value.text
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return _with_amounts(value)


def _judged(request: Any) -> Outcome:
    """Hold a mapped request to the rules of a refund's body."""
    computed = {fault.pointer: fault for fault in _computed(request, "")} if isinstance(request, dict) else {}
    try:
        command = to_command(RefundBody.model_validate(request))
    except ValidationError as error:
        entries = [{**entry, "loc": ("body", *entry["loc"])} for entry in error.errors(include_url=False)]
        found = faults_of(RequestValidationError(entries, body=request), RefundBody)
        faults = [computed.get(fault.pointer, fault) for fault in found]
        return Outcome(failure=_failure("invalid_request", "The mapped refund is malformed.", faults, place="refund"))
    refusal = check_command(command)
    if refusal is not None:
        errors = [fault_member(fault) for fault in refusal.faults]
        return Outcome(failure={"code": refusal.code, "message": refusal.faults[0].message, "errors": errors})
    return Outcome(command=command)


def _computed(value: Any, pointer: str) -> Iterator[InputFault]:
    """Find amounts that an expression has computed, or that are numbers of its own."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in entries:
        here = f"{pointer}/{pointer_token(str(name))}"
        if name in _FREE:
            continue
        if name in _AMOUNTS and isinstance(inner, float):
            # Without the option a number is refused as in any request; this says what to do about it here.
            message = (
                "Amounts are text, not numbers. This number of the message is taken as it is written there with "
                "`amounts_as_numbers`."
                if isinstance(inner, WrittenNumber)
                else "This amount was computed by the mapping; computed numbers lose cents. Map one that the message "
                "has, or write it as text."
            )
            yield InputFault(code="amount_not_text", pointer=here, message=message)
        yield from _computed(inner, here)


def _failure(code: str, message: str, faults: Any, *, place: str) -> dict[str, Any]:
    errors = [{**fault.as_member(), "in": place} for fault in faults]
    if len(errors) == 1:
        message = f"{message} {errors[0]['message']}"
    return {"code": code, "message": message, "errors": errors}


def _dedupe_key(source: Source, headers: Mapping[str, str], body: bytes, document: Any, evaluation: Evaluation) -> str:
    """Give what makes a message the same as another: its own id, else the SHA-256 of its body."""
    own = _own_id(source, headers, document, evaluation)
    if not own:
        return f"sha256:{hashlib.sha256(body).hexdigest()}"
    if len(own) > _LONGEST_KEY or _UNPRINTABLE.search(own):
        return f"id-sha256:{hashlib.sha256(own.encode(errors='replace')).hexdigest()}"
    return f"id:{own}"


def _own_id(source: Source, headers: Mapping[str, str], document: Any, evaluation: Evaluation) -> str:
    if source.dedupe is None:
        return headers.get("webhook-id", "") if source.verification["kind"] == "standard" else ""
    if "header" in source.dedupe:
        return headers.get(str(source.dedupe["header"]).lower(), "")
    if isinstance(document, Unreadable):
        return ""
    try:
        found = evaluation.search(str(source.dedupe["expression"]), document)
    except Exception:
        return ""
    if isinstance(found, WrittenNumber):
        return found.text
    return str(found) if isinstance(found, (str, int)) and not isinstance(found, bool) else ""
