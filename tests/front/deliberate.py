"""Where the front deliberately does not answer as the recorded WooCommerce did, and why."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Deliberate:
    """An answer of the front's that is not the recorded one."""

    status: int
    code: str | None  #: None for an answer that is no error
    why: str


HONEST = "WooCommerce's 500 hides the status that it says itself in `data`"
FATAL = "PHP dies on this; nothing is sent to the store"
NOTHING = "WooCommerce creates a refund of 0.00 and calls the payment gateway with it"
GUESSED = "WooCommerce makes another amount of the text, and pays that"
LINES = "WooCommerce records what the order's lines do not bear, or drops them without a word"
UNPAID = "nothing was paid that could be refunded; a store's policy can allow to record it"
SAYS_FALSE = "api_refund counts in the query alone: WooCommerce pays although the body says false"
NO_MONEY = "WooCommerce answers 201 although its payment gateway cannot pay anything back"
DECLINED = "WooCommerce answers 200, and keeps the row of a refund that was declined"
OF_ANOTHER = "WooCommerce does not look whether the refund belongs to the order in the path"
CLOSED = "only what a key's front.reads can name is passed on"
LOST = "the web server's 502 said nothing; this names the refund, which is looked into"

CREATE = "woocommerce_rest_cannot_create_order_refund"
AMOUNT = "woocommerce_rest_invalid_order_refund"
PARAM = "rest_invalid_param"
NO_ORDER = "woocommerce_rest_invalid_order_id"
NOT_OF_ORDER = "woocommerce_rest_invalid_order_refund_id"
LEGACY_AMOUNT = "woocommerce_api_invalid_order_refund"
LEGACY_FAILED = "woocommerce_api_create_order_refund_api_failed"

#: By file and name of the exchange.
DELIBERATE = {
    (file, name): deliberate
    for file, listed in {
        "v3_create_refund": {
            "line item by quantity only": Deliberate(400, PARAM, NOTHING),
            "amount differs from line totals": Deliberate(400, PARAM, LINES),
            "line quantity above ordered": Deliberate(400, PARAM, LINES),
            "line total above line": Deliberate(400, PARAM, LINES),
            "unknown line item id": Deliberate(400, PARAM, LINES),
            "unknown tax id": Deliberate(400, PARAM, LINES),
            "three decimals": Deliberate(400, PARAM, GUESSED),
            "comma decimal is read as a hundred times more, above the order total": Deliberate(400, CREATE, GUESSED),
            "exponent notation": Deliberate(400, CREATE, GUESSED),
        },
        "v3_create_refund_errors": {
            "amount above remaining": Deliberate(400, CREATE, HONEST),
            "zero amount": Deliberate(400, AMOUNT, NOTHING),
            "negative amount": Deliberate(400, AMOUNT, HONEST),
            "empty body": Deliberate(400, AMOUNT, NOTHING),
            "text amount": Deliberate(400, CREATE, HONEST),
            "null amount": Deliberate(400, AMOUNT, HONEST),
            "empty amount": Deliberate(400, AMOUNT, HONEST),
            "capitalised Amount": Deliberate(400, PARAM, NOTHING),
            "line_items not a list": Deliberate(400, PARAM, LINES),
            "line item without id": Deliberate(400, PARAM, LINES),
            "gateway declines": Deliberate(400, CREATE, HONEST),
            "gateway returns false": Deliberate(400, CREATE, HONEST),
            "huge amount text": Deliberate(400, CREATE, HONEST),
            "amount with currency": Deliberate(400, CREATE, GUESSED),
            "json list body": Deliberate(400, AMOUNT, NOTHING),
            "unknown order": Deliberate(404, NO_ORDER, HONEST),
            "order id zero": Deliberate(404, NO_ORDER, HONEST),
            "refund of a refund": Deliberate(404, NO_ORDER, FATAL),
            "gateway without refund support": Deliberate(400, CREATE, HONEST),
            "gateway not installed": Deliberate(400, CREATE, HONEST),
            "refund after full refund": Deliberate(400, CREATE, HONEST),
            "zero refund after full refund": Deliberate(400, AMOUNT, NOTHING),
            "refund on pending unpaid order": Deliberate(400, CREATE, UNPAID),
            "refund on on-hold unpaid order": Deliberate(400, CREATE, UNPAID),
            "refund on cancelled unpaid order": Deliberate(400, CREATE, UNPAID),
            "refund on failed unpaid order": Deliberate(400, CREATE, UNPAID),
            "refund on refunded unpaid order": Deliberate(400, CREATE, HONEST),
        },
        "v3_read_and_delete": {
            "retrieve of another order": Deliberate(404, NOT_OF_ORDER, HONEST),
            "retrieve, unknown order": Deliberate(404, NO_ORDER, HONEST),
            "retrieve order id as refund id": Deliberate(404, NOT_OF_ORDER, HONEST),
            "store refunds: parent list": Deliberate(200, None, "parent is applied here, so that it has an effect"),
            "delete of another order": Deliberate(404, NOT_OF_ORDER, "WooCommerce deletes that refund all the same"),
        },
        "orders_gateways_settings": {
            "current currency": Deliberate(404, "rest_no_route", CLOSED),
            "system status environment": Deliberate(404, "rest_no_route", CLOSED),
            "jpy refund with decimals": Deliberate(400, PARAM, GUESSED),
            "kwd three decimal refund": Deliberate(400, PARAM, GUESSED),
        },
        "v3_in_flight": {
            "PHP dies after the provider paid: answer to the POST": Deliberate(
                504, "refund_gateway_outcome_unknown", LOST
            ),
        },
        "legacy_v3_refunds": {
            "create manual": Deliberate(400, LEGACY_AMOUNT, SAYS_FALSE),
            "create with line items list": Deliberate(400, LEGACY_AMOUNT, LINES),
            "update amount": Deliberate(400, LEGACY_AMOUNT, "the amount of a refund is what was paid"),
            "create error: zero": Deliberate(400, LEGACY_AMOUNT, NOTHING),
            "create error: text": Deliberate(400, LEGACY_AMOUNT, FATAL),
            "create error: above remaining": Deliberate(400, "woocommerce_api_cannot_create_order_refund", FATAL),
            "create error: declined": Deliberate(400, LEGACY_FAILED, DECLINED),
            "create, gateway without refunds": Deliberate(400, LEGACY_FAILED, NO_MONEY),
            "create, gateway without refunds, manual": Deliberate(400, LEGACY_AMOUNT, SAYS_FALSE),
            "unknown order": Deliberate(404, "woocommerce_api_no_order_found", FATAL),
            "view of another order": Deliberate(404, "woocommerce_api_invalid_order_refund_id", OF_ANOTHER),
            "view order": Deliberate(
                404,
                "refund_gateway_not_on_this_store",
                "the store is spoken to in wc/v3, where its orders can be read",
            ),
            "index": Deliberate(200, None, "it tells of the front's routes and of no store"),
            "oauth1 create": Deliberate(400, LEGACY_AMOUNT, SAYS_FALSE),
        },
        "v3_rounding": {
            "9.99 incl. 20 %: every line in full, dp=2, no amount": Deliberate(400, PARAM, HONEST),
        },
    }.items()
    for name, deliberate in listed.items()
}
