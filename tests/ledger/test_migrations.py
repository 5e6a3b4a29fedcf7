"""Upgrading a ledger that is in use: what was written by an older gateway is read by this one."""

from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest

from app.database import HEAD, Database, migrate
from app.ledger import refunds, tenants

_OLD_ROWS = """
INSERT INTO tenant (id, name) VALUES ('tn_1', 'old');
INSERT INTO store (id, tenant_id, name, url, api, auth, credentials, policy)
    VALUES ('st_1', 'tn_1', 'demo', 'https://shop.example', 'v3', 'basic', 'x',
        '{"on_absence": "resend", "marker_in_reason": true, "refundable_statuses": ["processing"],
          "manual_refunds_of_unpaid_orders": false}');
INSERT INTO api_key (id, tenant_id, name, secret_hash, scopes) VALUES ('k1', 'tn_1', 'erp', 'x', '{refunds:read}');
INSERT INTO refund (id, tenant_id, store_id, order_id, order_number, fingerprint, command, plan, amount, currency,
    decimals, payment, restock, reason, metadata, marker, status, money, settled_at, store_refund_id, expires_at,
    request_id, created_by)
VALUES ('rf_1', 'tn_1', 'st_1', '12', '12', 'x',
    '{"store": "demo", "order_id": "12", "order_number": null, "external_reference": null, "amount": "5.00",
      "currency": null, "items": [], "shipping": null, "fees": null, "remaining": false, "goodwill": null,
      "reason": "", "reason_code": null, "payment": "gateway", "restock": false, "metadata": {},
      "expected_refunded_total": null, "quote_id": null}',
    '{"order_id": "12", "order_number": "12", "currency": "EUR", "decimals": 2, "amount": "5.00", "lines": [],
      "goodwill": "0", "unallocated": "5.00", "payment": "gateway", "restock": false, "reason": ""}',
    5, 'EUR', 2, 'gateway', false, '', '{}', 'RG-00000001', 'succeeded', 'moved', now(), '726', now(), 'r', 'key:k1');
"""


@pytest.fixture
def old_ledger(postgres: str) -> Iterator[str]:
    """Give a ledger of the first revision with a row in every table that changes."""
    name = f"old_{uuid4().hex}"
    with psycopg.connect(postgres, autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE {name}")
    url = postgres.replace("/postgres?", f"/{name}?")
    migrate(url, to="0001")
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(_OLD_ROWS)  # type: ignore[arg-type]
    yield url
    with psycopg.connect(postgres, autocommit=True) as conn:
        conn.execute(f"DROP DATABASE {name} WITH (FORCE)")


async def test_what_an_older_gateway_wrote_is_read_after_the_upgrade(old_ledger: str) -> None:
    assert migrate(old_ledger)[-1] == HEAD
    assert migrate(old_ledger) == []
    database = Database(old_ledger, size=2)
    await database.open()
    async with database.reading() as conn:
        record = await refunds.get(conn, "rf_1")
        key = await tenants.key_by_id(conn, "k1")
        store = await tenants.store_by_id(conn, "st_1")
    await database.close()
    assert record is not None
    assert (record.origin, record.via, record.sent_via, record.deleted_at) == ("api", "v1", None, None)
    assert record.plan is not None
    assert (record.plan.payment_method, record.command.dialect) == ("", "gateway")
    assert key is not None
    assert (key.consumer_key, key.front.unknown_status, key.front.reads) == (None, 504, frozenset())
    assert store is not None
    assert (store.policy.on_absence, store.policy.refunding_methods) == ("resend", frozenset())
