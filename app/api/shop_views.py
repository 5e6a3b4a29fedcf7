"""What callers get back about stores."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from app.api.values import Time
from app.api.views import View
from app.domain.refund import GatewayCapability
from app.domain.refund import StoreApi as SpokenApi
from app.flows.results import Capabilities
from app.ledger.learned import Learned
from app.ledger.tenants import StoreApi, StoreAuth, StoreRow
from app.stores.port import Check, HealthReport


class PolicyView(View):
    """What the store's owner allows."""

    refundable_statuses: list[str]
    manual_refunds_of_unpaid_orders: bool
    marker_in_reason: bool
    on_absence: Literal["review", "resend"]
    refunding_methods: Annotated[
        list[str], Field(description="Payment methods that the owner vouches for, whatever the store says of them.")
    ]


class StoreView(View):
    """A store of the tenant; credentials are never shown."""

    name: str
    object: Literal["store"] = "store"
    url: str
    api: Annotated[StoreApi, Field(description="`auto` until it was found out which API the store has.")]
    auth: StoreAuth
    policy: PolicyView
    created_at: Time
    disabled_at: Time | None


class StoreList(View):
    """All stores that the key may use."""

    data: list[StoreView]
    next_cursor: Annotated[None, Field(description="Always null: the list is whole.")] = None


class CheckView(View):
    """One thing that was looked at; `ok` is null when it could not be found out."""

    name: str
    ok: bool | None
    detail: str
    remedy: str | None


class HealthView(View):
    """The result of looking a store over, without writing to it."""

    object: Literal["store_health"] = "store_health"
    store: str
    ok: bool
    checks: list[CheckView]
    woocommerce_version: str | None
    currency: str | None
    decimals: int | None
    hpos: Annotated[str | None, Field(description='High-performance order storage: "on", "on, synchronised", "off".')]
    clock_skew_s: Annotated[float | None, Field(description="The store's clock minus ours, in seconds.")]
    apis: list[str]
    facts: dict[str, str]


class LearnedView(View):
    """What became of a payment method's refunds that were sent through the gateway."""

    last_success_at: Time | None
    last_partial_success_at: Annotated[Time | None, Field(description="Of less than all that was left of the order.")]
    last_failure_at: Time | None
    last_failure_code: Annotated[str | None, Field(examples=["gateway_declined"])]
    succeeded: Annotated[int, Field(description="In the last 90 days.")]
    failed: Annotated[int, Field(description="In the last 90 days.")]


class PaymentMethodView(View):
    """A payment gateway of the store; a disabled one can still refund."""

    id: str
    title: str
    enabled: Annotated[bool | None, Field(description="Null when the store does not list it.")]
    capability: Annotated[
        GatewayCapability,
        Field(
            description="`missing`: no longer installed. `unknown`: the store does not say. `unprovable`: nor would "
            "its answer to a refund; the store's policy can vouch for the method."
        ),
    ]
    partial: Annotated[
        bool | None,
        Field(
            description="Whether it refunds parts of an order: true once it did, false when it has no refunds at all. "
            "Null otherwise, because WooCommerce does not say."
        ),
    ]
    learned: Annotated[LearnedView | None, Field(description="Null before the first refund through the gateway.")]


class ApiFeaturesView(View):
    """What one of the store's APIs can do with refunds; null where the store would not say."""

    name: Annotated[str, Field(examples=["wc/v3"])]
    used: Annotated[bool, Field(description="The gateway speaks to the store in this one.")]
    available: bool | None
    store_wide_list: bool | None
    update: bool | None
    delete: bool | None
    meta_data: bool | None
    native_preview: Annotated[bool | None, Field(description="WooCommerce's own preview, from 11.1 on.")]
    detail: str


class CapabilitiesView(View):
    """What a store can do, by its APIs and its payment methods: by what it says, and by what refunds have shown."""

    object: Literal["store_capabilities"] = "store_capabilities"
    store: str
    woocommerce_version: str | None
    payment_methods: list[PaymentMethodView]
    apis: Annotated[list[str], Field(description="The APIs that the store has.", examples=[["wc/v3"]])]
    features: Annotated[list[ApiFeaturesView], Field(description="Of every API that a store can have.")]


def store_view(row: StoreRow) -> StoreView:
    """Show a store without its credentials."""
    policy = row.policy
    return StoreView(
        name=row.name,
        url=row.url,
        api=row.api,
        auth=row.auth,
        policy=PolicyView(
            refundable_statuses=sorted(policy.refundable_statuses),
            manual_refunds_of_unpaid_orders=policy.manual_refunds_of_unpaid_orders,
            marker_in_reason=policy.marker_in_reason,
            on_absence=policy.on_absence,
            refunding_methods=sorted(policy.refunding_methods),
        ),
        created_at=row.created_at,
        disabled_at=row.disabled_at,
    )


def health_view(store: str, report: HealthReport) -> HealthView:
    """Show what looking a store over found."""
    return HealthView(
        store=store,
        ok=report.ok,
        checks=[_check(check) for check in report.checks],
        woocommerce_version=report.woocommerce_version,
        currency=report.currency,
        decimals=report.decimals,
        hpos=report.hpos,
        clock_skew_s=report.clock_skew_s,
        apis=list(report.apis),
        facts=dict(report.facts),
    )


def _check(check: Check) -> CheckView:
    return CheckView(name=check.name, ok=check.ok, detail=check.detail, remedy=check.remedy)


_API_NAMES: Mapping[SpokenApi, str] = {"v3": "wc/v3", "legacy": "wc-api/v3"}


def capabilities_view(store: str, found: Capabilities) -> CapabilitiesView:
    """Show what a store can do. Payment methods that it does not list appear by what was learned about them."""
    features = found.features
    listed = {method.id for method in features.payment_methods}
    # A store that lists its methods and not this one has it no longer.
    gone: GatewayCapability = "missing" if listed else "unknown"
    return CapabilitiesView(
        store=store,
        woocommerce_version=features.woocommerce_version,
        payment_methods=[
            *(
                _method(method.id, method.title, method.enabled, method.capability, found.learned.get(method.id))
                for method in features.payment_methods
            ),
            *(
                _method(method, "", None, gone, learned)
                for method, learned in sorted(found.learned.items())
                if method not in listed
            ),
        ],
        apis=[_API_NAMES[api.api] for api in features.apis if api.available],
        features=[
            ApiFeaturesView(
                name=_API_NAMES[api.api],
                used=api.used,
                available=api.available,
                store_wide_list=api.store_wide_list,
                update=api.update,
                delete=api.delete,
                meta_data=api.meta_data,
                native_preview=api.native_preview,
                detail=api.detail,
            )
            for api in features.apis
        ],
    )


def _method(
    method: str, title: str, enabled: bool | None, capability: GatewayCapability, learned: Learned | None
) -> PaymentMethodView:
    partial: bool | None = None
    if learned is not None and learned.last_partial_success_at is not None:
        partial = True
    elif capability in ("no_refunds", "missing"):
        partial = False
    return PaymentMethodView(
        id=method,
        title=title,
        enabled=enabled,
        capability=capability,
        partial=partial,
        learned=None
        if learned is None
        else LearnedView(
            last_success_at=learned.last_success_at,
            last_partial_success_at=learned.last_partial_success_at,
            last_failure_at=learned.last_failure_at,
            last_failure_code=learned.last_failure_code,
            succeeded=learned.succeeded,
            failed=learned.failed,
        ),
    )
