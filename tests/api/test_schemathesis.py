"""The API holds to its own OpenAPI document, whatever it is sent: no 500, no answer that is not documented."""

import asyncio
import json
import re
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.api.openapi import dump
from app.flows.runtime import Runtime
from app.ledger import executors
from tests.api.conftest import opened
from tests.conftest import Sandbox, Shop

_CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "ignored_auth",
)


def with_known_names(part: Any, known: dict[str, list[str]]) -> Any:
    """Narrow stores, orders and lines down to ones that exist, so that requests get past their form."""
    if isinstance(part, list):
        return [with_known_names(inner, known) for inner in part]
    if not isinstance(part, dict):
        return part
    named = part.get("name")
    if part.get("in") == "path" and named in known:
        return {**part, "schema": {"type": "string", "enum": known[named]}}
    return {
        name: {
            field: {"type": "string", "enum": known[field]} if field in known else with_known_names(schema, known)
            for field, schema in inner.items()
        }
        if name == "properties" and isinstance(inner, dict) and part.get("additionalProperties") is False
        else with_known_names(inner, known)
        for name, inner in part.items()
    }


@pytest.mark.slow
async def test_no_request_gets_an_undocumented_answer(
    rt: Runtime, shop: Shop, sandbox: Sandbox, tmp_path: Path
) -> None:
    orders = [await sandbox.new_order() for _ in range(3)]
    fast = rt.settings.model_copy(
        update={
            "rate_limit": "1000000/second",
            "default_wait_s": 2.0,
            "max_wait_s": 2.0,
            "body_limit_bytes": 10_000_000,
        }
    )
    known = {
        "store": ["demo"],
        "order_id": [str(order["id"]) for order in orders],
        "line_item_id": [str(order["line_items"][0]["id"]) for order in orders],
        "sku": ["SKU0"],
        "amount": ["0.01", "0.02"],
        "currency": ["EUR"],
        "expected_refunded_total": ["0"],
    }
    described = with_known_names(json.loads(dump()), known)
    described["components"]["schemas"]["RefundRequest"]["examples"] = [
        {"store": "demo", "order_id": known["order_id"][0], "amount": "0.01"}
    ]
    document = tmp_path / "openapi.json"
    document.write_text(json.dumps(described))

    async def beat() -> None:
        while True:
            async with rt.database.transaction() as conn:
                await executors.beat(conn, "ex_worker", works=True, lease=timedelta(seconds=60))
            await asyncio.sleep(3)

    beating = asyncio.create_task(beat())
    async with opened(replace(rt, settings=fast), shop) as gateway:
        run = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "schemathesis.cli", "run", str(document)),
            *("--url", gateway.url, "--checks", ",".join(_CHECKS)),
            *("--phases", "examples,coverage,fuzzing", "--max-examples", "8", "--no-shrink"),
            "--generation-deterministic",
            *("--header", f"Authorization:{gateway.client.headers['authorization']}"),
            *("--suppress-health-check", "all", "--no-color", "--warnings", "off", "--output-truncate", "false"),
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await run.communicate()
        beating.cancel()
        report = output.decode()
        tried = int(match[1]) if (match := re.search(r"(\d[\d,]*) generated", report)) else 0
        numbers = gateway.metrics.text().decode()
    assert run.returncode == 0, report
    assert tried > 300, report
    reached = set(re.findall(r'refund_gateway_requests_total\{route="(/v1/[^"]+)",status="(\d+)"\}', numbers))
    # Requests that got past their form and were carried out or accepted, so that more than faults was tried.
    assert reached & {("/v1/refunds", "201"), ("/v1/refunds", "202")}, reached
    assert ("/v1/refunds/preview", "200") in reached, reached
