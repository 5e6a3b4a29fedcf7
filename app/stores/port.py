"""What every kind of store can do for us, and how it answers.

Exceptions of reads:

    StoreError
    ├── OrderNotFound          the store says there is no such order
    ├── StoreUnavailable       nothing usable came back now; trying again later may help (`retry_after_s`)
    ├── StoreMisconfigured     address, credentials, permissions or API are wrong; a person has to act
    ├── ListTooLong            a list would have to be put together here, and there is too much of it
    └── ListUnsupported        a list was asked for in a way that nobody here can serve

A refund POST never raises for what a store or a network can do: it returns a `StoreAnswer`, because what happened to
the money is the question.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

from app.domain.errors import RefusalCode
from app.domain.order import OrderNote, OrderSnapshot, StoreRefund
from app.domain.order_query import OrderPage, OrderQuery
from app.domain.refund import GatewayCapability, RefundPlan, StoreApi
from app.domain.refund_query import RefundQuery

#: interactive: a caller is waiting; background: recovery, retries, batches. Interactive requests go first.
Priority = Literal["interactive", "background"]


class StoreError(Exception):
    """A store could not do what was asked. `str(error)` is safe to show."""

    code: str = "store_error"

    def __init__(self, message: str, *, store_code: str | None = None, http_status: int | None = None) -> None:
        """Keep the store's own code and status for the timeline."""
        super().__init__(message)
        self.store_code = store_code
        self.http_status = http_status


class OrderNotFound(StoreError):
    """The store says there is no such order."""

    code = "order_not_found"


class StoreUnavailable(StoreError):
    """Nothing usable came back; the same request may work later."""

    code = "store_unavailable"

    def __init__(
        self,
        message: str,
        *,
        retry_after_s: float | None = None,
        store_code: str | None = None,
        http_status: int | None = None,
    ) -> None:
        """Keep how long the store asked us to wait, if it did."""
        super().__init__(message, store_code=store_code, http_status=http_status)
        self.retry_after_s = retry_after_s


class StoreMisconfigured(StoreError):
    """A person has to correct the store's address, credentials, permissions or plugins."""

    code = "store_misconfigured"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """What went over the wire, cut and cleaned of secrets, for the timeline and as evidence."""

    duration_ms: float
    http_status: int | None = None  #: None when no answer came
    store_code: str | None = None
    text: str = ""  #: the store's message or the start of its body, at most 300 characters


@dataclass(frozen=True, slots=True, kw_only=True)
class Refunded:
    """201 with an id, the right order, the asked amount, and `refunded_payment: true` where the gateway was asked."""

    store_refund_id: str
    exchange: Exchange


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The store said no, in its own words, after it had finished working.

    `needs_look` is True when the same answer also comes from a store whose payment gateway paid and whose code failed
    afterwards (WooCommerce deletes the row then, OF:692): order notes have to be read before the money counts as not
    moved.
    """

    code: RefusalCode
    message: str
    needs_look: bool
    exchange: Exchange


@dataclass(frozen=True, slots=True, kw_only=True)
class NotSent:
    """Provably no byte of the request reached the store: pool, DNS, connect or TLS failed, or the breaker is open."""

    message: str
    retry_after_s: float | None
    exchange: Exchange


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """The request may have reached the store and nothing said what became of it.

    `turned_away` names what seems to have answered in WooCommerce's place. That is no proof on its own; together with
    a refund that is still absent after the quiet period it is.
    """

    message: str
    turned_away: Literal["rate_limited", "maintenance", "captcha", "redirected", "blocked"] | None
    retry_after_s: float | None
    exchange: Exchange


@dataclass(frozen=True, slots=True, kw_only=True)
class Contradicted:
    """A 201 that does not say what it has to say: wrong amount, wrong order, no id, or the gateway was not called."""

    message: str
    store_refund_id: str | None
    facts: Mapping[str, str]
    exchange: Exchange


StoreAnswer = Refunded | Refused | NotSent | Unknown | Contradicted


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One line of `store check`."""

    name: str  #: stable, e.g. "dns", "tls", "rest_api", "credentials", "write_permission", "clock"
    ok: bool | None  #: None: could not be found out
    detail: str
    remedy: str | None = None  #: what to do about it, when not ok


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentMethod:
    """A payment gateway of the store and whether it can refund."""

    id: str
    title: str
    enabled: bool
    capability: GatewayCapability


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthReport:
    """Everything `store check` found out; `ok` only if no check failed."""

    ok: bool
    checks: tuple[Check, ...]
    woocommerce_version: str | None = None
    currency: str | None = None
    decimals: int | None = None
    hpos: str | None = None  #: "on", "on, synchronised", "off"
    clock_skew_s: float | None = None  #: the store's clock minus ours
    payment_methods: tuple[PaymentMethod, ...] = ()
    apis: tuple[str, ...] = ()  #: e.g. ("wc/v3", "wc-api/v3")
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedRefund:
    """A refund of a store in both of its forms."""

    order_id: str
    refund: StoreRefund  #: made at by our clock
    #: As wc/v3 shows it, `parent_id` included: the store's own JSON, or written from what the legacy API shows.
    document: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundPage:
    """A page of a store's refunds, and how it came about."""

    refunds: tuple[ListedRefund, ...]
    total: int | None  #: of all pages; None when nobody has counted
    decimals: int  #: that the store shows its amounts with
    #: store: its own list; orders: every order's refunds were read; the ledger's mirror is added by the flow.
    served_by: Literal["store", "orders"]
    filtered_here: tuple[str, ...] = ()  #: parameters that the store ignores and that were applied by the gateway


class ListTooLong(StoreError):
    """The list would have to be filtered or put together here, and there is too much of it."""

    code = "list_too_long"


class ListUnsupported(StoreError):
    """The list was asked for in a way that neither this store's API nor the gateway in its place can serve."""

    code = "list_unsupported"


#: What a DELETE came to, looked at afterwards: `absent` was not there, or not under that order, before anything was
#: sent; `kept` is still there.
Deletion = Literal["deleted", "absent", "kept"]

#: What an update came to: `shown` is what the store shows afterwards; `accepted` was taken, but the store goes on
#: showing the old text (LO:1736); `unsupported` when its API has no update and nothing was sent; `absent` as above.
Update = Literal["shown", "accepted", "unsupported", "absent"]

#: True or False as found out, None when the store would not say.
Supported = bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiFeatures:
    """What one of a store's APIs can do with refunds."""

    api: StoreApi
    used: bool  #: the gateway speaks to the store in this one
    available: Supported
    store_wide_list: Supported
    update: Supported
    delete: Supported
    meta_data: Supported
    native_preview: Supported  #: POST …/refunds/preview and compute_totals, from WooCommerce 11.1 on
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """What a store can do, by API and by payment method."""

    woocommerce_version: str | None
    apis: tuple[ApiFeatures, ...]
    payment_methods: tuple[PaymentMethod, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RawAnswer:
    """A store's answer to a read, whatever it says; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


#: disabled: by the store, after too many failed deliveries in a row; paused: by its owner.
WebhookStatus = Literal["active", "paused", "disabled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreWebhook:
    """A webhook that a store sends; its secret is never readable back."""

    id: str
    topic: str
    status: WebhookStatus
    delivery_url: str


class Streamed(Protocol):
    """A store's answer whose body is still coming."""

    status: int
    headers: Mapping[str, str]  #: names in lower case

    def chunks(self) -> AsyncIterator[bytes]:
        """Give the body piece by piece; raises StoreUnavailable when it breaks off or is larger than allowed."""
        ...


class Store(Protocol):
    """A shop as the flows see it. One instance per store and process; safe to use from many tasks at a time."""

    @property
    def api(self) -> StoreApi:
        """Say which API the store is spoken to in."""
        ...

    async def read_order(
        self, order_id: str, *, read_at: datetime, priority: Priority = "interactive", verify: bool = False
    ) -> OrderSnapshot:
        """Read an order and all its refunds, side by side; again when their sums disagree.

        `verify` adds a cache-buster. Raises OrderNotFound, StoreUnavailable or StoreMisconfigured.
        """
        ...

    async def find_order(self, order_number: str, *, priority: Priority = "interactive") -> tuple[str, ...]:
        """Give the ids of the orders whose number is exactly this one; usually one, () when there is none."""
        ...

    async def payment_capability(self, payment_method: str, *, priority: Priority = "interactive") -> GatewayCapability:
        """Say whether a payment method can refund; remembered for some minutes. Never raises: `unknown` instead."""
        ...

    async def refund(
        self,
        plan: RefundPlan,
        *,
        marker: str,
        request_id: str,
        priority: Priority = "interactive",
        send_by: float | None = None,
    ) -> StoreAnswer:
        """Send the refund exactly once, no retries, and classify the answer. Never raises for a store or a network.

        Its first byte leaves before `send_by` (of time.monotonic) or never: waiting for a slot or a connection must not
        carry it past the lease under which it was marked as sending.
        """
        ...

    async def read_refund(
        self, order_id: str, store_refund_id: str, *, dp: int | None = None, priority: Priority = "interactive"
    ) -> ListedRefund | None:
        """Read one refund under its order, past caches; None when it is not there or belongs to another order.

        `dp` are the decimals of the amounts in its document, the store's own without. Raises as `list_refunds`.
        """
        ...

    async def list_refunds(
        self, query: RefundQuery, *, order_id: str | None = None, priority: Priority = "interactive"
    ) -> RefundPage:
        """List the refunds of an order, or of the whole store, newest first unless the query says otherwise.

        What the store's API cannot do is done here, and the page says so. Raises OrderNotFound, ListTooLong,
        ListUnsupported, StoreUnavailable or StoreMisconfigured.
        """
        ...

    async def delete_refund(self, order_id: str, store_refund_id: str) -> Deletion:
        """Delete a refund's row for good, once it was read under that order; no money comes back.

        WooCommerce's own DELETE with a wrong order deletes whatever has the id, orders too (CRUD:482): nothing is sent
        unless the refund was seen under its order. A lost answer is settled by looking again. Raises StoreUnavailable
        or StoreMisconfigured when that could not be done, and nothing is known.
        """
        ...

    async def update_refund(self, order_id: str, store_refund_id: str, *, reason: str) -> Update:
        """Give a refund another reason, where the store's API can. Raises StoreUnavailable or StoreMisconfigured."""
        ...

    async def list_orders(self, query: OrderQuery, *, page: int, priority: Priority = "background") -> OrderPage:
        """Read a page of the store's orders, oldest first; the first is 1. Narrows at least as far as the query.

        Raises StoreUnavailable or StoreMisconfigured.
        """
        ...

    async def features(self) -> Features:
        """Find out what the store's APIs and payment methods can do, writing nothing; never raises."""
        ...

    async def read_raw(self, path: str, query: Sequence[tuple[str, str]]) -> RawAnswer:
        """Read a resource of the store's API, below `/wp-json/wc/v3/` or `/wc-api/v3/`, as the store answers.

        For a client that speaks the store's own language; the query must hold no credentials. Raises StoreUnavailable
        or StoreMisconfigured only where there is no answer.
        """
        ...

    def stream(self, path: str, query: Sequence[tuple[str, str]]) -> AbstractAsyncContextManager[Streamed]:
        """Read like `read_raw`, with a body that is handed on as it comes."""
        ...

    async def read_notes(self, order_id: str, *, priority: Priority = "background") -> tuple[OrderNote, ...]:
        """Read the order's notes, past every cache, oldest first. Raises as `read_order`."""
        ...

    async def list_webhooks(self) -> tuple[StoreWebhook, ...]:
        """Read all webhooks of the store, whoever made them. Raises StoreUnavailable or StoreMisconfigured."""
        ...

    async def put_webhook(
        self, topic: str, delivery_url: str, secret: str, *, webhook_id: str | None = None
    ) -> StoreWebhook:
        """Have the store send a topic somewhere, active and signed with the secret; `webhook_id` changes that one.

        An answer that was lost may leave a webhook behind: list them before another try. Raises StoreUnavailable or
        StoreMisconfigured.
        """
        ...

    async def check(self) -> HealthReport:
        """Look the store over without writing to it; never raises."""
        ...
