"""The faults that several checks can find, each worded in one place."""

from decimal import Decimal
from typing import Literal

from app.domain.errors import Fault
from app.domain.money import format_amount
from app.domain.remaining import Remaining, RemainingLine


def money_text(amount: Decimal, left: Remaining | RemainingLine) -> str:
    """Write an amount with its currency, e.g. "9.99 EUR"."""
    return f"{format_amount(amount, left.decimals)} {left.currency}"


def line_text(left: RemainingLine) -> str:
    """Name a line so that a person finds it on the order."""
    return f"the {left.line.kind} line {left.line.id} ({left.line.name})"


def exceeds_refundable(pointer: str, asked: Decimal, left: Remaining) -> Fault:
    """Say that the order has less left than is asked for."""
    return Fault(
        code="exceeds_refundable",
        pointer=pointer,
        message=f"{money_text(left.total, left)} of the order can still be refunded, not {money_text(asked, left)}.",
        facts={
            "refundable": format_amount(left.total, left.decimals),
            "requested": format_amount(asked, left.decimals),
        },
    )


def quantity_exceeds(pointer: str, asked: Decimal, left: RemainingLine) -> Fault:
    """Say that a line has fewer units left than are asked for."""
    refundable = format(left.quantity.normalize(), "f")
    return Fault(
        code="quantity_exceeds_refundable",
        pointer=pointer,
        message=f"Of {line_text(left)}, {refundable} can still be refunded, not {asked:f}.",
        facts={"line_id": left.line.id, "refundable": refundable, "requested": f"{asked:f}"},
    )


def amount_exceeds(
    pointer: str, part: Literal["gross", "net"], asked: Decimal, limit: Decimal, left: RemainingLine
) -> Fault:
    """Say that a line has less money left than is asked for, in total or of its net."""
    return Fault(
        code="line_amount_exceeds_refundable",
        pointer=pointer,
        message=f"Of {line_text(left)}, {money_text(limit, left)} {part} can still be refunded, "
        f"not {money_text(asked, left)}.",
        facts={
            "line_id": left.line.id,
            "part": part,
            "refundable": format_amount(limit, left.decimals),
            "requested": format_amount(asked, left.decimals),
        },
    )


def tax_exceeds(pointer: str, rate_id: str, asked: Decimal, limit: Decimal, left: RemainingLine) -> Fault:
    """Say that a line has less of a tax rate left than is asked for."""
    return Fault(
        code="tax_exceeds_refundable",
        pointer=pointer,
        message=f"Of {line_text(left)}, {money_text(limit, left)} of the tax rate {rate_id} can still be refunded, "
        f"not {money_text(asked, left)}.",
        facts={
            "line_id": left.line.id,
            "rate_id": rate_id,
            "refundable": format_amount(limit, left.decimals),
            "requested": format_amount(asked, left.decimals),
        },
    )


def tax_rate_not_found(pointer: str, rate_id: str, left: RemainingLine) -> Fault:
    """Say that a line was never charged with a tax rate."""
    return Fault(
        code="tax_rate_not_found",
        pointer=pointer,
        message=f"The tax rate {rate_id} was never charged on {line_text(left)}.",
        facts={"line_id": left.line.id, "rate_id": rate_id, "rate_ids": [part.rate_id for part in left.taxes]},
    )


def line_not_found(pointer: str, line_id: str, message: str) -> Fault:
    """Say that the order has no such line."""
    return Fault(code="line_not_found", pointer=pointer, message=message, facts={"line_id": line_id})
