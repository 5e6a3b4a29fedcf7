"""WooCommerce's public JavaScript client, unmodified, where Node is there to run it."""

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.front.conftest import Front

FOLDER = Path(__file__).parent / "node"
NODE, NPM = shutil.which("node"), shutil.which("npm")

pytestmark = pytest.mark.skipif(NODE is None or NPM is None, reason="needs Node and npm")


async def run(*command: str | None) -> str:
    """Run a command in the client's folder and give what it prints."""
    process = await asyncio.create_subprocess_exec(
        *[str(part) for part in command],
        cwd=FOLDER,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return out.decode()


@pytest.fixture
async def client() -> Path:
    """Install the client, once and for all, as the lock file says."""
    if not (FOLDER / "node_modules").is_dir():
        await run(NPM, "ci", "--ignore-scripts", "--no-audit", "--no-fund")
    return FOLDER / "client.mjs"


async def test_the_javascript_client_works_over_http_with_signatures(
    client: Path, front_of_v3: Front, order: dict[str, Any]
) -> None:
    line = order["line_items"][0]
    asked = {
        "site": front_of_v3.site,
        "key": front_of_v3.key.consumer_key,
        "secret": front_of_v3.key.consumer_secret,
        "order": order["id"],
        "line": line["id"],
        "rate": line["taxes"][0]["id"],
    }

    made, read, listed, refused, gone, missing = json.loads(await run(NODE, client.name, json.dumps(asked)))

    assert (made["status"], made["data"]["amount"], made["data"]["reason"]) == (201, "10.71", "too small")
    assert (read["status"], read["data"]["amount"]) == (200, "10.7100")
    assert (listed["status"], len(listed["data"]), listed["total"]) == (200, 1, "1")
    assert (refused["status"], refused["data"]["code"]) == (400, "woocommerce_rest_cannot_create_order_refund")
    assert (gone["status"], gone["data"]["id"]) == (200, made["data"]["id"])
    assert (missing["status"], missing["data"]["code"]) == (404, "woocommerce_rest_shop_order_refund_invalid_id")
    assert await front_of_v3.paid(order) == ["10.71"]
