"""What OpenAPI says of the three forms in which a batch is sent."""

from typing import Any

from app.api.batch_csv import COLUMNS
from app.api.batch_input import BatchBody
from app.api.schemas import RefundBody
from app.domain.batch import MAX_ITEMS

_REFERENCE = "#/components/schemas/{model}"


def _document() -> dict[str, Any]:
    item = RefundBody.model_json_schema(ref_template=_REFERENCE)
    # Its parts are among the components already, for POST /v1/refunds.
    item.pop("$defs")
    item["required"].remove("store")
    if not item["required"]:
        del item["required"]
    item["title"] = "BatchItemRequest"
    schema = BatchBody.model_json_schema(ref_template=_REFERENCE)
    schema["properties"]["items"] = {"type": "array", "items": item, "minItems": 1, "maxItems": MAX_ITEMS}
    schema["examples"] = [
        {
            "store": "acme-de",
            "items": [{"order_id": "1234", "external_reference": "CM-2026-00017", "amount": "20.00"}],
            "max_total": {"EUR": "5000.00"},
            "stop_if_over": "0.05",
        }
    ]
    return schema


#: The request body of `POST /v1/batches`.
BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "application/json": {"schema": _document()},
        "application/x-ndjson": {
            "schema": {
                "type": "string",
                "description": "A refund's JSON per line, as in POST /v1/refunds; the options are in the query.",
            }
        },
        "text/csv": {
            "schema": {
                "type": "string",
                "description": "A refund per row; UTF-8, separated by commas or semicolons as the header is. Columns, "
                f"in any order: {', '.join(COLUMNS)} and metadata.<name>. An empty cell says nothing; line_item_id, "
                "sku, quantity and line_amount are about one product line. Amounts have a dot. The options are in the "
                "query.",
                "examples": ["order_id,external_reference,amount\r\n1234,CM-2026-00017,20.00\r\n"],
            }
        },
    },
}
