"""`refund-gateway endpoint` and `refund-gateway events`: where a tenant's events go, and what they are."""

import asyncio
import re
from datetime import datetime, timedelta
from typing import Annotated, Any

import typer

from app.api.endpoint_views import attempt_view, endpoint_view
from app.api.events import feed_event_view
from app.cli.access import TenantName, caller_of, find_store, find_tenant, load_settings, operator, runtime
from app.cli.ends import EXIT_CODES, Ended, Exit, verb
from app.cli.screen import AsJson, note, show_facts, show_json, show_table, text, words
from app.domain.delivery import EVENT_FAMILIES, EVENT_TYPE_PATTERN
from app.flows import endpoints as flow
from app.flows import relay
from app.flows.endpoints import EndpointDraft, EndpointNotFound, EndpointView, TooManyEndpoints, UrlRefused
from app.flows.results import StoreNotFound
from app.ledger import feed
from app.ledger.deliveries import Attempt
from app.ledger.feed import FeedEvent

app = typer.Typer(no_args_is_help=True, help="Webhook endpoints: where a tenant's events are sent to.")

_EVENT_TYPE = re.compile(EVENT_TYPE_PATTERN)
_LIST_LIMIT = 1_000
_PAGE = 200
_LOOK_EVERY_S = 0.5

EndpointId = Annotated[str, typer.Argument(metavar="ID", help="The endpoint's id, we_….")]
Types = Annotated[
    str | None,
    typer.Option("--types", help="Types such as refund.failed, or families such as refund.*, separated by commas."),
]


@app.command(epilog=EXIT_CODES)
@verb
async def add(
    tenant: TenantName,
    url: Annotated[str, typer.Option("--url", help="Where events are sent to, by https.", show_default=False)],
    *,
    types: Types = None,
    stores: Annotated[
        str | None, typer.Option("--stores", help="Only events of these stores, separated by commas.")
    ] = None,
    description: Annotated[str, typer.Option("--description", help="For people.")] = "",
    as_json: AsJson = False,
) -> None:
    """Have events sent to an address, and show its signing secret, this once."""
    wanted = _types(types)
    if len(description) > 500 or not description.isprintable():
        raise Ended(Exit.USAGE, "--description takes up to 500 printable characters.")
    draft = EndpointDraft(
        url=url, description=description, types=wanted, stores=None if stores is None else tuple(words(stores))
    )
    async with runtime(load_settings()) as rt:
        made = await flow.create(rt, await caller_of(rt, tenant), draft, idempotency_key=None, fingerprint=b"")
    match made:
        case EndpointView():
            _show_secret(made, as_json=as_json)
        case UrlRefused():
            raise Ended(Exit.USAGE, made.why)
        case StoreNotFound():
            raise Ended(Exit.NOT_FOUND, f"The tenant {tenant!r} has no store {made.store!r}.")
        case TooManyEndpoints():
            raise Ended(
                Exit.REFUSED, f"The tenant {tenant!r} has {made.limit} webhook endpoints, and cannot have more."
            )
        case _:
            raise AssertionError(made)


@app.command("list", epilog=EXIT_CODES)
@verb
async def list_(tenant: TenantName, *, as_json: AsJson = False) -> None:
    """List a tenant's webhook endpoints, and how they fare."""
    async with runtime(load_settings()) as rt:
        found = await flow.listed(rt, await caller_of(rt, tenant), limit=_LIST_LIMIT, after=None)
    if as_json:
        show_json({"data": [endpoint_view(view) for view in found]})
        return
    show_table(
        ["id", "url", "types", "stores", "state", "description"],
        [
            (
                view.id,
                view.endpoint.url,
                "all" if view.endpoint.types is None else " ".join(view.endpoint.types),
                "all" if view.stores is None else " ".join(view.stores),
                _state(view),
                view.endpoint.description,
            )
            for view in found
        ],
        empty=f"The tenant {tenant} has no webhook endpoint yet.",
    )


def _state(view: EndpointView) -> str:
    endpoint = view.endpoint
    if endpoint.disabled_at is not None:
        return f"disabled ({endpoint.disabled_reason})"
    return "in use" if endpoint.failing_since is None else f"failing since {text(endpoint.failing_since)}"


@app.command(epilog=EXIT_CODES)
@verb
async def rotate(
    tenant: TenantName,
    endpoint_id: EndpointId,
    *,
    overlap: Annotated[
        float,
        typer.Option(
            "--overlap",
            metavar="HOURS",
            min=0,
            max=168,
            help="For how long the old secret's signature is sent as well.",
        ),
    ] = 24,
    as_json: AsJson = False,
) -> None:
    """Replace an endpoint's signing secret and show the new one, this once."""
    async with runtime(load_settings()) as rt:
        turned = await flow.rotate(
            rt,
            await caller_of(rt, tenant),
            endpoint_id,
            overlap=timedelta(hours=overlap),
            idempotency_key=None,
            fingerprint=b"",
        )
    if not isinstance(turned, EndpointView):
        raise _no_endpoint(tenant, endpoint_id)
    _show_secret(turned, as_json=as_json)


def _show_secret(view: EndpointView, *, as_json: bool) -> None:
    if as_json:
        show_json(endpoint_view(view))
        return
    note("Keep this secret with the receiver's other secrets; it cannot be shown again.")
    show_facts([("endpoint", view.id), ("secret", view.secret)])


@app.command("test", epilog=EXIT_CODES)
@verb
async def try_out(tenant: TenantName, endpoint_id: EndpointId, *, as_json: AsJson = False) -> None:
    """Send an endpoint a signed test message now, and say what became of it."""
    async with runtime(load_settings()) as rt:
        attempt = await flow.try_out(rt, await caller_of(rt, tenant), endpoint_id)
    if not isinstance(attempt, Attempt):
        raise _no_endpoint(tenant, endpoint_id)
    if as_json:
        show_json(attempt_view(attempt))
    answered = "no answer" if attempt.status is None else f"HTTP {attempt.status}"
    if attempt.error is not None:
        raise Ended(Exit.REFUSED, f"The message was not taken: {answered} ({attempt.error}), {attempt.latency_ms} ms.")
    if not as_json:
        note(f"The message was taken: {answered}, {attempt.latency_ms} ms.")


@app.command(epilog=EXIT_CODES)
@verb
async def remove(tenant: TenantName, endpoint_id: EndpointId) -> None:
    """Delete an endpoint with its deliveries, pending ones too; the events stay in the feed."""
    async with runtime(load_settings()) as rt:
        no = await flow.remove(rt, await caller_of(rt, tenant), endpoint_id)
    if isinstance(no, EndpointNotFound):
        raise _no_endpoint(tenant, endpoint_id)
    note(f"The endpoint {endpoint_id} is gone.")


def _no_endpoint(tenant: str, endpoint_id: str) -> Ended:
    return Ended(Exit.NOT_FOUND, f"The tenant {tenant!r} has no webhook endpoint {endpoint_id!r}.")


def _types(given: str | None) -> tuple[str, ...] | None:
    if given is None:
        return None
    types = tuple(words(given))
    unknown = [name for name in types if _EVENT_TYPE.fullmatch(name) is None]
    if unknown or not types:
        families = ", ".join(EVENT_FAMILIES)
        raise Ended(Exit.USAGE, f"There are no events {', '.join(unknown) or 'of no type'}; families are: {families}.")
    return types


@verb
async def events(
    tenant: TenantName,
    *,
    types: Types = None,
    store: Annotated[str | None, typer.Option("--store", help="Only this store's.")] = None,
    subject: Annotated[str | None, typer.Option("--subject", help="Only those about this, e.g. a refund's id.")] = None,
    since: Annotated[
        datetime | None,
        typer.Option("--since", formats=["%Y-%m-%dT%H:%M:%S%z"], help="Only from then on, e.g. 2026-11-21T10:00:00Z."),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what happens, until interrupted.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write a line of JSON per event, for scripts.")] = False,
) -> None:
    """Show what has happened, oldest first: the feed that webhook endpoints are given."""
    wanted = _types(types)
    async with runtime(load_settings()) as rt:
        async with rt.database.reading() as conn:
            owner = operator(await find_tenant(conn, tenant))
            if store is not None:
                await find_store(conn, await find_tenant(conn, tenant), store)
        after = 0
        try:
            while True:
                await relay.catch_up(rt)
                async with rt.database.reading() as conn:
                    found = await feed.page(
                        conn,
                        owner.tenant_id,
                        limit=_PAGE,
                        after=after,
                        types=wanted,
                        since=since,
                        subject=subject,
                        store=store,
                    )
                for event in found:
                    _show_event(event, as_json=as_json)
                    after = event.position
                if len(found) < _PAGE:
                    if not follow:
                        return
                    await asyncio.sleep(_LOOK_EVERY_S)
        except asyncio.CancelledError:
            # Interrupted, which is how following ends.
            return


def _show_event(event: FeedEvent, *, as_json: bool) -> None:
    if as_json:
        typer.echo(feed_event_view(event).model_dump_json())
        return
    facts: dict[str, Any] = {name: event.data[name] for name in _SHOWN if event.data.get(name) is not None}
    said = " ".join(f"{name}={value}" for name, value in facts.items())
    typer.echo(str(text(f"{text(event.at)}  {event.type}  {event.store or '-'}  {event.subject}  {said}")))


_SHOWN = ("status", "money", "amount", "currency", "order_number", "external_reference", "failure_code", "reason")
