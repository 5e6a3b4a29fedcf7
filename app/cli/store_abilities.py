"""What a store's owner allows, and what the store can do."""

from typing import Annotated, Any, Literal

import typer

from app.api.shop_views import PaymentMethodView, capabilities_view
from app.cli.access import (
    StoreNameOption,
    TenantName,
    find_store,
    find_tenant,
    ledger,
    load_settings,
    no_store,
    operator,
    runtime,
)
from app.cli.ends import Ended, Exit, verb
from app.cli.screen import AsJson, heading, note, show_facts, show_json, show_table, words
from app.domain.refund import StorePolicy
from app.flows import shop
from app.flows.results import StoreNotFound
from app.ledger import tenants


@verb
async def capabilities(tenant: TenantName, name: StoreNameOption, *, as_json: AsJson = False) -> None:
    """Ask a store what its APIs and payment methods can do, and show what its refunds have taught."""
    async with runtime(load_settings()) as rt:
        async with rt.database.reading() as conn:
            owner = await find_tenant(conn, tenant)
        found = await shop.capabilities(rt, operator(owner), name)
    if isinstance(found, StoreNotFound):
        raise no_store(tenant, name)
    shown = capabilities_view(name, found)
    if as_json:
        show_json(shown)
        return
    show_facts([("WooCommerce", shown.woocommerce_version or "not known")])
    heading("APIs")
    show_table(
        ["API", "there", "used", "whole store's list", "update", "delete", "meta data", "own preview", "note"],
        [
            (
                api.name,
                _answer(api.available),
                _answer(api.used),
                _answer(api.store_wide_list),
                _answer(api.update),
                _answer(api.delete),
                _answer(api.meta_data),
                _answer(api.native_preview),
                api.detail,
            )
            for api in shown.features
        ],
        empty="The store does not say which APIs it has.",
    )
    heading("Payment methods")
    show_table(
        ["id", "title", "enabled", "refunds", "in part", "last success", "last failure", "90 days"],
        [_method(method) for method in shown.payment_methods],
        empty="The store does not say which payment methods it has.",
    )


def _answer(value: bool | None) -> str:
    return "?" if value is None else "yes" if value else "no"


_CAN_REFUND = {"refunds": "yes", "no_refunds": "no", "missing": "not installed", "unknown": "?", "unprovable": "?"}


def _method(method: PaymentMethodView) -> tuple[object, ...]:
    learned = method.learned
    failure, counts = "", ""
    if learned is not None:
        counts = f"{learned.succeeded} succeeded, {learned.failed} failed"
        if learned.last_failure_at is not None:
            failure = f"{learned.last_failure_at:%Y-%m-%d} {learned.last_failure_code or ''}"
    return (
        method.id,
        method.title,
        _answer(method.enabled),
        _CAN_REFUND[method.capability],
        _answer(method.partial),
        None if learned is None else learned.last_success_at,
        failure,
        counts,
    )


@verb
async def policy(
    tenant: TenantName,
    name: StoreNameOption,
    *,
    marker_in_reason: Annotated[
        bool | None,
        typer.Option(
            "--marker-in-reason/--no-marker-in-reason",
            help="End the reason, which customers see, with a mark like [RG-7F3K9Q2X]. Without it more refunds end up "
            "with a person, because less can be told from the store when an answer is lost.",
        ),
    ] = None,
    on_absence: Annotated[
        Literal["review", "resend"] | None,
        typer.Option(
            "--on-absence", help="What to do when nothing of a refund is to be found after its answer was lost."
        ),
    ] = None,
    unpaid: Annotated[
        bool | None,
        typer.Option(
            "--manual-refunds-of-unpaid-orders/--no-manual-refunds-of-unpaid-orders",
            help="Permit manual refunds of orders that the store holds for unpaid, cancelled or failed.",
        ),
    ] = None,
    statuses: Annotated[
        list[str] | None,
        typer.Option(
            "--refundable-status", help="A status whose orders may be refunded; once per status, replaces all."
        ),
    ] = None,
    refunding: Annotated[
        str | None,
        typer.Option(
            "--refunding-methods",
            metavar="IDS",
            help="Payment methods, separated by commas, that refund whatever the store does or does not say of them; "
            'replaces all, and "" takes them away.',
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what a store's owner allows, after changing what is given."""
    async with ledger(load_settings()) as conn:
        owner = await find_tenant(conn, tenant)
        store = await find_store(conn, owner, name)
        now = store.policy
        wanted = StorePolicy(
            refundable_statuses=frozenset(statuses) if statuses else now.refundable_statuses,
            manual_refunds_of_unpaid_orders=now.manual_refunds_of_unpaid_orders if unpaid is None else unpaid,
            marker_in_reason=now.marker_in_reason if marker_in_reason is None else marker_in_reason,
            on_absence=on_absence or now.on_absence,
            refunding_methods=now.refunding_methods if refunding is None else frozenset(words(refunding)),
        )
        if store.api == "legacy" and not wanted.marker_in_reason:
            why = "The legacy API keeps nothing of a refund but its reason: without the mark no refund could be told."
            raise Ended(Exit.USAGE, why)
        if wanted != now:
            await tenants.set_store_policy(conn, owner.id, name, wanted)
            note(f"Changed the policy of the store {name}.")
    shown = tenants.policy_json(wanted)
    if as_json:
        show_json(shown)
    else:
        show_facts((fact, _plainly(value)) for fact, value in shown.items())


def _plainly(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(value) if isinstance(value, list) else str(value)
