"""The OpenAPI document is the one in the repository, complete, and true."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.api.openapi import dump
from app.api.schemas import AmendBody, RefundBody, ResolveBody
from app.api.store_refund_views import AmendedRefundView
from app.api.views import RefundView

ROOT = Path(__file__).parents[2]
DOCUMENT: dict[str, Any] = json.loads(dump())


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def test_the_document_in_the_repository_is_up_to_date() -> None:
    kept = (ROOT / "openapi" / "openapi.json").read_text()
    assert kept == dump(), "run `make openapi`"


def test_the_document_is_written_without_a_database_and_the_same_every_time() -> None:
    printed = subprocess.run(
        [sys.executable, "-W", "error", "-m", "app.api.openapi"], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert printed.stdout == dump()
    assert printed.stderr == ""


def test_operations_are_named_for_clients() -> None:
    names = [operation["operationId"] for _, _, operation in operations()]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch("[a-z]+(_[a-z]+)*", name) for name in names)
    assert {"create_refund", "preview_refund", "list_refunds", "get_refund", "get_order"} <= set(names)
    assert {"amend_refund", "delete_refund", "list_refunds_of_store", "delete_store_refund"} <= set(names)


def test_a_change_is_taken_as_a_merge_patch_too() -> None:
    content = DOCUMENT["paths"]["/v1/refunds/{refund_id}"]["patch"]["requestBody"]["content"]
    assert set(content) == {"application/json", "application/merge-patch+json"}
    schema = DOCUMENT["components"]["schemas"]["AmendRequest"]
    # A default would say that what is left out is emptied.
    assert all("default" not in field for field in schema["properties"].values())


def test_the_lists_of_stores_take_every_parameter_of_woocommerces() -> None:
    theirs = (
        "context page per_page search after before modified_after modified_before dates_are_gmt exclude include offset "
        "order orderby parent parent_exclude dp"
    )
    for path in ("/v1/stores/{store}/refunds", "/v1/stores/{store}/orders/{order_id}/refunds"):
        parameters = DOCUMENT["paths"][path]["get"]["parameters"]
        assert {part["name"] for part in parameters if part["in"] == "query"} == set(theirs.split())


#: Proved by a source's or a store's own secret.
UNKEYED = {"receive_inbound_message", "receive_store_webhook"}
#: Take whatever another system sends, and judge it later.
UNJUDGED = {*UNKEYED, "test_inbound_source"}


def test_every_operation_documents_its_problems_and_its_key() -> None:
    for _, path, operation in operations():
        keyed = path.startswith("/v1/") and operation["operationId"] not in UNKEYED
        assert bool(operation["security"]) == keyed
        assert ("x-required-scope" in operation) == keyed
        for status, response in operation["responses"].items():
            assert "X-Request-Id" in response["headers"]
            if int(status) >= 400:
                schema = response["content"]["application/problem+json"]["schema"]
                assert schema["allOf"][1]["properties"]["code"]["enum"], (path, status)
        if keyed:
            assert {"401", "403", "429", "500", "503"} <= set(operation["responses"])
        if "requestBody" in operation and operation["operationId"] not in UNJUDGED:
            assert {"413", "415", "422"} <= set(operation["responses"])


def test_every_reference_leads_somewhere() -> None:
    for pointer in re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(DOCUMENT)):
        part: Any = DOCUMENT
        for step in pointer.split("/"):
            part = part[step]


def test_models_have_the_names_that_clients_should_see() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    assert {"Refund", "RefundRequest", "RefundList", "Preview", "StoreOrder", "StoreRefund", "Store", "Problem"} <= set(
        schemas
    )
    assert not [name for name in schemas if name.endswith(("View", "Body"))]
    assert "HTTPValidationError" not in schemas


@pytest.mark.parametrize(
    ("name", "model"), [("RefundRequest", RefundBody), ("ResolveRequest", ResolveBody), ("AmendRequest", AmendBody)]
)
def test_every_example_of_a_request_is_valid(name: str, model: type[RefundBody | ResolveBody | AmendBody]) -> None:
    examples = DOCUMENT["components"]["schemas"][name]["examples"]
    assert examples
    for example in examples:
        model.model_validate(example)


def test_every_example_of_an_answer_is_valid() -> None:
    [example] = DOCUMENT["components"]["schemas"]["Refund"]["examples"]
    # FastAPI leaves nulls out of examples.
    nulls = {"failure", "deleted_at", "deleted_by", "duplicate_of", "batch_id", "batch_item"}
    assert set(RefundView.model_fields) - set(example) == nulls
    RefundView.model_validate({**example, **dict.fromkeys(nulls)})
    [amended] = DOCUMENT["components"]["schemas"]["AmendedRefund"]["examples"]
    AmendedRefundView.model_validate({**amended, **dict.fromkeys(nulls)})


def test_amounts_are_text_everywhere() -> None:
    def properties(part: Any) -> Iterator[tuple[str, Any]]:
        if isinstance(part, dict):
            yield from part.get("properties", {}).items()
            for inner in part.values():
                yield from properties(inner)

    money = {"amount", "total", "net", "tax", "goodwill", "unallocated", "refundable_total", "before", "after"}
    found = [schema for name, schema in properties(DOCUMENT["components"]["schemas"]) if name in money]
    assert len(found) > 15
    assert all('"number"' not in json.dumps(schema) for schema in found)
