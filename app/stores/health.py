"""`store check`: everything that has to be right before a store can refund, looked at without writing to it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from app import outbound
from app.outbound import Answer
from app.stores.answers import Reply, http_date, read_failure
from app.stores.calls import StoreCalls
from app.stores.features import legacy_index
from app.stores.gate import BreakerOpen
from app.stores.port import Check, HealthReport, PaymentMethod, StoreMisconfigured
from app.stores.reading import JsonObject, Unreadable, flag_of, mapping, text_of
from app.stores.woo_v3_answers import V3_CODES
from app.stores.woo_v3_wire import decimals_setting, payment_methods

_CLOCK_TOLERANCE_S = 60.0
_CERTIFICATE_WARNING = timedelta(days=14)

_STATUS_FIELDS = (
    "environment.version,settings.currency,settings.number_of_decimals,settings.HPOS_enabled,settings.HPOS_sync_enabled"
)
KEY_REMEDY = (
    "In WooCommerce > Settings > Advanced > REST API, make a key with the permission Read/Write for a user with the "
    "role Shop manager, and store it here. If the key is right, the host may strip the Authorization header: use the "
    "query authentication then."
)


@dataclass(slots=True)
class Findings:
    """What a look-over has found out so far."""

    checks: list[Check] = field(default_factory=list)
    woocommerce_version: str | None = None
    currency: str | None = None
    decimals: int | None = None
    hpos: str | None = None
    clock_skew_s: float | None = None
    payment_methods: tuple[PaymentMethod, ...] = ()
    apis: list[str] = field(default_factory=list)

    def add(self, name: str, ok: bool | None, detail: str, remedy: str | None = None) -> None:
        """Write a check down; a remedy is for one that did not pass."""
        self.checks.append(Check(name=name, ok=ok, detail=detail, remedy=None if ok else remedy))

    def report(self) -> HealthReport:
        """Give everything found."""
        return HealthReport(
            ok=all(check.ok is not False for check in self.checks),
            checks=tuple(self.checks),
            woocommerce_version=self.woocommerce_version,
            currency=self.currency,
            decimals=self.decimals,
            hpos=self.hpos,
            clock_skew_s=self.clock_skew_s,
            payment_methods=self.payment_methods,
            apis=tuple(self.apis),
        )


async def examine(calls: StoreCalls) -> HealthReport:
    """Look a store over, from its name to its payment gateways; what cannot be found out is None, nothing is raised."""
    findings = Findings()
    if await check_connection(calls, findings):
        await _apis(calls, findings)
        if await _credentials(calls, findings):
            await _write_permission(calls, findings)
            await read_system(calls, findings)
            await check_payment_methods(calls, findings)
    return findings.report()


async def check_connection(calls: StoreCalls, findings: Findings) -> bool:
    """Check address, DNS and TLS; say whether there is any point in going on."""
    try:
        probe = await calls.probe()
    except StoreMisconfigured as error:
        findings.add("address", False, str(error), "Correct the store's address or its kind of authentication.")
        return False
    except outbound.NotSent as error:
        if error.reason == "dns":
            findings.add("dns", False, str(error), "Check the spelling of the address and the domain's DNS records.")
            return False
        findings.add("dns", True, "The host name was found.")
        match error.reason:
            case "address":
                remedy = "Use the store's public address, or permit private stores in the gateway's settings."
            case "certificate" | "tls":
                remedy = "Renew the store's certificate with its whole chain, or name the CA file that it is signed by."
            case "ca_file":
                remedy = "Give the path of a readable PEM file."
            case _:
                remedy = "Check that the store is up and that its firewall lets the gateway's address in."
        name = "tls" if error.reason in ("certificate", "tls", "ca_file") else "reachable"
        findings.add(name, False, str(error), remedy)
        return False
    findings.add("dns", True, "The host name was found.")
    findings.add("reachable", True, "The store accepts connections.")
    expires = probe.certificate_expires_at
    if probe.tls_version is None:
        findings.add("tls", None, "Plain http: for development stores only.", "Use https.")
    elif expires is None:
        findings.add("tls", True, f"{probe.tls_version}, certificate valid.")
    else:
        left = expires - datetime.now(UTC)
        findings.add("tls", True, f"{probe.tls_version}, certificate valid for another {left.days} days.")
        if left < _CERTIFICATE_WARNING:
            findings.add("certificate_expiry", None, f"Expires on {expires:%Y-%m-%d}.", "Renew the certificate soon.")
    return True


async def _apis(calls: StoreCalls, findings: Findings) -> None:
    """Check which APIs the store offers, and its clock, from its two public indexes."""
    index, namespaces = await check_clock(calls, findings)
    legacy = await legacy_index(calls)
    if legacy is not None:
        findings.apis.append("wc-api/v3")
        findings.woocommerce_version = legacy.version
    if "wc/v3" in namespaces:
        findings.add("rest_api", True, f"Offers {', '.join(findings.apis)}.")
    elif namespaces:
        findings.add(
            "rest_api",
            False,
            "WordPress answers, but without WooCommerce's REST API v3.",
            "Activate WooCommerce 3.5 or later, and remove what closes its REST API.",
        )
    else:
        answered = "nothing" if index is None else f"HTTP {index.status} without an index"
        findings.add(
            "rest_api",
            None,
            f"The public index /wp-json/ gives {answered}.",
            "Set WordPress's permalinks to anything but Plain; let security plugins and firewalls pass /wp-json/.",
        )


async def check_clock(calls: StoreCalls, findings: Findings) -> tuple[Answer | None, list[str]]:
    """Compare the store's clock with ours, and give WordPress's public index with its namespaces."""
    asked_at = datetime.now(UTC)
    index = await _index(calls, "wp-json/", {"_fields": "namespaces"})
    _clock(findings, index, asked_at)
    namespaces = namespaces_of(index)
    findings.apis += [name for name in namespaces if name in ("wc/v1", "wc/v2", "wc/v3")]
    return index, namespaces


def namespaces_of(index: Answer | None) -> list[str]:
    """Read the APIs that WordPress's index names."""
    listed = None if index is None else _object(index).get("namespaces")
    return [name for name in listed if isinstance(name, str)] if isinstance(listed, list) else []


async def _index(calls: StoreCalls, path: str, params: dict[str, str]) -> Answer | None:
    try:
        return await calls.open_get(path, params)
    except (outbound.OutboundError, StoreMisconfigured):
        return None


def _object(answer: Answer) -> JsonObject:
    document = Reply.of(answer, V3_CODES).document
    value = None if document is None else document.value
    return value if isinstance(value, dict) else {}


def _clock(findings: Findings, answer: Answer | None, asked_at: datetime) -> None:
    now = datetime.now(UTC)
    theirs = None if answer is None else http_date(answer.headers.get("date", ""))
    if theirs is None:
        findings.add("clock", None, "The store does not tell its time.")
        return
    # The header has whole seconds and was written some time between our two looks at the clock.
    skew = (theirs + timedelta(seconds=0.5) - (asked_at + (now - asked_at) / 2)).total_seconds()
    findings.clock_skew_s = round(skew, 1)
    findings.add(
        "clock",
        abs(skew) <= _CLOCK_TOLERANCE_S,
        f"The store's clock is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} ours.",
        "Let the store's server (or this one) synchronise its clock with NTP; signatures fail beyond 15 minutes.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Got:
    """What a read gave, or why it gave nothing."""

    value: object
    problem: str | None
    code: str | None


async def get(calls: StoreCalls, path: str, params: dict[str, str]) -> Got:
    """Read once, without retries: a check should say what it saw."""
    try:
        reply = await calls.exchange("GET", path, params, call="check", priority="interactive")
    except (outbound.OutboundError, BreakerOpen, StoreMisconfigured) as error:
        return Got(value=None, problem=str(error), code=None)
    failure = read_failure(reply, secrets=calls.connection.secrets)
    if failure is not None:
        return Got(value=None, problem=str(failure), code=failure.store_code)
    assert reply.document is not None
    return Got(value=reply.document.value, problem=None, code=None)


async def _credentials(calls: StoreCalls, findings: Findings) -> bool:
    got = await get(calls, "orders", {"per_page": "1", "_fields": "id"})
    if got.problem is None:
        findings.add("credentials", True, "The API key may read orders.")
        return True
    findings.add("credentials", False, got.problem, KEY_REMEDY)
    return False


async def _write_permission(calls: StoreCalls, findings: Findings) -> None:
    """Ask for a refund that cannot be: order 0 does not exist and the amount is negative.

    Permission is checked first (AUTH:587), so a key that may not write is told so; any other gets "Invalid order ID".
    """
    try:
        reply = await calls.write_once(
            "POST",
            "orders/0/refunds",
            {},
            {"amount": "-1", "api_refund": False, "api_restock": False},
            call="check",
            priority="interactive",
        )
    except (outbound.OutboundError, BreakerOpen, StoreMisconfigured) as error:
        findings.add("write_permission", None, str(error), "Try again.")
        return
    code = None if reply.error is None else reply.error.code
    if code in ("woocommerce_rest_invalid_order_id", "woocommerce_rest_invalid_order_refund"):
        findings.add("write_permission", True, "The API key may create refunds.")
        return
    failure = read_failure(reply, secrets=calls.connection.secrets)
    refused = isinstance(failure, StoreMisconfigured)
    findings.add(
        "write_permission", False if refused else None, str(failure or "The store answered oddly."), KEY_REMEDY
    )


async def read_system(calls: StoreCalls, findings: Findings) -> None:
    """Read version, currency, decimals and order storage from wc/v3's system status."""
    got = await get(calls, "system_status", {"_fields": _STATUS_FIELDS})
    try:
        status = mapping(got.value or {}, "system_status")
        environment = mapping(status.get("environment") or {}, "environment")
        settings = mapping(status.get("settings") or {}, "settings")
        findings.woocommerce_version = (
            text_of(environment.get("version"), "version")[:20] or findings.woocommerce_version
        )
        findings.currency = text_of(settings.get("currency"), "currency")[:10] or None
        if settings.get("number_of_decimals") is not None:
            findings.decimals = decimals_setting(settings.get("number_of_decimals"))
        findings.hpos = _hpos(settings)
    except Unreadable as error:
        findings.add("system", None, f"The store's system status is not readable: {error}.")
    findings.checks += _system_checks(findings, got.problem)


def _hpos(settings: JsonObject) -> str | None:
    enabled, synchronised = flag_of(settings.get("HPOS_enabled")), flag_of(settings.get("HPOS_sync_enabled"))
    if enabled is None:
        return None
    return "off" if not enabled else "on, synchronised" if synchronised else "on"


def _system_checks(findings: Findings, problem: str | None) -> Iterator[Check]:
    version, currency, decimals = findings.woocommerce_version, findings.currency, findings.decimals
    facts = {
        "woocommerce": None if version is None else f"WooCommerce {version}.",
        "currency": None if currency is None or decimals is None else f"{currency} with {decimals} decimals.",
        "hpos": None if findings.hpos is None else f"High-performance order storage is {findings.hpos}.",
    }
    for name, detail in facts.items():
        if detail is not None:
            yield Check(name=name, ok=True, detail=detail)
        else:
            yield Check(
                name=name,
                ok=None,
                detail=problem or "The store does not tell.",
                remedy="Give the key's user the role Shop manager, so that the gateway need not infer this.",
            )


_ASK_THEM = (
    "Give the key's user the role Shop manager; otherwise whether a gateway can refund shows only when it is asked."
)


async def check_payment_methods(
    calls: StoreCalls, findings: Findings, *, vouched: frozenset[str] = frozenset(), remedy: str = _ASK_THEM
) -> None:
    """Check which payment methods can refund, by wc/v3 or by the owner's word."""
    got = await get(calls, "payment_gateways", {"_fields": "id,title,enabled,method_supports"})
    if got.problem is not None:
        findings.add("payment_methods", None, got.problem, remedy)
        return
    try:
        findings.payment_methods = payment_methods(got.value)
    except Unreadable as error:
        findings.add("payment_methods", None, f"The store's list of gateways is not readable: {error}.", remedy)
        return
    able = [method.id for method in findings.payment_methods if method.capability == "refunds" or method.id in vouched]
    findings.add(
        "payment_methods",
        True if able else None,
        f"Can refund: {', '.join(able)}." if able else "None of the store's payment gateways can refund.",
        "Refunds can only be recorded as manual until a payment gateway that supports refunds is installed.",
    )
