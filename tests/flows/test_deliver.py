"""Deliveries reach a real receiver: signed, in order, again and again, and never more than it can bear."""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from standardwebhooks import WebhookVerificationError

from app.domain.delivery import FAILING_FROM
from app.flows import relay
from app.flows.deliver import deliver, tidy
from app.flows.endpoints import EndpointChange, EndpointView, change, look, replay, replay_many, rotate, try_out
from app.flows.runtime import Runtime
from app.ledger import deliveries, endpoints
from app.ledger.deliveries import Attempt, Delivery
from app.ledger.endpoints import Endpoint
from app.outbound import Outbound
from tests.conftest import Shop, add_shop, eventually, free_port
from tests.flows.receiver import Receiver, receiving
from tests.flows.test_relay import endpoint, happen, read, rows


@pytest.fixture
async def rt(rt: Runtime) -> Runtime:
    """Give a runtime whose deliveries are tried again after a moment."""
    quick = {"webhook_backoff_s": (0.05, 0.1, 0.2), "webhook_timeout_s": 1.0}
    return replace(rt, settings=rt.settings.model_copy(update=quick))


@pytest.fixture
async def shop(rt: Runtime) -> Shop:
    """Give a tenant whose store nobody asks."""
    return await add_shop(rt, "http://127.0.0.1:9")


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Run a receiver that takes everything."""
    async with receiving() as running:
        yield running


async def until(rt: Runtime, view: EndpointView, check: Callable[[], Awaitable[Any]], *, within_s: float = 8) -> Any:
    """Do a worker's work until something has come true."""

    async def one_round() -> Any:
        await relay.relay(rt)
        await deliver(rt, view.id)
        return await check()

    return await eventually(one_round, within_s=within_s)


async def pending(rt: Runtime) -> int:
    [row] = await rows(rt, "SELECT count(*) AS n FROM webhook_delivery WHERE status = 'pending'")
    return int(row["n"])


async def all_over(rt: Runtime, view: EndpointView, *, within_s: float = 8) -> None:
    async def check() -> bool:
        return await pending(rt) == 0

    await until(rt, view, check, within_s=within_s)


async def seen(rt: Runtime, shop: Shop, view: EndpointView) -> Endpoint:
    found = await look(rt, shop.caller, view.id)
    assert isinstance(found, EndpointView)
    return found.endpoint


async def only(rt: Runtime, view: EndpointView) -> Delivery:
    async with rt.database.reading() as conn:
        [found] = await deliveries.page(conn, view.id, status=None, types=None, limit=10, after=None)
        return found


async def test_a_delivery_says_what_happened_and_the_librarys_own_verifier_believes_it(
    rt: Runtime, shop: Shop, receiver: Receiver
) -> None:
    made = await endpoint(rt, shop, receiver.url)
    await happen(rt, shop, "refund.succeeded", "rf_1", id="rf_1", amount="5.00", note="große Größe")
    await all_over(rt, made)
    [got] = receiver.got
    assert made.secret is not None
    [event] = await read(rt, shop)
    stamp = event.at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    data = {"id": "rf_1", "amount": "5.00", "note": "große Größe"}
    assert got.verify(made.secret) == {"type": "refund.succeeded", "timestamp": stamp, "data": data}
    assert got.id == f"evt_{event.id}"
    assert got.headers["user-agent"].startswith("refund-gateway/")
    assert got.headers["content-type"] == "application/json"
    with pytest.raises(WebhookVerificationError):
        replace(got, body=got.body.replace(b"5.00", b"6.00")).verify(made.secret)
    delivery = await only(rt, made)
    assert (delivery.status, delivery.attempts, delivery.last_status, delivery.last_error) == (
        "delivered",
        1,
        204,
        None,
    )
    assert delivery.last_latency_ms is not None


async def test_both_secrets_verify_while_a_rotation_overlaps_and_the_new_one_alone_afterwards(
    rt: Runtime, shop: Shop, receiver: Receiver
) -> None:
    made = await endpoint(rt, shop, receiver.url)

    async def turned(overlap_s: float) -> str:
        view = await rotate(
            rt, shop.caller, made.id, overlap=timedelta(seconds=overlap_s), idempotency_key=None, fingerprint=b""
        )
        assert isinstance(view, EndpointView)
        assert view.secret is not None
        return view.secret

    old, new = str(made.secret), await turned(3600)
    await happen(rt, shop, "refund.succeeded", "rf_1")
    await all_over(rt, made)
    receiver.got[0].verify(old)
    receiver.got[0].verify(new)
    assert len(receiver.got[0].headers["webhook-signature"].split(" ")) == 2
    newest = await turned(0)
    await happen(rt, shop, "refund.succeeded", "rf_2")
    await all_over(rt, made)
    receiver.got[1].verify(newest)
    receiver.got[1].verify(old)  # its overlap was promised for an hour
    with pytest.raises(WebhookVerificationError):
        receiver.got[1].verify(new)


async def test_a_refunds_events_wait_for_the_first_and_those_of_others_do_not(
    rt: Runtime, shop: Shop, receiver: Receiver
) -> None:
    made = await endpoint(rt, shop, receiver.url)
    failures = iter([500, 503])
    receiver.decide = lambda message: next(failures, 204) if message["data"]["refund"] == "rf_1" else 204
    for number in range(3):
        for subject in ("rf_1", "rf_2"):
            await happen(rt, shop, "refund.succeeded", subject, refund=subject, number=number)
    await all_over(rt, made)
    came = [(one.message["data"]["refund"], one.message["data"]["number"], one.answered) for one in receiver.got]
    assert [(number, status) for subject, number, status in came if subject == "rf_1"] == [
        (0, 500),
        (0, 503),
        (0, 204),
        (1, 204),
        (2, 204),
    ]
    assert [number for subject, number, _ in came if subject == "rf_2"] == [0, 1, 2]
    assert came.index(("rf_2", 0, 204)) < came.index(("rf_1", 0, 204))
    assert len({one.id for one in receiver.got if one.message["data"]["number"] == 0}) == 2


async def test_several_subjects_go_out_at_a_time_and_not_more_by_all_workers_together(
    rt: Runtime, shop: Shop, receiver: Receiver
) -> None:
    made = await endpoint(rt, shop, receiver.url)
    receiver.takes_s = 0.05
    for number in range(40):
        await happen(rt, shop, "refund.succeeded", f"rf_{number}")
    await relay.relay(rt)
    await asyncio.gather(*(deliver(rt, made.id) for _ in range(3)))
    await all_over(rt, made)
    assert len({one.id for one in receiver.got}) == len(receiver.got) == 40
    assert 4 < receiver.most_at_a_time <= 8


async def test_what_happens_while_a_slow_receiver_thinks_goes_out_beside_it(
    rt: Runtime, shop: Shop, receiver: Receiver
) -> None:
    made = await endpoint(rt, shop, receiver.url)
    receiver.takes_s = 0.8
    await happen(rt, shop, "refund.succeeded", "rf_1")
    await relay.relay(rt)
    job = asyncio.create_task(deliver(rt, made.id))
    await asyncio.sleep(0.2)
    await happen(rt, shop, "refund.succeeded", "rf_2")
    await relay.relay(rt)
    await job
    assert receiver.most_at_a_time == 2


@pytest.mark.parametrize(("status", "error"), [(302, "redirected"), (404, "refused"), (500, "failed")])
async def test_anything_but_success_is_a_failure_and_no_redirect_is_followed(
    rt: Runtime, shop: Shop, receiver: Receiver, status: int, error: str
) -> None:
    made = await endpoint(rt, shop, receiver.url)
    receiver.decide = lambda message: status
    receiver.says = {"location": receiver.url + "/elsewhere"}
    await happen(rt, shop, "refund.succeeded", "rf_1")
    await relay.relay(rt)
    await deliver(rt, made.id)
    delivery = await only(rt, made)
    assert (delivery.status, delivery.last_status, delivery.last_error) == ("pending", status, error)
    assert len(receiver.got) == delivery.attempts


async def test_a_receiver_that_does_not_answer_in_time_has_failed(rt: Runtime, shop: Shop, receiver: Receiver) -> None:
    brief = replace(rt, settings=rt.settings.model_copy(update={"webhook_timeout_s": 0.2}))
    made = await endpoint(rt, shop, receiver.url)
    receiver.takes_s = 0.7
    await happen(rt, shop, "refund.succeeded", "rf_1")
    await relay.relay(brief)
    started = time.monotonic()
    await deliver(brief, made.id)
    assert time.monotonic() - started < 2
    delivery = await only(rt, made)
    assert (delivery.last_status, delivery.last_error) == (None, "timeout")
    receiver.takes_s = 0


async def test_what_is_tried_for_too_long_is_given_up_and_the_next_one_comes(
    rt: Runtime, shop: Shop, receiver: Receiver
) -> None:
    made = await endpoint(rt, shop, receiver.url)
    receiver.decide = lambda message: 500 if message["data"]["number"] == 1 else 204
    await happen(rt, shop, "refund.created", "rf_1", number=1)
    await happen(rt, shop, "refund.succeeded", "rf_1", number=2)
    await relay.relay(rt)
    await deliver(rt, made.id)
    assert receiver.taken() == []
    async with rt.database.transaction() as conn:
        await conn.execute("UPDATE webhook_delivery SET give_up_at = now() WHERE type = 'refund.created'")
    await tidy(rt)
    await all_over(rt, made)
    assert [message["data"]["number"] for message in receiver.taken()] == [2]
    assert [row["status"] for row in await rows(rt, "SELECT status FROM webhook_delivery ORDER BY id")] == [
        "failed",
        "delivered",
    ]


async def test_a_receiver_that_asks_for_time_is_left_alone(rt: Runtime, shop: Shop, receiver: Receiver) -> None:
    made = await endpoint(rt, shop, receiver.url)
    receiver.decide, receiver.says = (lambda message: 429), {"retry-after": "120"}
    await happen(rt, shop, "refund.succeeded", "rf_1")
    await relay.relay(rt)
    await deliver(rt, made.id)
    await happen(rt, shop, "refund.succeeded", "rf_2")
    await relay.relay(rt)
    await deliver(rt, made.id)
    assert len(receiver.got) == 1
    [row] = await rows(rt, "SELECT extract(epoch FROM wake_at - now())::float8 AS wait_s FROM webhook_endpoint")
    assert 100 < row["wait_s"] <= 121


async def test_an_endpoint_that_is_gone_is_disabled_at_once_and_the_feed_tells(
    rt: Runtime, shop: Shop, receiver: Receiver
) -> None:
    made = await endpoint(rt, shop, receiver.url)
    receiver.decide = lambda message: 410
    await happen(rt, shop, "refund.succeeded", "rf_1")
    await happen(rt, shop, "refund.succeeded", "rf_2")
    await relay.relay(rt)
    await deliver(rt, made.id)
    after = await seen(rt, shop, made)
    assert (after.disabled_reason, after.disabled_at is not None) == ("gone", True)
    tried = len(receiver.got)
    await happen(rt, shop, "refund.succeeded", "rf_3")
    await relay.relay(rt)
    await deliver(rt, made.id)
    assert len(receiver.got) == tried
    told = (await read(rt, shop))[-2:]
    assert {event.type for event in told} == {"webhook_endpoint.disabled", "refund.succeeded"}
    [disabled] = [event for event in told if event.type == "webhook_endpoint.disabled"]
    assert (disabled.subject, disabled.data["reason"]) == (made.id, "gone")
    assert receiver.url not in str(disabled.data)
    # Back in use it gets what had waited; what happened while it was away can be replayed.
    receiver.decide = lambda message: 204
    await change(rt, shop.caller, made.id, EndpointChange(named=frozenset({"enabled"})))
    await all_over(rt, made)
    assert len(receiver.taken()) == 2


async def test_days_of_nothing_but_failure_disable_an_endpoint_and_a_long_silence_does_not(
    rt: Runtime, shop: Shop, receiver: Receiver
) -> None:
    made = await endpoint(rt, shop, receiver.url)
    receiver.decide = lambda message: 500
    await happen(rt, shop, "refund.succeeded", "rf_1")
    await relay.relay(rt)
    await deliver(rt, made.id)

    async def age(days: float, last_days: float) -> None:
        async with rt.database.transaction() as conn:
            await conn.execute(
                "UPDATE webhook_endpoint SET failing_since = now() - %s, failed_at = now() - %s, wake_at = now()",
                (timedelta(days=days), timedelta(days=last_days)),
            )
            await conn.execute("UPDATE webhook_delivery SET due_at = now()")

    await age(9, 8)
    await deliver(rt, made.id)
    assert (await seen(rt, shop, made)).disabled_at is None
    await age(5.1, 0.1)
    await deliver(rt, made.id)
    assert (await seen(rt, shop, made)).disabled_reason == "failing"


async def test_a_receiver_that_was_down_for_an_hour_gets_everything_soon_after_and_was_not_hammered(
    rt: Runtime, shop: Shop
) -> None:
    """The hour is played by moving the ledger's times back, so that nobody has to wait for it."""
    port = free_port()
    rt = replace(rt, settings=rt.settings.model_copy(update={"webhook_backoff_s": (5.0, 30.0, 120.0, 600.0, 3600.0)}))
    made = await endpoint(rt, shop, f"http://127.0.0.1:{port}/hooks")
    for subject in range(60):
        for number in range(3):
            await happen(rt, shop, "refund.succeeded", f"rf_{subject}", refund=subject, number=number)

    async def minute_passes() -> None:
        async with rt.database.transaction() as conn:
            await conn.execute(
                "UPDATE webhook_endpoint SET failing_since = failing_since - interval '1 min',"
                " failed_at = failed_at - interval '1 min', quiet_until = quiet_until - interval '1 min',"
                " wake_at = wake_at - interval '1 min'"
            )
            await conn.execute(
                "UPDATE webhook_delivery SET due_at = due_at - interval '1 min', give_up_at = give_up_at - interval"
                " '1 min', last_attempt_at = last_attempt_at - interval '1 min'"
            )

    for _ in range(60):
        await relay.relay(rt)
        await deliver(rt, made.id)
        await minute_passes()
    [tried] = await rows(rt, "SELECT count(*) AS n, max(attempts) AS most FROM webhook_delivery, webhook_attempt")
    [attempts] = await rows(rt, "SELECT count(*) AS n FROM webhook_attempt")
    assert FAILING_FROM < attempts["n"] < 50, "one trial after the other, ever less often"
    assert tried["most"] <= 3, "each time with another event"
    assert await pending(rt) == 180
    async with receiving(port=port) as receiver:
        minutes = 0
        while await pending(rt):
            await minute_passes()
            await relay.relay(rt)
            await deliver(rt, made.id)
            minutes += 1
            assert minutes <= 6
        order = defaultdict(list)
        for message in receiver.taken():
            order[message["data"]["refund"]].append(message["data"]["number"])
        assert order == {subject: [0, 1, 2] for subject in range(60)}
    assert (await seen(rt, shop, made)).failing_since is None


async def test_one_event_that_is_never_taken_keeps_nothing_else_back(
    rt: Runtime, shop: Shop, receiver: Receiver
) -> None:
    made = await endpoint(rt, shop, receiver.url)
    receiver.decide = lambda message: 500 if message["data"]["number"] == 0 else 204
    await happen(rt, shop, "refund.succeeded", "rf_0", number=0)
    await relay.relay(rt)
    for _ in range(FAILING_FROM + 2):
        await deliver(rt, made.id)
        async with rt.database.transaction() as conn:
            await conn.execute("UPDATE webhook_delivery SET due_at = now()")
    for number in range(1, 30):
        await happen(rt, shop, "refund.succeeded", f"rf_{number}", number=number)

    async def others_are_there() -> bool:
        return await pending(rt) == 1

    await until(rt, made, others_are_there, within_s=3)
    assert Counter(one.message["data"]["number"] for one in receiver.got if one.answered == 204) == Counter(
        range(1, 30)
    )


async def test_even_many_events_that_are_never_taken_do_not_keep_the_others_back(
    rt: Runtime, shop: Shop, receiver: Receiver
) -> None:
    made = await endpoint(rt, shop, receiver.url)
    refused = FAILING_FROM + 3
    receiver.decide = lambda message: 500 if message["data"]["number"] < refused else 204
    for number in range(refused):
        await happen(rt, shop, "refund.succeeded", f"rf_{number}", number=number)
    await relay.relay(rt)
    await deliver(rt, made.id)
    assert (await seen(rt, shop, made)).failures >= FAILING_FROM
    for number in range(refused, refused + 20):
        await happen(rt, shop, "refund.succeeded", f"rf_{number}", number=number)

    async def others_are_there() -> bool:
        return await pending(rt) == refused

    await until(rt, made, others_are_there, within_s=5)
    assert len(receiver.taken()) == 20


async def test_a_dead_workers_delivery_is_taken_over_when_its_lease_is_over_and_not_before(
    rt: Runtime, shop: Shop, receiver: Receiver
) -> None:
    made = await endpoint(rt, shop, receiver.url)
    await happen(rt, shop, "refund.created", "rf_1", number=1)
    await happen(rt, shop, "refund.succeeded", "rf_1", number=2)
    await relay.relay(rt)
    async with rt.database.transaction() as conn:
        [dead] = await deliveries.claim(conn, made.id, limit=8, lease=timedelta(seconds=0.5))
        await endpoints.busy(conn, made.id, lease=timedelta(seconds=0.5))
    await deliver(rt, made.id)
    assert receiver.got == []
    await all_over(rt, made)
    assert [message["data"]["number"] for message in receiver.taken()] == [1, 2]
    async with rt.database.transaction() as conn:
        # Risen from the dead, it changes nothing.
        attempt = Attempt(at=rt.clock(), status=500, latency_ms=1, error="failed")
        assert not await deliveries.finish(conn, dead, attempt, wait=timedelta(seconds=1))
    assert {row["status"] for row in await rows(rt, "SELECT status FROM webhook_delivery")} == {"delivered"}


async def test_one_and_many_are_replayed_with_the_same_id(rt: Runtime, shop: Shop, receiver: Receiver) -> None:
    await happen(rt, shop, "refund.created", "rf_0", number=0)
    await relay.relay(rt)
    began = rt.clock() - timedelta(minutes=1)
    made = await endpoint(rt, shop, receiver.url, types=("refund.*",))
    receiver.decide = lambda message: 410 if message["data"]["number"] == 2 else 204
    await happen(rt, shop, "refund.created", "rf_1", number=1)
    await happen(rt, shop, "store.recovered", "st_1", number=9)
    await all_over(rt, made)
    delivery = await only(rt, made)
    again = await replay(rt, shop.caller, made.id, delivery.id)
    assert isinstance(again, Delivery)
    assert again.status == "pending"
    await all_over(rt, made)
    assert [one.id for one in receiver.got] == [f"evt_{delivery.event_id}"] * 2
    # All of a time: also what happened before there was an endpoint, and nothing that it does not want.
    count = await replay_many(rt, shop.caller, made.id, since=began, until=None, types=None, only_failed=False)
    assert count == 2
    await all_over(rt, made)
    assert [one.message["data"]["number"] for one in receiver.got[2:]] == [0, 1]
    for types, only_failed, expected in ((("store.*",), False, 0), (("refund.created",), False, 2), (None, True, 0)):
        assert (
            await replay_many(rt, shop.caller, made.id, since=began, until=None, types=types, only_failed=only_failed)
            == expected
        )
        await all_over(rt, made)
    async with rt.database.transaction() as conn:
        await conn.execute("UPDATE webhook_delivery SET status = 'failed' WHERE id = %s", (delivery.id,))
    failed = await replay_many(rt, shop.caller, made.id, since=began, until=None, types=None, only_failed=True)
    assert failed == 1


async def test_no_event_goes_to_an_address_of_the_gateways_own_network(rt: Runtime, shop: Shop) -> None:
    """The name was harmless when the endpoint was added; it is judged again where the connection is made."""

    async def lies(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    async with receiving() as receiver:
        made = await endpoint(rt, shop, receiver.url.replace("127.0.0.1", "erp.example"))
        guarded = Outbound(resolver=lies)
        await happen(rt, shop, "refund.succeeded", "rf_1")
        await relay.relay(rt)
        await deliver(replace(rt, outbound=guarded), made.id)
        attempt = await try_out(replace(rt, outbound=guarded), shop.caller, made.id)
        await guarded.aclose()
        assert receiver.got == []
    assert isinstance(attempt, Attempt)
    assert (attempt.status, attempt.error) == (None, "address")
    assert (await only(rt, made)).last_error == "address"


async def test_finished_deliveries_are_forgotten_in_time_and_their_events_are_not(
    rt: Runtime, shop: Shop, receiver: Receiver
) -> None:
    made = await endpoint(rt, shop, receiver.url)
    await happen(rt, shop, "refund.succeeded", "rf_1")
    await all_over(rt, made)
    await tidy(rt)
    assert len(await rows(rt, "SELECT FROM webhook_attempt")) == 1
    await tidy(replace(rt, settings=rt.settings.model_copy(update={"webhook_kept_s": 0.0001})))
    assert await rows(rt, "SELECT FROM webhook_delivery") == []
    assert len(await read(rt, shop)) == 1
