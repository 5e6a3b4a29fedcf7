"""Who may come in by the front, and how those who may not are told."""

from typing import Any

import httpx
import pytest

from app.flows.runtime import Runtime
from app.ledger import tenants
from app.wiring import open_runtime
from tests.conftest import eventually, serving
from tests.front.conftest import Front, Key, application
from tests.front.signing import address, signed

REFUNDS = "wp-json/wc/v3/orders/1/refunds"


@pytest.fixture
async def plain() -> Any:
    """Give a client that has no credentials of its own and comes straight, over plain HTTP."""
    async with httpx.AsyncClient(timeout=20) as client:
        yield client


def said(answer: httpx.Response) -> tuple[int, str, str]:
    """Give an error's status, code and text, in whichever envelope."""
    body = answer.json()
    inner = body["errors"][0] if "errors" in body else body
    return answer.status_code, inner["code"], inner["message"]


@pytest.mark.parametrize("signature_method", ["HMAC-SHA1", "HMAC-SHA256"])
async def test_a_signature_lets_in_over_http(
    front_of_v3: Front, plain: httpx.AsyncClient, signature_method: str
) -> None:
    url = f"{front_of_v3.site}/{REFUNDS}"
    query = [("include[0]", "7"), ("include[1]", "9"), ("search", "größer & 100 % ~"), ("a1", "x")]
    oauth = signed("GET", url, query, front_of_v3.key, signature_method=signature_method)

    answer = await plain.get(address(url, [*query, *oauth]))

    assert answer.status_code == 200, answer.text


async def test_a_list_is_signed_by_its_places_whichever_way_it_is_sent(
    front_of_v3: Front, plain: httpx.AsyncClient
) -> None:
    url = f"{front_of_v3.site}/{REFUNDS}"
    oauth = signed("GET", url, [("include[0]", "7"), ("include[1]", "9")], front_of_v3.key)

    answer = await plain.get(address(url, [("include[]", "7"), ("include[]", "9"), *oauth]))

    assert answer.status_code == 200, answer.text


async def test_a_client_that_keeps_to_the_rfc_is_let_in_as_well(front_of_v3: Front, plain: httpx.AsyncClient) -> None:
    """It signs repeated names as often as they are there, which PHP never sees."""
    url = f"{front_of_v3.site}/{REFUNDS}"
    query = [("per_page", "1"), ("per_page", "5")]
    oauth = signed("GET", url, query, front_of_v3.key)

    answer = await plain.get(address(url, [*query, *oauth]))

    assert answer.status_code == 200, answer.text


async def test_the_parameters_of_a_form_are_part_of_the_signature(
    front_of_v3: Front, plain: httpx.AsyncClient, order: dict[str, Any]
) -> None:
    url = f"{front_of_v3.site}/wp-json/wc/v3/orders/{order['id']}/refunds"
    line = order["line_items"][0]
    form = [
        ("reason", "as a form"),
        ("api_refund", "true"),
        ("line_items[0][id]", str(line["id"])),
        ("line_items[0][quantity]", "1"),
        ("line_items[0][refund_total]", "9.00"),
        ("line_items[0][refund_tax][0][id]", str(line["taxes"][0]["id"])),
        ("line_items[0][refund_tax][0][refund_total]", "1.71"),
    ]
    oauth = signed("POST", url, [], front_of_v3.key, also=form)

    async def send(body: list[tuple[str, str]]) -> httpx.Response:
        return await plain.post(
            address(url, oauth),
            content=address("", body)[1:],
            headers={"Content-Type": "application/x-www-form-urlencoded"},
        )

    altered = await send([("amount", "30.00"), *form])
    assert said(altered)[2] == "Invalid signature - provided signature does not match."
    right = await send(form)
    assert (right.status_code, right.json()["amount"]) == (201, "10.71"), right.text


@pytest.mark.parametrize("place", ["header", "form"])
async def test_the_signature_may_stand_in_the_header_or_in_the_form(
    front_of_v3: Front, plain: httpx.AsyncClient, order: dict[str, Any], place: str
) -> None:
    url = f"{front_of_v3.site}/wp-json/wc/v3/orders/{order['id']}/refunds"
    form = [("amount", "5.00")]
    oauth = signed("POST", url, [], front_of_v3.key, also=form)
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    if place == "header":
        headers["Authorization"] = "OAuth " + ", ".join(
            f'{pair.split("=", 1)[0]}="{pair.split("=", 1)[1]}"' for pair in address("", oauth)[1:].split("&")
        )
    else:
        form = [*form, *oauth]

    answer = await plain.post(url, content=address("", form)[1:], headers=headers)

    assert answer.status_code == 201, answer.text


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"secret": "cs_other"}, "Invalid signature - provided signature does not match."),
        ({"ago_s": 901}, "Invalid timestamp."),
        ({"ago_s": -905}, "Invalid timestamp."),
        ({"signature_method": "PLAINTEXT"}, "Invalid signature - signature method is invalid."),
        ({"nonce": "a b"}, "Invalid nonce - a nonce has 1 to 128 visible ASCII characters."),
    ],
)
async def test_a_wrong_signature_is_told_what_is_wrong(
    front_of_v3: Front, plain: httpx.AsyncClient, wrong: dict[str, Any], message: str
) -> None:
    url = f"{front_of_v3.site}/{REFUNDS}"

    answer = await plain.get(address(url, signed("GET", url, [], front_of_v3.key, **wrong)))

    assert said(answer) == (401, "woocommerce_rest_authentication_error", message)


@pytest.mark.parametrize("ago_s", [880, -880])
async def test_a_clock_may_be_a_quarter_of_an_hour_off(
    front_of_v3: Front, plain: httpx.AsyncClient, ago_s: float
) -> None:
    url = f"{front_of_v3.site}/{REFUNDS}"

    answer = await plain.get(address(url, signed("GET", url, [], front_of_v3.key, ago_s=ago_s)))

    assert answer.status_code == 200


async def test_a_signature_is_good_once_on_every_replica(
    front_of_v3: Front, plain: httpx.AsyncClient, database_url: str
) -> None:
    """Two applications over one database, under one public address."""
    settings = front_of_v3.rt.settings.model_copy(update={"public_url": "https://gateway.example"})
    url = f"https://gateway.example/stores/demo/{REFUNDS}"
    async with (
        open_runtime(settings, works=False, url=database_url) as one,
        open_runtime(settings, works=False, url=database_url) as two,
        serving(application(one)) as first,
        serving(application(two)) as second,
    ):
        query = address("", signed("GET", url, [], front_of_v3.key))
        answers = [await plain.get(f"{at}/stores/demo/{REFUNDS}{query}") for at in (first, second, first)]

    assert answers[0].status_code == 200, answers[0].text
    used = (401, "woocommerce_rest_authentication_error", "Invalid nonce - nonce has already been used.")
    assert [said(answer) for answer in answers[1:]] == [used, used]


async def test_a_wrong_signature_uses_up_no_nonce(front_of_v3: Front, plain: httpx.AsyncClient) -> None:
    url = f"{front_of_v3.site}/{REFUNDS}"
    wrong = signed("GET", url, [], front_of_v3.key, nonce="once", secret="cs_other")
    assert (await plain.get(address(url, wrong))).status_code == 401

    right = signed("GET", url, [], front_of_v3.key, nonce="once")
    assert (await plain.get(address(url, right))).status_code == 200


async def test_a_missing_part_of_a_signature_is_named_by_both_apis(
    front_of_v3: Front, plain: httpx.AsyncClient
) -> None:
    given = {"oauth_consumer_key": front_of_v3.key.consumer_key, "oauth_nonce": "1"}
    names = "oauth_timestamp, oauth_signature, oauth_signature_method"

    v3 = await plain.get(f"{front_of_v3.site}/{REFUNDS}", params=given)
    legacy = await plain.get(f"{front_of_v3.site}/wc-api/v3/orders/1/refunds", params=given)

    assert said(v3) == (401, "woocommerce_rest_authentication_missing_parameter", f"Missing OAuth parameters {names}")
    assert said(legacy) == (404, "woocommerce_api_authentication_error", "oauth_timestamp parameter is missing")


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", REFUNDS, "woocommerce_rest_cannot_view"),
        ("GET", f"{REFUNDS}/1", "woocommerce_rest_cannot_view"),
        ("POST", REFUNDS, "woocommerce_rest_cannot_create"),
        ("DELETE", f"{REFUNDS}/1", "woocommerce_rest_cannot_delete"),
    ],
)
async def test_a_secret_over_plain_http_is_no_secret_to_wc_v3(
    front_of_v3: Front, plain: httpx.AsyncClient, method: str, path: str, code: str
) -> None:
    answer = await plain.request(method, f"{front_of_v3.site}/{path}", auth=front_of_v3.key.auth)

    assert said(answer)[:2] == (401, code)


async def test_a_proxy_that_does_not_speak_of_tls_can_be_allowed_for(
    front_of_v3: Front, plain: httpx.AsyncClient, database_url: str
) -> None:
    settings = front_of_v3.rt.settings.model_copy(update={"front_basic_over_http": True})
    key = front_of_v3.key
    in_query = {"consumer_key": key.consumer_key, "consumer_secret": key.consumer_secret}
    async with open_runtime(settings, works=False, url=database_url) as rt, serving(application(rt)) as url:
        basic = await plain.get(f"{url}/stores/demo/{REFUNDS}", auth=key.auth)
        query = await plain.get(f"{url}/stores/demo/{REFUNDS}", params={**in_query, "per_page": 1})

    assert (basic.status_code, query.status_code) == (200, 200)


async def test_the_secret_in_the_query_counts_before_the_header_and_leaves_no_trace(
    front_of_v3: Front, order: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        assert (await front_of_v3.refund(order, amount="1.00", api_refund=False)).status_code == 201
    other = await front_of_v3.other_key("refunds:read")
    params = {"consumer_key": other.consumer_key, "consumer_secret": other.consumer_secret, "per_page": 1}

    listed = await front_of_v3.client.get(f"orders/{order['id']}/refunds", params=params)
    written = await front_of_v3.client.post(f"orders/{order['id']}/refunds", params=params, json={"amount": "1.00"})

    assert listed.status_code == 200
    assert 'rel="next"' in listed.headers["Link"]
    assert said(written)[2] == "The API key provided does not have write permissions."
    out = "".join(capfd.readouterr()) + str(listed.headers) + listed.text
    assert other.consumer_secret not in out
    assert "route=/stores/{store}/wp-json/wc/v3/orders/{order_id}/refunds" in out


async def test_a_read_only_key_is_told_so_and_one_that_may_not_delete_too(
    front_of_v3: Front, order: dict[str, Any]
) -> None:
    made = (await front_of_v3.refund(order, amount="1.00", api_refund=False)).json()
    reader = await front_of_v3.other_key("refunds:read")
    writer = await front_of_v3.other_key("refunds:write")
    path = f"orders/{order['id']}/refunds"

    async def as_(key: Key, method: str, where: str) -> tuple[int, str, str]:
        return said(await front_of_v3.client.request(method, where, auth=key.auth))

    no_write = (401, "woocommerce_rest_authentication_error", "The API key provided does not have write permissions.")
    assert await as_(reader, "POST", path) == no_write
    assert await as_(reader, "DELETE", f"{path}/{made['id']}") == no_write
    assert (await as_(writer, "DELETE", f"{path}/{made['id']}"))[:2] == (403, "woocommerce_rest_cannot_delete")
    assert (await as_(writer, "GET", path))[:2] == (403, "woocommerce_rest_cannot_view")
    legacy = await front_of_v3.legacy.get(path, auth=writer.auth)
    assert said(legacy)[:2] == (401, "woocommerce_api_user_cannot_read_order_refund")


async def test_a_revoked_key_stops_working(front_of_v3: Front) -> None:
    key = await front_of_v3.other_key()
    async with front_of_v3.rt.database.transaction() as conn:
        assert await tenants.revoke_key(conn, front_of_v3.shop.tenant_id, key.id)

    v3 = await front_of_v3.client.get("orders/1/refunds", auth=key.auth)
    legacy = await front_of_v3.legacy.get("orders/1/refunds", auth=key.auth)

    assert said(v3)[:2] == (401, "woocommerce_rest_cannot_view")
    assert said(legacy) == (401, "woocommerce_api_authentication_error", "Consumer key is invalid.")


async def test_a_key_of_another_store_finds_no_route(front_of_v3: Front) -> None:
    key = await front_of_v3.other_key(store_ids=["st_other"])

    v3 = await front_of_v3.client.get("orders/1/refunds", auth=key.auth)
    legacy = await front_of_v3.legacy.post("orders/1/refunds", auth=key.auth, json={"order_refund": {"amount": "1"}})
    unknown = await front_of_v3.client.get(f"{front_of_v3.url}/stores/none/wp-json/wc/v3/orders/1/refunds")

    assert [said(v3)[:2], said(unknown)[:2]] == [(404, "rest_no_route")] * 2
    assert said(legacy)[:2] == (404, "woocommerce_api_no_route")


async def test_too_many_requests_are_told_when_to_come_back(
    front_of_v3: Front, database_url: str, plain: httpx.AsyncClient
) -> None:
    settings = front_of_v3.rt.settings.model_copy(update={"rate_limit": "2/minute", "front_basic_over_http": True})
    async with open_runtime(settings, works=False, url=database_url) as rt, serving(application(rt)) as url:
        answers = [
            await plain.get(f"{url}/stores/demo/wp-json/wc/v3/nothing", auth=front_of_v3.key.auth) for _ in range(3)
        ]

    assert [answer.status_code for answer in answers] == [404, 404, 429]
    assert answers[2].json()["code"] == "refund_gateway_rate_limited"
    assert 0 < int(answers[2].headers["Retry-After"]) <= 60


@pytest.mark.parametrize(
    "authorization",
    ["Basic", "Basic !!!", "Basic OjE=", "Basic /w==", "Bearer x", "OAuth", "OAuth oauth_nonce", "Basic Y2s6Y3M="],
)
async def test_junk_for_credentials_is_a_stranger(front_of_v3: Front, authorization: str) -> None:
    nobody = {"auth": lambda request: request, "headers": {"Authorization": authorization}}
    answer = await front_of_v3.client.get("orders/1/refunds", **nobody)

    assert said(answer)[:2] == (401, "woocommerce_rest_cannot_view")


async def test_a_lost_database_is_said_in_woocommerces_shape(
    front_of_v3: Front, database_url: str, plain: httpx.AsyncClient
) -> None:
    settings = front_of_v3.rt.settings.model_copy(update={"front_basic_over_http": True})
    async with open_runtime(settings, works=False, url=database_url) as rt, serving(application(rt)) as url:
        await rt.database.close()
        answer = await plain.get(f"{url}/stores/demo/{REFUNDS}", auth=front_of_v3.key.auth)

    assert (answer.status_code, answer.json()["code"]) == (503, "refund_gateway_unavailable")
    assert "nothing was done" not in answer.json()["message"]
    assert int(answer.headers["Retry-After"]) > 0


async def test_a_revoked_key_is_forgotten_within_seconds(
    rt: Runtime, front_of_v3: Front, order: dict[str, Any]
) -> None:
    """Good keys are remembered for a moment, so that a burst asks the database once."""
    key = await front_of_v3.other_key()
    assert (await front_of_v3.client.get("refunds", auth=key.auth)).status_code == 200
    async with rt.database.transaction() as conn:
        await tenants.revoke_key(conn, front_of_v3.shop.tenant_id, key.id)

    async def is_gone() -> bool:
        return (await front_of_v3.client.get("refunds", auth=key.auth)).status_code == 401

    await eventually(is_gone, within_s=6)
