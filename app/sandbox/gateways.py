"""The payment provider behind the sandbox's gateways: it pays, declines or dies, and every payment is a payout."""

import asyncio
import secrets

from app.sandbox.catalogue import GATEWAYS
from app.sandbox.model import Order, Refund
from app.sandbox.php import fixed
from app.sandbox.rest import Call, PhpKilledError

#: Text of a database error after the money has moved (OF:692).
_AFTER_PAYING = "Deadlock found when trying to get lock; try restarting transaction"


class GatewayError(Exception):
    """The gateway has refused or failed; WooCommerce passes its text on and deletes the refund row (OF:636)."""


async def pay_refund(call: Call, order: Order, refund: Refund) -> None:
    """Have the order's gateway pay a refund whose row already stands.

    Raises GatewayError if WooCommerce is told no, PhpKilledError if PHP does not live to hear the answer.
    """
    gateway = GATEWAYS.get(order.payment_method)
    if gateway is None:
        raise GatewayError("The payment gateway for this order does not exist.")
    if not gateway.can_refund:
        raise GatewayError("The payment gateway for this order does not support automatic refunds.")
    if call.fault("die_before_paying"):
        raise PhpKilledError
    slow = call.fault("slow")
    delay_s = slow.delay_s if slow else call.provider_delay_s
    if delay_s:
        await asyncio.sleep(delay_s)
    if call.fault("decline"):
        raise GatewayError("Gateway declined the refund.")
    if call.fault("gateway_false"):
        raise GatewayError("An error occurred while attempting to create the refund using the payment gateway API.")
    amount = fixed(refund.amount, call.store.settings().decimals)
    call.store.pay_out(
        order_id=order.id, refund_id=refund.id, amount=amount, currency=order.currency, reason=refund.reason
    )
    if call.fault("die_after_paying"):
        raise PhpKilledError
    if gateway.writes_note:
        text = f"Refunded {amount} {order.currency} – Refund ID: sp_{secrets.token_hex(9)}"
        with call.store.transaction():
            call.store.add_note(order.id, text)
    if call.fault("fail_after_paying"):
        raise GatewayError(_AFTER_PAYING)
