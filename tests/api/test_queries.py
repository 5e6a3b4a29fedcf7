"""Queries over stores' refunds: WooCommerce's own parameters, strictly."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Query, Request, Response

from app import api
from app.api.paging import link_pages
from app.api.queries import OrderRefundsQuery, StoreRefundsQuery
from app.domain.refund_query import Moment, RefundQuery
from app.flows.results import Caller
from app.settings import Settings
from tests.api.problems import problem

CALLER = Caller(tenant_id="tn_1", key_id="k", name="k", scopes=frozenset({"admin"}), store_ids=None)
LIST = "/v1/stores/demo/refunds"
OF_ORDER = "/v1/stores/demo/orders/12/refunds"


class OneCaller:
    """Stands for the key ring: everyone is the same caller."""

    async def identify(self, _database: object, _authorization: str | None) -> Caller:
        return CALLER


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    """Ask an API that has no database: a request that gets past its form fails with 500."""
    app = api.build(Settings(rate_limit="100000/second"))
    app.state.keys = OneCaller()
    app.state.runtime = SimpleNamespace(database=None, settings=Settings())
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as asking:
        yield asking


async def read(query: str, model: type[StoreRefundsQuery] = StoreRefundsQuery) -> RefundQuery:
    """Read a query as a route does."""
    app = FastAPI()
    seen: list[StoreRefundsQuery] = []

    @app.get("/")
    async def route(asked: model = Query()) -> None:  # type: ignore[valid-type]  # noqa: B008
        seen.append(asked)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as asking:
        answer = await asking.get(f"/?{query}")
    assert answer.status_code == 200, answer.text
    return seen[0].in_the_domains_words()


async def test_nothing_asked_for_is_woocommerces_default() -> None:
    assert await read("") == RefundQuery()


async def test_an_orders_list_has_room_for_all_its_refunds() -> None:
    assert await read("", OrderRefundsQuery) == RefundQuery(per_page=100)


async def test_every_parameter_arrives() -> None:
    query = (
        "context=edit&page=2&per_page=5&search=broken+glass&after=2026-11-01T00:00:00Z&before=2026-11-30T23:59:59%2B01:00"
        "&modified_after=2026-11-02T00:00:00.5z&modified_before=2026-11-29t00:00:00&exclude=3&include=1,2&offset=4"
        "&order=asc&orderby=id&parent=12&parent_exclude=13&dp=3"
    )
    assert await read(query) == RefundQuery(
        context="edit",
        page=2,
        per_page=5,
        search="broken glass",
        after=Moment(at=datetime(2026, 11, 1, tzinfo=UTC)),
        before=Moment(at=datetime(2026, 11, 30, 22, 59, 59, tzinfo=UTC)),
        modified_after=Moment(at=datetime(2026, 11, 2, microsecond=500_000, tzinfo=UTC)),
        modified_before=Moment(at=datetime.fromisoformat("2026-11-29")),
        exclude=("3",),
        include=("1", "2"),
        offset=4,
        order="asc",
        orderby="id",
        parent=("12",),
        parent_exclude=("13",),
        dp=3,
    )


@pytest.mark.parametrize(
    "query", ["include=1,2,3", "include=1&include=2,3", "include[]=1&include[]=2&include[]=3", "include=1,%202,%203"]
)
async def test_lists_of_ids_are_written_in_any_of_the_usual_ways(query: str) -> None:
    assert (await read(query)).include == ("1", "2", "3")


async def test_a_time_without_an_offset_is_the_stores_own_unless_it_is_said_to_be_utc() -> None:
    naive = "2026-11-21T10:00:00"
    local, utc = await read(f"after={naive}"), await read(f"after={naive}&dates_are_gmt=true")
    assert local.local_bounds == ("after",)
    assert utc.after == Moment(at=datetime(2026, 11, 21, 10, tzinfo=UTC))
    assert (await read(f"after={naive}%2B02:00&dates_are_gmt=false")).after == Moment(
        at=datetime(2026, 11, 21, 8, tzinfo=UTC)
    )


MALFORMED: list[tuple[str, str, str]] = [
    ("page=0", "/page", "out_of_range"),
    ("page=two", "/page", "malformed_value"),
    ("per_page=0", "/per_page", "out_of_range"),
    ("per_page=101", "/per_page", "out_of_range"),
    ("per_page=-1", "/per_page", "out_of_range"),
    ("offset=-1", "/offset", "out_of_range"),
    ("dp=9", "/dp", "out_of_range"),
    ("order=down", "/order", "invalid_choice"),
    ("orderby=total", "/orderby", "invalid_choice"),
    ("context=embed", "/context", "invalid_choice"),
    ("dates_are_gmt=1", "/dates_are_gmt", "malformed_value"),
    ("dates_are_gmt=", "/dates_are_gmt", "malformed_value"),
    ("after=2026-11-21", "/after", "malformed_value"),
    ("after=2026-02-30T00:00:00", "/after", "malformed_value"),
    ("after=2026-11-21T10:00:00+02:00", "/after", "malformed_value"),
    ("after=yesterday", "/after", "malformed_value"),
    ("before=0001-01-01T00:00:00%2B14:00", "/before", "malformed_value"),
    ("modified_after=1763719200", "/modified_after", "malformed_value"),
    ("include=", "/include", "malformed_value"),
    ("include=1,,2", "/include", "malformed_value"),
    ("include=01", "/include", "malformed_value"),
    ("include[]=x", "/include", "malformed_value"),
    ("exclude=1;2", "/exclude", "malformed_value"),
    ("parent=DE-12", "/parent", "malformed_value"),
    ("parent_exclude=-1", "/parent_exclude", "malformed_value"),
    ("include=" + ",".join(["1"] * 501), "/include", "too_long"),
    ("search=" + "x" * 501, "/search", "too_long"),
    ("search=%00", "/search", "malformed_value"),
    ("perpage=5", "/perpage", "unknown_field"),
    ("status=completed", "/status", "unknown_field"),
]


async def test_every_fault_of_a_query_is_named_with_its_place(client: httpx.AsyncClient) -> None:
    for query, pointer, code in MALFORMED:
        for path in (LIST, OF_ORDER):
            document = problem(await client.get(f"{path}?{query}"), 422, "invalid_request")
            found = [(error["in"], error["pointer"].removesuffix("[]"), error["code"]) for error in document["errors"]]
            assert found == [("query", pointer, code)], query


async def test_all_faults_of_a_query_come_together(client: httpx.AsyncClient) -> None:
    document = problem(await client.get(f"{LIST}?per_page=500&after=now&perpage=1"), 422, "invalid_request")
    assert {error["pointer"] for error in document["errors"]} == {"/per_page", "/after", "/perpage"}
    suggestions = {error["pointer"]: error.get("suggestion") for error in document["errors"]}
    assert suggestions["/perpage"] == "per_page"


async def test_a_plus_that_became_a_space_is_explained(client: httpx.AsyncClient) -> None:
    document = problem(await client.get(f"{LIST}?after=2026-11-21T10:00:00+02:00"), 422, "invalid_request")
    assert "%2B" in document["errors"][0]["message"]


@pytest.mark.parametrize("force", ["1", "yes", "True", "", "null"])
async def test_force_is_true_or_false_and_nothing_else(client: httpx.AsyncClient, force: str) -> None:
    for path in (f"{OF_ORDER}/13", "/v1/refunds/rf_1"):
        document = problem(await client.delete(path, params={"force": force}), 422, "invalid_request")
        assert [(error["in"], error["pointer"]) for error in document["errors"]] == [("query", "/force")]


def links(query: RefundQuery, *, shown: int, total: int | None) -> dict[str, str]:
    request = Request(
        {
            "type": "http",
            "method": "GET",
            "path": "/list",
            "query_string": b"search=a%26b&page=9&offset=9",
            "headers": [],
        }
    )
    response = Response()
    link_pages(request, response, query, shown=shown, total=total)
    found = httpx.Response(200, headers=response.headers).links
    assert all(link["url"].startswith("/list?search=a%26b&") for link in found.values())
    return {rel: link["url"].removeprefix("/list?search=a%26b&") for rel, link in found.items()}


CASES: list[tuple[RefundQuery, int, int | None, dict[str, Any]]] = [
    (RefundQuery(), 3, 3, {}),
    (RefundQuery(), 0, 0, {}),
    (RefundQuery(per_page=2), 2, 5, {"next": "page=2", "last": "page=3"}),
    (
        RefundQuery(per_page=2, page=2),
        2,
        5,
        {"first": "page=1", "prev": "page=1", "next": "page=3", "last": "page=3"},
    ),
    (RefundQuery(per_page=2, page=3), 1, 5, {"first": "page=1", "prev": "page=2"}),
    (RefundQuery(per_page=2, page=2), 2, 4, {"first": "page=1", "prev": "page=1"}),
    (RefundQuery(per_page=2, page=9), 0, 5, {"first": "page=1", "prev": "page=3"}),
    (RefundQuery(per_page=2), 2, None, {"next": "page=2"}),
    (RefundQuery(per_page=2, page=2), 1, None, {"first": "page=1", "prev": "page=1"}),
    (
        RefundQuery(per_page=2, offset=1),
        2,
        6,
        {"first": "offset=0", "prev": "offset=0", "next": "offset=3", "last": "offset=5"},
    ),
    (RefundQuery(per_page=2, offset=4), 1, 5, {"first": "offset=0", "prev": "offset=2"}),
]


@pytest.mark.parametrize(("query", "shown", "total", "expected"), CASES)
def test_pages_lead_to_each_other(query: RefundQuery, shown: int, total: int | None, expected: dict[str, str]) -> None:
    assert links(query, shown=shown, total=total) == expected
