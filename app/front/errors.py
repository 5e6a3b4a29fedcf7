"""How the front says no: in WooCommerce's shape, with a status that says what is the case, and every fault named."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.front.words import WORDS, Face, Situation, Words


@dataclass(frozen=True, slots=True, kw_only=True)
class ParamFault:
    """One thing that is wrong with a parameter."""

    param: str  #: the parameter at the top, such as line_items
    message: str
    pointer: str = ""  #: JSON pointer into the request as it was sent; "" for the parameter itself
    kind: str = "refund_gateway_invalid"  #: WordPress's code of the fault, or ours
    situation: Situation | None = None  #: what WooCommerce calls it when there is nothing else

    @property
    def place(self) -> str:
        """Point at the fault."""
        return self.pointer or f"/{self.param}"


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySays:
    """What the gateway adds to WooCommerce's words, for programs: `data.refund_gateway`."""

    code: str
    errors: Sequence[Mapping[str, Any]] = ()  #: each with code, pointer and message
    refund_id: str | None = None
    status: str | None = None  #: of the refund
    message: str | None = None
    more: Mapping[str, Any] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """Give it as JSON, without what there is nothing to say of."""
        known: dict[str, Any] = {
            "code": self.code,
            "message": self.message,
            "errors": list(self.errors) or None,
            "refund_id": self.refund_id,
            "status": self.status,
            **self.more,
        }
        return {name: value for name, value in known.items() if value is not None}


class WooError(Exception):
    """Ends a request with an error in WooCommerce's shape."""

    def __init__(
        self,
        situation: Situation,
        message: str | None = None,
        *,
        status: int | None = None,
        faults: Sequence[ParamFault] = (),
        says: GatewaySays | None = None,
        headers: Mapping[str, str] | None = None,
        data: Mapping[str, Any] | None = None,
    ) -> None:
        """Take the situation's own words and status where there are no better ones."""
        super().__init__(situation)
        self.situation = situation
        self.message = message
        self.status = status
        self.faults = tuple(faults)
        self.says = says
        self.headers = dict(headers or {})
        self.data = dict(data or {})

    def status_for(self, face: Face) -> int:
        """Give the HTTP status."""
        words = WORDS[self.situation]
        return self.status or (words.legacy_status if face == "legacy" else 0) or words.status

    def body_for(self, face: Face) -> dict[str, Any]:
        """Give the JSON."""
        words = WORDS[self.situation]
        if face == "v3":
            return self._v3(words)
        code = words.legacy_code or words.code
        message = self.message or words.legacy_message or words.message
        # What WooCommerce has words of its own for is said in them, and explained behind.
        own = "" if self.situation == "invalid_param" else f"{message} "
        errors = [{"code": code, "message": own + fault.message} for fault in self.faults]
        body: dict[str, Any] = {"errors": errors or [{"code": code, "message": message}]}
        if self.says is not None:
            body["refund_gateway"] = self.says.document()
        return body

    def _v3(self, words: Words) -> dict[str, Any]:
        data: dict[str, Any] = {"status": self.status_for("v3")}
        message = self.message or words.message
        if self.faults:
            params: dict[str, str] = {}
            for fault in self.faults:
                params[fault.param] = (
                    f"{params[fault.param]} {fault.message}" if fault.param in params else fault.message
                )
            data["params"] = params
            data["details"] = {
                fault.param: {
                    "code": fault.kind,
                    "message": params[fault.param],
                    "data": {"param": fault.param} if fault.kind == "rest_invalid_type" else None,
                }
                for fault in reversed(self.faults)
            }
            if self.message is None and self.situation == "invalid_param":
                message += ", ".join(params)
        data |= self.data
        if self.says is not None:
            data["refund_gateway"] = self.says.document()
        return {"code": words.code, "message": message, "data": data}


class Faults:
    """Gathers everything that is wrong with a request before any of it is said."""

    def __init__(self) -> None:
        """Start with nothing wrong."""
        self._found: list[ParamFault] = []

    def add(
        self,
        param: str,
        message: str,
        *,
        pointer: str = "",
        kind: str = "refund_gateway_invalid",
        situation: Situation | None = None,
    ) -> None:
        """Note a fault."""
        self._found.append(ParamFault(param=param, message=message, pointer=pointer, kind=kind, situation=situation))

    def __bool__(self) -> bool:
        """Say whether anything is wrong."""
        return bool(self._found)

    def raise_any(self) -> None:
        """Raise the error that names every fault, if there are any; a single one in WooCommerce's own words for it."""
        if not self._found:
            return
        lead = self._found[0]
        situation = lead.situation if len(self._found) == 1 and lead.situation is not None else "invalid_param"
        errors = [{"code": fault.kind, "pointer": fault.place, "message": fault.message} for fault in self._found]
        # A negative amount is refused by WooCommerce itself, and just so.
        woocommerces = situation == "not_positive" or not _is_ours(self._found)
        says = None if woocommerces else GatewaySays(code="invalid_request", errors=errors)
        raise WooError(situation, faults=self._found, says=says)


def _is_ours(faults: Sequence[ParamFault]) -> bool:
    """Say whether WooCommerce would not have put these faults into the same words itself."""
    return any(not fault.kind.startswith("rest_") for fault in faults)
