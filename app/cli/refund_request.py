"""A refund as it is asked for on the command line, held to exactly what the API accepts."""

from typing import Annotated, Any, Literal

import typer
from pydantic import ValidationError

from app.api.schemas import RefundBody, to_command
from app.cli.ends import Ended, Exit
from app.domain.refund import RefundCommand

StoreOption = Annotated[str, typer.Option("--store", metavar="NAME", help="The store's name.", show_default=False)]
OrderId = Annotated[str | None, typer.Option("--order", metavar="ID", help="The store's id of the order.")]
OrderNumber = Annotated[
    str | None, typer.Option("--order-number", metavar="NUMBER", help="Its number instead; matched exactly.")
]
Amount = Annotated[
    str | None, typer.Option("--amount", help='An amount, e.g. "20.00"; beside parts, a check of their sum.')
]
Currency = Annotated[str | None, typer.Option("--currency", help="A check: it must be the order's.")]
Items = Annotated[
    list[str] | None,
    typer.Option(
        "--item",
        metavar="LINE:QUANTITY",
        help="Units of a product line, by the line's id (311:1) or its SKU (sku:MUG-1:2); once per line.",
    ),
]
Shipping = Annotated[str | None, typer.Option("--shipping", metavar="all|AMOUNT", help="Shipping, tax included.")]
Fees = Annotated[str | None, typer.Option("--fees", metavar="all|AMOUNT", help="Fees, tax included.")]
Remaining = Annotated[bool, typer.Option("--remaining", help="Everything that is left of the order.")]
Goodwill = Annotated[str | None, typer.Option("--goodwill", metavar="AMOUNT", help="On top of the parts.")]
Payment = Annotated[
    Literal["gateway", "manual"],
    typer.Option("--payment", help="gateway: the payment provider pays it back; manual: the store only records it."),
]
Restock = Annotated[bool, typer.Option("--restock", help="Put the refunded units back into stock.")]
Reason = Annotated[str, typer.Option("--reason", help="Kept in the store and shown to the customer.")]
Reference = Annotated[
    str | None,
    typer.Option("--reference", help="Your document's number; unique per store for ever, so that it is paid once."),
]


def read_command(items: list[str] | None, **fields: Any) -> RefundCommand:
    """Read a refund from its options; ends the verb with everything that is wrong with them."""
    document = {name: value for name, value in fields.items() if value is not None}
    if items:
        document["items"] = [_item(text) for text in items]
    try:
        return to_command(RefundBody.model_validate(document))
    except ValidationError as error:
        raise Ended(Exit.USAGE, said_of(error)) from None


def said_of(error: ValidationError) -> str:
    """Say everything that is wrong with options."""
    faults = [f"{_option(fault['loc'])}{_message(fault)}" for fault in error.errors(include_input=False)]
    return " ".join(dict.fromkeys(faults))


def _item(text: str) -> dict[str, Any]:
    line, _, quantity = text.rpartition(":")
    if not line or not quantity.isascii() or not quantity.isdecimal():
        raise Ended(Exit.USAGE, f"--item {text!r} must look like 311:1 or sku:MUG-1:2, with a whole number of units.")
    prefix, _, sku = line.partition(":")
    name = {"sku": sku} if prefix.lower() == "sku" else {"line_item_id": line}
    return {**name, "quantity": int(quantity)}


_OPTIONS = {
    "order_id": "--order",
    "external_reference": "--reference",
    "items": "--item",
}


def _option(loc: tuple[int | str, ...]) -> str:
    if not loc:
        return ""
    name = str(loc[0])
    option = _OPTIONS.get(name, f"--{name.replace('_', '-')}")
    return f"{option}: "


def _message(fault: Any) -> str:
    match fault["type"]:
        case "string_pattern_mismatch":
            return "this is not written as it has to be."
        case "string_too_long":
            return f"at most {fault['ctx']['max_length']} characters are allowed."
        case "greater_than_equal" | "less_than_equal":
            return f"{fault['msg']}."
        case _:
            message = str(fault["msg"])
            return message if message.endswith(".") else f"{message}."
