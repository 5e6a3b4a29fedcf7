"""What the sandbox shop says of itself: payment gateways, currencies, settings."""

from dataclasses import dataclass

from app.sandbox.model import StoreSettings

SHOP_NAME = "Sandbox shop"
WORDPRESS_VERSION = "6.7.7"


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentGateway:
    """One installed payment method."""

    id: str
    title: str
    enabled: bool = True
    can_refund: bool = False
    #: Whether it writes an order note once it has paid, as most real gateways do.
    writes_note: bool = False

    @property
    def supports(self) -> list[str]:
        return ["products", "refunds"] if self.can_refund else ["products"]


GATEWAYS = {
    gateway.id: gateway
    for gateway in (
        PaymentGateway(id="bacs", title="Direct bank transfer"),
        PaymentGateway(id="cheque", title="Check payments", enabled=False),
        PaymentGateway(id="cod", title="Cash on delivery"),
        PaymentGateway(id="sandboxpay", title="SandboxPay", can_refund=True, writes_note=True),
        PaymentGateway(id="testpay", title="TestPay", can_refund=True),
    )
}

#: Code: name, HTML symbol, symbol.
CURRENCIES = {
    "AUD": ("Australian dollar", "&#36;", "$"),
    "CHF": ("Swiss franc", "&#67;&#72;&#70;", "CHF"),
    "CZK": ("Czech koruna", "&#75;&#269;", "Kč"),
    "DKK": ("Danish krone", "kr.", "kr."),
    "EUR": ("Euro", "&euro;", "€"),
    "GBP": ("Pound sterling", "&pound;", "£"),
    "JPY": ("Japanese yen", "&yen;", "¥"),
    "KWD": ("Kuwaiti dinar", "&#x62f;.&#x643;", "د.ك"),
    "PLN": ("Polish z&#x142;oty", "&#122;&#322;", "zł"),
    "SEK": ("Swedish krona", "&#107;&#114;", "kr"),
    "USD": ("United States (US) dollar", "&#36;", "$"),
}

STATUS_NAMES = {
    "pending": "Pending payment",
    "processing": "Processing",
    "on-hold": "On hold",
    "completed": "Completed",
    "cancelled": "Cancelled",
    "refunded": "Refunded",
    "failed": "Failed",
    "checkout-draft": "Draft",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One option of the shop, as `GET /settings/<group>/<id>` tells it."""

    group: str
    id: str
    label: str
    description: str = ""
    kind: str
    default: str
    tip: str = ""
    options: dict[str, str] | None = None
    value: str


def shop_settings(settings: StoreSettings) -> list[Setting]:
    """Return the options that a gateway reads."""
    currency_text = (
        "This controls what currency prices are listed at in the catalog "
        "and which currency gateways will take payments in."
    )
    return [
        Setting(
            group="general",
            id="woocommerce_currency",
            label="Currency",
            description=currency_text,
            kind="select",
            default="USD",
            tip=currency_text,
            options={code: f"{name} ({html}) — {code}" for code, (name, html, _) in CURRENCIES.items()},
            value=settings.currency,
        ),
        Setting(
            group="general",
            id="woocommerce_price_num_decimals",
            label="Number of decimals",
            description="This sets the number of decimal points shown in displayed prices.",
            kind="number",
            default="2",
            tip="This sets the number of decimal points shown in displayed prices.",
            value=str(settings.decimals),
        ),
        Setting(
            group="tax",
            id="woocommerce_prices_include_tax",
            label="Prices entered with tax",
            kind="radio",
            default="no",
            tip="This option is important as it will affect how you input prices. "
            "Changing it will not update existing products.",
            options={
                "yes": "Yes, I will enter prices inclusive of tax",
                "no": "No, I will enter prices exclusive of tax",
            },
            value="yes" if settings.prices_include_tax else "no",
        ),
        Setting(
            group="tax",
            id="woocommerce_tax_round_at_subtotal",
            label="Rounding",
            description="Round tax at subtotal level, instead of rounding per line",
            kind="checkbox",
            default="no",
            value="no",
        ),
    ]
