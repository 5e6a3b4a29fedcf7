"""Reading the feed over HTTP, page by page and for ever."""

from typing import Any

from app.ledger import feed
from tests.api.conftest import Gateway
from tests.api.problems import problem
from tests.conftest import add_shop


async def happen(gateway: Gateway, event_type: str, subject: str, *, in_store: bool = True, **data: Any) -> None:
    async with gateway.rt.database.transaction() as conn:
        await feed.append(
            conn,
            gateway.shop.tenant_id,
            event_type=event_type,
            subject=subject,
            data=data,
            store_id=gateway.shop.store_id if in_store else None,
        )


async def read(gateway: Gateway, *, key: str | None = None, **query: Any) -> dict[str, Any]:
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    answer = await gateway.client.get("/v1/events", params=query, headers=headers)
    assert answer.status_code == 200, answer.text
    page: dict[str, Any] = answer.json()
    assert page["has_more"] == ("next" in answer.links)
    return page


async def test_what_became_of_a_refund_is_in_the_feed_as_soon_as_it_is_known(
    gateway: Gateway, order: dict[str, Any]
) -> None:
    refund = (await gateway.refund(order, reason="Jane Roe, Main St 5", external_reference="CM-1")).json()
    events = (await read(gateway))["data"]
    assert [event["type"] for event in events] == ["refund.created", "refund.sending", "refund.succeeded"]
    assert {event["subject"] for event in events} == {refund["id"]}
    last = events[-1]
    assert last["id"].startswith("evt_")
    assert (last["object"], last["store"], last["data"]["status"], last["data"]["money"]) == (
        "event",
        "demo",
        "succeeded",
        "moved",
    )
    assert (last["data"]["amount"], last["data"]["external_reference"]) == ("5.00", "CM-1")
    # Reasons are people's words.
    assert "Jane" not in str(events)


async def test_a_poller_sees_everything_once_and_has_a_cursor_on_every_page(gateway: Gateway) -> None:
    first = await read(gateway)
    assert (first["data"], first["has_more"]) == ([], False)
    cursor, seen = first["next_cursor"], []
    for number in range(5):
        await happen(gateway, "batch.moved", "bt_1", number=number)
    for expected in (2, 2, 1, 0):
        page = await read(gateway, after=cursor, limit=2)
        assert len(page["data"]) == expected
        assert page["has_more"] == (len(seen) + expected < 5)
        seen += page["data"]
        cursor = page["next_cursor"]
    assert [event["data"]["number"] for event in seen] == [0, 1, 2, 3, 4]
    await happen(gateway, "batch.moved", "bt_1", number=5)
    assert [event["data"]["number"] for event in (await read(gateway, after=cursor))["data"]] == [5]
    # An old cursor works as it did.
    assert len((await read(gateway, after=first["next_cursor"]))["data"]) == 6


async def test_a_poller_for_rare_events_does_not_read_the_others_again(gateway: Gateway) -> None:
    await happen(gateway, "refund.failed", "rf_1")
    await happen(gateway, "batch.moved", "bt_1")
    rare = await read(gateway, type="refund.failed")
    everything = await read(gateway)
    assert rare["next_cursor"] == everything["next_cursor"]
    await happen(gateway, "refund.failed", "rf_2")
    assert [
        event["subject"] for event in (await read(gateway, type="refund.failed", after=rare["next_cursor"]))["data"]
    ] == ["rf_2"]


async def test_filters_are_joined(gateway: Gateway) -> None:
    await happen(gateway, "refund.failed", "rf_1")
    await happen(gateway, "refund.succeeded", "rf_2")
    await happen(gateway, "store.recovered", "st_1")
    await happen(gateway, "batch.finished", "bt_1", in_store=False)

    async def subjects(**query: Any) -> list[str]:
        return [event["subject"] for event in (await read(gateway, **query))["data"]]

    assert await subjects() == ["rf_1", "rf_2", "st_1", "bt_1"]
    assert await subjects(type="refund.*") == ["rf_1", "rf_2"]
    assert await subjects(type=["refund.failed", "store.recovered"]) == ["rf_1", "st_1"]
    assert await subjects(type="refund.failed, batch.*") == ["rf_1", "bt_1"]
    assert await subjects(store="demo") == ["rf_1", "rf_2", "st_1"]
    assert await subjects(store="elsewhere") == []
    assert await subjects(subject="rf_2", type="refund.*") == ["rf_2"]
    times = [event["at"] for event in (await read(gateway))["data"]]
    assert await subjects(since=times[0]) == ["rf_1", "rf_2", "st_1", "bt_1"]
    assert await subjects(since="2100-01-01T00:00:00Z") == []


async def test_a_limited_key_reads_its_stores_alone_and_a_tenant_its_own(gateway: Gateway) -> None:
    await happen(gateway, "refund.failed", "rf_1")
    await happen(gateway, "batch.finished", "bt_1", in_store=False)
    limited = await gateway.key("events:read", store_ids=[gateway.shop.store_id])
    assert [event["subject"] for event in (await read(gateway, key=limited))["data"]] == ["rf_1"]
    elsewhere = await gateway.key("events:read", store_ids=["st_other"])
    assert (await read(gateway, key=elsewhere))["data"] == []
    stranger = await add_shop(gateway.rt, "http://127.0.0.1:9")
    theirs = await gateway.key("events:read", tenant_id=stranger.tenant_id)
    assert (await read(gateway, key=theirs))["data"] == []
    answer = await gateway.client.get(
        "/v1/events", headers={"Authorization": f"Bearer {await gateway.key('refunds:read')}"}
    )
    assert problem(answer, 403, "forbidden")["required_scope"] == "events:read"


_FAULTY = [
    {"type": "refund.suceeded"},
    {"type": "refund"},
    {"type": ""},
    {"type": "unknown.*"},
    {"after": "junk"},
    {"after": "LTE"},
    {"since": "yesterday"},
    {"limit": "0"},
    {"refund": "rf_1"},
]


async def test_what_cannot_be_meant_is_refused(gateway: Gateway) -> None:
    for query in _FAULTY:
        document = problem(await gateway.client.get("/v1/events", params=query), 422, "invalid_request")
        assert document["errors"][0]["pointer"].startswith(f"/{next(iter(query))}"), query
