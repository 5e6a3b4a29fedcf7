"""Many different refunds of one order at once, through two gateways and both doors: never more than was paid."""

import asyncio
from decimal import Decimal
from typing import Any

import httpx
import pytest

from app.crypto import new_api_key
from app.ledger import tenants
from app.wiring import open_runtime
from tests.conftest import serving
from tests.front.conftest import EVERYTHING, Front, application


async def _bearer(front: Front) -> dict[str, str]:
    key = new_api_key()
    async with front.rt.database.transaction() as conn:
        await tenants.add_key(
            conn,
            id=key.id,
            tenant_id=front.shop.tenant_id,
            name="erp",
            secret_hash=key.hash,
            scopes=EVERYTHING,
        )
    return {"Authorization": f"Bearer {key.text}"}


@pytest.mark.timeout(180)
async def test_thirty_different_refunds_at_once_never_exceed_the_order(
    front_of_either: Front, order: dict[str, Any], database_url: str
) -> None:
    front = front_of_either
    erp = await _bearer(front)
    path = f"/stores/demo/wp-json/wc/v3/orders/{order['id']}/refunds"
    settings = front.rt.settings.model_copy(update={"default_wait_s": 60.0})
    async with (
        open_runtime(settings, works=True, url=database_url) as other,
        serving(application(other)) as second,
        httpx.AsyncClient(timeout=90) as client,
    ):

        async def ask(number: int) -> tuple[bool, str]:
            at = (front.url, second)[number % 2]
            if number % 3 == 0:
                body = {"store": "demo", "order_id": str(order["id"]), "amount": "3.00", "reason": f"lot {number}"}
                answer = await client.post(f"{at}/v1/refunds", json=body, headers=erp | {"Prefer": "wait=60"})
                return answer.status_code == 201, answer.json().get("code", "")
            answer = await client.post(
                f"{at}{path}",
                json={"amount": "3.00", "reason": f"lot {number}"},
                auth=front.key.auth,
                headers={"X-Forwarded-Proto": "https"},
            )
            said = answer.json().get("data") if answer.status_code != 201 else {}
            return answer.status_code == 201, (said or {}).get("refund_gateway", {}).get("code", "")

        answers = await asyncio.gather(*(ask(number) for number in range(30)))

    assert order["total"] == "32.13"
    assert sum(good for good, _ in answers) == 10
    assert {code for good, code in answers if not good} == {"exceeds_refundable"}
    assert sum(Decimal(amount) for amount in await front.paid(order)) == Decimal("30.00")
