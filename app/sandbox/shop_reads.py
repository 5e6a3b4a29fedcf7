"""Products and customers of wc/v3, to read only: what a client of the shop reads beside orders and refunds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from app.sandbox.model import Json, Product
from app.sandbox.php import trimmed
from app.sandbox.queries import LIST_PARAMS
from app.sandbox.rest import Answer, Call, Param, not_found, paged
from app.sandbox.serialize import ORDER_METHODS, View, links

_PAGED = ("context", "page", "per_page", "search", "include", "exclude", "offset", "order")
PRODUCT_LIST_PARAMS: Mapping[str, Param] = {
    **{name: LIST_PARAMS[name] for name in _PAGED},
    "sku": Param(kind="string"),
}
CUSTOMER_LIST_PARAMS: Mapping[str, Param] = {
    **{name: LIST_PARAMS[name] for name in _PAGED},
    "email": Param(kind="string"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Customer:
    """A registered customer; the orders are all guests' own."""

    id: int
    first_name: str
    last_name: str
    email: str
    country: str


_CUSTOMERS = (
    Customer(id=2, first_name="Ada", last_name="Byron", email="ada@example.com", country="DE"),
    Customer(id=3, first_name="Emmy", last_name="Noether", email="emmy@example.com", country="AT"),
)
_MADE = "2026-01-05T09:00:00"


async def list_products(call: Call) -> Answer:
    """Answer GET products: the catalogue of two."""
    sku, search = call.text("sku"), (call.text("search") or "").lower()
    found = {
        one.id: _product(one, call.view())
        for one in call.store.products()
        if (not sku or one.sku == sku) and search in f"{one.name} {one.sku}".lower()
    }
    return _listed(call, found, path="products")


async def retrieve_product(call: Call) -> Answer:
    """Answer GET products/{id}."""
    product = call.store.product(call.id())
    if product is None:
        raise not_found("woocommerce_rest_product_invalid_id")
    return Answer(_product(product, call.view()))


async def list_customers(call: Call) -> Answer:
    """Answer GET customers."""
    email, search = call.text("email"), (call.text("search") or "").lower()
    found = {
        one.id: _customer(one, call.view())
        for one in _CUSTOMERS
        if (not email or one.email == email) and search in f"{one.first_name} {one.last_name} {one.email}".lower()
    }
    return _listed(call, found, path="customers")


async def retrieve_customer(call: Call) -> Answer:
    """Answer GET customers/{id}."""
    for customer in _CUSTOMERS:
        if customer.id == call.id():
            return Answer(_customer(customer, call.view()))
    raise not_found("woocommerce_rest_invalid_id", "Invalid resource ID.")


def _listed(call: Call, found: Mapping[int, Json], *, path: str) -> Answer:
    included, excluded = call.integers("include"), call.integers("exclude")
    ids = [one for one in found if (not included or one in included) and one not in excluded]
    if call.text("order") != "asc":
        ids.reverse()
    per_page = call.integer("per_page") or 10
    start = call.integer("offset") or ((call.integer("page") or 1) - 1) * per_page
    shown: Sequence[Json] = [found[one] for one in ids[start : start + per_page]]
    return Answer([*shown], headers=paged(call, len(ids), shown=len(shown), path=path, defaults={}))


def _product(product: Product, view: View) -> Json:
    return {
        "id": product.id,
        "name": product.name,
        "type": "simple",
        "status": "publish",
        "sku": product.sku,
        "price": trimmed(product.price),
        "regular_price": trimmed(product.price),
        "manage_stock": True,
        "stock_quantity": product.stock,
        "tax_status": "taxable",
        "tax_class": "",
        "meta_data": [],
        "_links": links(view, f"products/{product.id}", allow=ORDER_METHODS),
    }


def _customer(customer: Customer, view: View) -> Json:
    name: Json = {"first_name": customer.first_name, "last_name": customer.last_name}
    address: Json = {
        **name,
        "company": "",
        "address_1": "",
        "address_2": "",
        "city": "",
        "postcode": "",
        "country": customer.country,
        "state": "",
    }
    contact: Mapping[str, JsonValue] = {"email": customer.email, "phone": ""}
    return {
        "id": customer.id,
        "date_created": _MADE,
        "date_created_gmt": _MADE,
        "date_modified": _MADE,
        "date_modified_gmt": _MADE,
        "email": customer.email,
        **name,
        "role": "customer",
        "username": customer.first_name.lower(),
        "billing": {**address, **contact},
        "shipping": {**address, "phone": ""},
        "is_paying_customer": False,
        "avatar_url": "",
        "meta_data": [],
        "_links": links(view, f"customers/{customer.id}", allow=ORDER_METHODS),
    }
