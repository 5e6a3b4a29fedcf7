"""The payment provider behind the sandbox's gateways: it pays, declines or dies, and every payment is a payout."""

import asyncio
import secrets

from app.sandbox.catalogue import GATEWAYS, PaymentGateway
from app.sandbox.model import Order, Refund
from app.sandbox.php import fixed
from app.sandbox.process import PhpKilledError, PhpProcess

RETURNED_FALSE = "An error occurred while attempting to create the refund using the payment gateway API."

#: Text of a database error after the money has moved (OF:692).
_AFTER_PAYING = "Deadlock found when trying to get lock; try restarting transaction"


class GatewayError(Exception):
    """The gateway has refused or failed.

    `code` is its WP_Error's; None when `process_refund` returned false and WooCommerce had to find the words.
    """

    def __init__(self, message: str, code: str | None) -> None:
        super().__init__(message)
        self.code = code


async def pay_refund(process: PhpProcess, order: Order, refund: Refund) -> None:
    """Have the order's gateway pay a refund whose row already stands, as `wc_refund_payment` does (OF:705-750).

    Raises GatewayError if WooCommerce is told no, PhpKilledError if PHP does not live to hear the answer.
    """
    gateway = GATEWAYS.get(order.payment_method)
    if gateway is None:
        raise GatewayError("The payment gateway for this order does not exist.", "error")
    if not gateway.can_refund:
        raise GatewayError("The payment gateway for this order does not support automatic refunds.", "error")
    await process_refund(process, gateway, order, refund)


async def process_refund(process: PhpProcess, gateway: PaymentGateway, order: Order, refund: Refund) -> None:
    """Have the provider pay; the payout is committed at the moment it does.

    Raises GatewayError if the gateway says no, PhpKilledError if PHP does not live to hear the answer.
    """
    if process.fault("die_before_paying"):
        raise PhpKilledError
    slow = process.fault("slow")
    delay_s = slow.delay_s if slow else process.provider_delay_s
    if delay_s:
        await asyncio.sleep(delay_s)
    if process.fault("decline"):
        raise GatewayError("Gateway declined the refund.", "card_declined")
    if process.fault("gateway_false"):
        raise GatewayError(RETURNED_FALSE, None)
    amount = fixed(refund.amount, process.store.settings().decimals)
    process.store.pay_out(
        order_id=order.id, refund_id=refund.id, amount=amount, currency=order.currency, reason=refund.reason
    )
    if process.fault("die_after_paying"):
        raise PhpKilledError
    if gateway.writes_note:
        text = f"Refunded {amount} {order.currency} – Refund ID: sp_{secrets.token_hex(9)}"
        with process.store.transaction():
            process.store.add_note(order.id, text)
    if process.fault("fail_after_paying"):
        raise GatewayError(_AFTER_PAYING, "db_error")
