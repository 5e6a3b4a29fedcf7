"""Having a store tell the gateway what happens in it."""

from app.cli.access import no_store, operator, runtime
from app.cli.ends import Ended, Exit
from app.cli.screen import note
from app.flows.results import StoreFailed, StoreNotFound
from app.flows.webhooks import Repaired, WebhookAddressUnusable, delivery_url, repair
from app.ledger.tenants import Tenant
from app.settings import Settings


def webhook_base(settings: Settings, given: str | None) -> str:
    """Give the address that stores reach the gateway under; ends the verb when nobody has said which that is."""
    base = given or settings.public_url
    if base is None:
        raise Ended(
            Exit.USAGE,
            "Where stores reach this gateway is not known: set REFUND_GATEWAY_PUBLIC_URL, or give --webhook-url, such "
            "as https://refunds.example.",
        )
    try:
        delivery_url(base, "")
    except WebhookAddressUnusable as error:
        raise Ended(Exit.USAGE, str(error)) from None
    return base


async def register_webhooks(settings: Settings, owner: Tenant, store: str, base_url: str, *, keep_going: bool) -> None:
    """Register a store's webhooks or put them right; ends the verb when that fails, unless it is to `keep_going`."""
    async with runtime(settings) as rt:
        outcome = await repair(rt, operator(owner), store, base_url=base_url)
    match outcome:
        case StoreNotFound():
            raise no_store(owner.name, store)
        case StoreFailed():
            why = f"The webhooks of the store {store} could not be registered: {outcome.message}"
            if not keep_going:
                raise Ended(Exit.STORE, why)
            note(f"Warning: {why} Later, run `refund-gateway store check --repair`.")
        case Repaired():
            note(f"The store sends its webhooks to {outcome.delivery_url}: {_counts(outcome)}.")
            for doubt in outcome.doubts:
                note(f"Warning: {doubt}")


def _counts(outcome: Repaired) -> str:
    counts = [(len(outcome.made), "registered"), (len(outcome.changed), "active with the right address and secret")]
    return ", ".join(f"{count} {done}" for count, done in counts if count)
