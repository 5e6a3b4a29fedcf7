"""What can be said about a refund command without looking at any order: is it one clear question?"""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from app.domain.errors import Fault
from app.domain.refund import LineRequest, LinesRequest, RefundCommand, TaxRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenAmount:
    """An amount of the command, and where it stands in the request body."""

    pointer: str
    amount: Decimal
    may_be_zero: bool


def faults_of(command: RefundCommand) -> tuple[Fault, ...]:
    """Find every fault that needs no order: contradictions, gaps, duplicates and amounts of nothing."""
    return (
        *_order_reference(command),
        *_extent(command),
        *_items(command),
        *_named_lines(command),
        *_zeros(command),
        *_meta(command),
    )


#: Keys under which WooCommerce keeps a refund's own fields: a value there would be taken for the field (such as
#: `_refunded_payment`, which says that a payment gateway has paid), and the one under which the gateway keeps its mark.
TAKEN_META_KEYS = frozenset(
    {"_refund_gateway", "_refund_amount", "_refund_reason", "_refunded_by", "_refunded_payment"}
    | {"_order_currency", "_order_shipping", "_order_shipping_tax", "_order_tax", "_order_total", "_order_version"}
    | {"_cart_discount", "_cart_discount_tax", "_prices_include_tax", "_payment_tokens"}
)


def _meta(command: RefundCommand) -> Iterator[Fault]:
    for key in command.store_meta:
        if key.lower() in TAKEN_META_KEYS:
            yield Fault(
                code="conflicting_fields",
                pointer="/store_meta_data",
                message=f"WooCommerce or the gateway keeps something of its own under the key {key!r}.",
                facts={"key": key},
            )


def amounts_of(command: RefundCommand) -> Iterator[WrittenAmount]:
    """Give every amount of the command in the order of the documented body."""
    if command.amount is not None:
        yield WrittenAmount(pointer="/amount", amount=command.amount, may_be_zero=False)
    for i, item in enumerate(command.items):
        if item.amount is not None:
            # WooCommerce's clients put units back into stock by a line of a quantity and no money.
            only_units = command.dialect == "woocommerce" and bool(item.quantity)
            yield WrittenAmount(pointer=f"/items/{i}/amount", amount=item.amount, may_be_zero=only_units)
        yield from _tax_amounts(f"/items/{i}", item.taxes)
    for field, request in (("shipping", command.shipping), ("fees", command.fees)):
        if isinstance(request, Decimal):
            yield WrittenAmount(pointer=f"/{field}", amount=request, may_be_zero=False)
        for i, line in enumerate(named_lines(request)):
            if line.amount is not None:
                yield WrittenAmount(pointer=f"/{field}/{i}/amount", amount=line.amount, may_be_zero=False)
            yield from _tax_amounts(f"/{field}/{i}", line.taxes)
    if command.goodwill is not None:
        yield WrittenAmount(pointer="/goodwill", amount=command.goodwill, may_be_zero=False)
    if command.expected_refunded_total is not None:
        yield WrittenAmount(
            pointer="/expected_refunded_total", amount=command.expected_refunded_total, may_be_zero=True
        )


def named_lines(request: LinesRequest | None) -> tuple[LineRequest, ...]:
    """Give the lines that a request for shipping or fees names one by one; none for "all" or an amount."""
    return request if isinstance(request, tuple) else ()


def is_asked(request: LinesRequest | None) -> bool:
    """Say whether shipping or fees were asked for; an empty list asks for nothing."""
    return request is not None and request != ()


def _tax_amounts(pointer: str, taxes: tuple[TaxRequest, ...] | None) -> Iterator[WrittenAmount]:
    for i, tax in enumerate(taxes or ()):
        yield WrittenAmount(pointer=f"{pointer}/taxes/{i}/amount", amount=tax.amount, may_be_zero=True)


def _order_reference(command: RefundCommand) -> Iterator[Fault]:
    if command.order_id is None and command.order_number is None:
        yield Fault(
            code="missing_field",
            pointer="/order_id",
            message="Name the order to refund, by its order_id or its order_number.",
        )
    if command.order_id is not None and command.order_number is not None:
        yield Fault(
            code="conflicting_fields",
            pointer="/order_number",
            message="Name the order by its order_id or by its order_number, not by both.",
            facts={"fields": ["order_id", "order_number"]},
        )


def _extent(command: RefundCommand) -> Iterator[Fault]:
    parts = [
        name
        for name, asked in (
            ("items", bool(command.items)),
            ("shipping", is_asked(command.shipping)),
            ("fees", is_asked(command.fees)),
            ("goodwill", command.goodwill is not None),
        )
        if asked
    ]
    if command.remaining and parts:
        yield Fault(
            code="conflicting_fields",
            pointer="/remaining",
            message=f"remaining refunds everything that is left and cannot stand beside {', '.join(parts)}.",
            facts={"fields": ["remaining", *parts]},
        )
    if not command.remaining and not parts and command.amount is None:
        yield Fault(
            code="missing_field",
            pointer="",
            message="Say what to refund: amount, items, shipping, fees, goodwill or remaining.",
        )


def _items(command: RefundCommand) -> Iterator[Fault]:
    first_by_reference: dict[tuple[str, str], str] = {}
    for i, item in enumerate(command.items):
        pointer = f"/items/{i}"
        if item.line_item_id is None and item.sku is None:
            yield Fault(
                code="missing_field",
                pointer=f"{pointer}/line_item_id",
                message="Name the order line of this item, by its line_item_id or its sku.",
            )
        if item.line_item_id is not None and item.sku is not None:
            yield Fault(
                code="conflicting_fields",
                pointer=f"{pointer}/sku",
                message="Name the order line of this item by its line_item_id or by its sku, not by both.",
                facts={"fields": ["line_item_id", "sku"]},
            )
        if item.quantity is None and item.amount is None:
            yield Fault(
                code="missing_field",
                pointer=f"{pointer}/quantity",
                message="Say how much of this item to refund: its quantity, its amount, or both.",
            )
        if item.quantity is not None and item.quantity <= 0:
            yield Fault(
                code="nothing_to_refund",
                pointer=f"{pointer}/quantity",
                message=f"A quantity of {item.quantity} refunds nothing; leave it out to refund an amount only.",
            )
        for field, reference in (("line_item_id", item.line_item_id), ("sku", item.sku)):
            if reference is not None:
                first = first_by_reference.setdefault((field, reference), pointer)
                if first != pointer:
                    yield duplicate_line(f"{pointer}/{field}", reference, first)
        yield from _taxes(pointer, item.amount, item.taxes)


def _named_lines(command: RefundCommand) -> Iterator[Fault]:
    for field, id_field, request in (
        ("shipping", "shipping_line_id", command.shipping),
        ("fees", "fee_line_id", command.fees),
    ):
        first_by_id: dict[str, str] = {}
        for i, line in enumerate(named_lines(request)):
            pointer = f"/{field}/{i}"
            first = first_by_id.setdefault(line.line_id, pointer)
            if first != pointer:
                yield duplicate_line(f"{pointer}/{id_field}", line.line_id, first)
            yield from _taxes(pointer, line.amount, line.taxes)


def duplicate_line(pointer: str, reference: str, first: str) -> Fault:
    """Say that two entries of a request take from the same order line."""
    return Fault(
        code="duplicate_line",
        pointer=pointer,
        message=f"The order line {reference} is already refunded by {first}; put both into one entry.",
        facts={"reference": reference, "first": first},
    )


def _taxes(pointer: str, amount: Decimal | None, taxes: tuple[TaxRequest, ...] | None) -> Iterator[Fault]:
    if taxes is None:
        return
    if amount is None:
        yield Fault(
            code="missing_field",
            pointer=f"{pointer}/amount",
            message="Taxes can only be given beside the gross amount that they are part of.",
        )
    seen: set[str] = set()
    for i, tax in enumerate(taxes):
        if tax.rate_id in seen:
            yield Fault(
                code="conflicting_fields",
                pointer=f"{pointer}/taxes/{i}/rate_id",
                message=f"The tax rate {tax.rate_id} is given twice for this line.",
                facts={"rate_id": tax.rate_id},
            )
        seen.add(tax.rate_id)


def _zeros(command: RefundCommand) -> Iterator[Fault]:
    for written in amounts_of(command):
        if written.amount < 0 or (written.amount == 0 and not written.may_be_zero):
            yield Fault(
                code="nothing_to_refund",
                pointer=written.pointer,
                message=f"An amount of {written.amount:f} refunds nothing; amounts have to be greater than zero.",
                facts={"amount": f"{written.amount:f}"},
            )
