"""The sandbox store's database: one SQLite file, or memory; short synchronous transactions on one connection.

Everything between two awaits is one step for every other request, so a transaction is never open across an await.
WAL with `synchronous=NORMAL`: what is committed survives the death of this process, which is what crash tests do to it.
"""

import sqlite3
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel

from app.sandbox.model import Coupon, Meta, Note, Order, Product, Refund, RefundSummary, StoreSettings, TaxRate
from app.sandbox.taxes import Rounding

_SCHEMA = """
CREATE TABLE IF NOT EXISTS sequences (name TEXT PRIMARY KEY, last INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, doc TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tax_rates (id INTEGER PRIMARY KEY, doc TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS products (id INTEGER PRIMARY KEY, doc TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS coupons (id INTEGER PRIMARY KEY, code TEXT NOT NULL, doc TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS orders (
    id INTEGER PRIMARY KEY, status TEXT NOT NULL, created TEXT NOT NULL, modified TEXT NOT NULL, doc TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS refunds (
    id INTEGER PRIMARY KEY, order_id INTEGER NOT NULL, created TEXT NOT NULL, modified TEXT NOT NULL,
    amount TEXT NOT NULL, reason TEXT NOT NULL, doc TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS refunds_of_order ON refunds (order_id);
CREATE TABLE IF NOT EXISTS notes (
    id INTEGER PRIMARY KEY, order_id INTEGER NOT NULL, created TEXT NOT NULL, doc TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS notes_of_order ON notes (order_id);
CREATE TABLE IF NOT EXISTS webhooks (id INTEGER PRIMARY KEY, doc TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS payouts (
    id INTEGER PRIMARY KEY AUTOINCREMENT, order_id INTEGER NOT NULL, refund_id INTEGER NOT NULL,
    amount TEXT NOT NULL, currency TEXT NOT NULL, reason TEXT NOT NULL, at TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS payouts_of_order ON payouts (order_id);
"""
_TABLES = ("settings", "tax_rates", "products", "coupons", "orders", "refunds", "notes", "webhooks", "payouts")

#: First id of each sequence; WordPress numbers orders, refunds and coupons together.
_FIRST = {"post": 100, "item": 160, "meta": 1250, "note": 80, "webhook": 1}

#: The recordings' catalogue.
_CATALOGUE = (
    Product(id=10, name="Album", sku="SKU0", price=Decimal("9.00"), stock=1000),
    Product(id=11, name="Shirt", sku="SKU1", price=Decimal("19.99"), stock=1000),
)
_VAT = TaxRate(id=1, name="VAT", percent=Decimal(19))

#: A row as SQLite gives it; parsed at once.
_Row: TypeAlias = tuple[Any, ...]

Sequence = Literal["post", "item", "meta", "note", "webhook"]


class Payout(BaseModel):
    """Money the payment provider really paid."""

    id: int
    order_id: int
    refund_id: int
    amount: str
    currency: str
    reason: str
    at: str


def _utc() -> datetime:
    return datetime.now(UTC)


class Store:
    """One shop's data. Reads need no transaction; writes belong into `with store.transaction():`."""

    def __init__(self, database: Path | None, installed: Mapping[str, object] | None = None) -> None:
        """Open a shop's data; `installed` are settings to start with, which a reset returns to."""
        self._installed = installed or {}
        self._connection = sqlite3.connect(
            ":memory:" if database is None else database, isolation_level=None, check_same_thread=False, timeout=30
        )
        # An app that was never served is never shut down either; the file is let go of all the same.
        weakref.finalize(self, self._connection.close)
        self._connection.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;" + _SCHEMA)
        #: Aware UTC; tests may set another.
        self.clock: Callable[[], datetime] = _utc
        #: Hears of what happens, as WordPress' hooks do: the hook and its first argument.
        self.on_action: Callable[[str, int], None] | None = None
        self._settings: StoreSettings | None = None
        if self._one("SELECT 1 FROM settings") is None:
            self.reset()
        elif self._installed:
            with self.transaction():
                self.save_settings(StoreSettings.model_validate({**self.settings().model_dump(), **self._installed}))

    def close(self) -> None:
        self._connection.close()

    def now(self) -> datetime:
        """Return the shop's time, which WordPress keeps in whole seconds and without its zone."""
        return self.clock().astimezone(UTC).replace(microsecond=0, tzinfo=None)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what is written inside, or nothing of it; inside another transaction, join that one."""
        if self._connection.in_transaction:
            yield
            return
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def do_action(self, hook: str, arg: int) -> None:
        """Say that something has happened to an order or a refund."""
        if self.on_action is not None:
            self.on_action(hook, arg)

    def reset(self) -> None:
        """Empty the shop down to its catalogue, the settings it was installed with and first ids."""
        with self.transaction():
            for table in _TABLES:
                self._connection.execute(f"DELETE FROM {table}")  # noqa: S608 - names from the tuple above
            self._connection.execute("DELETE FROM sequences")
            self._connection.executemany(
                "INSERT INTO sequences VALUES (?, ?)", [(name, first - 1) for name, first in _FIRST.items()]
            )
            self.save_settings(StoreSettings.model_validate(self._installed))
            self.save_tax_rate(_VAT)
            for product in _CATALOGUE:
                self.save_product(product)

    def next_id(self, sequence: Sequence) -> int:
        """Take an id; a rolled-back transaction gives it back, a deleted row does not."""
        row = self._connection.execute(
            "UPDATE sequences SET last = last + 1 WHERE name = ? RETURNING last", (sequence,)
        ).fetchall()
        return int(row[0][0])

    def item_id(self) -> int:
        return self.next_id("item")

    def new_meta(self, key: str, value: object) -> Meta:
        return Meta.model_validate({"id": self.next_id("meta"), "key": key, "value": value})

    # Settings, taxes, catalogue

    def settings(self) -> StoreSettings:
        if self._settings is None:
            row = self._one("SELECT doc FROM settings WHERE name = 'store'")
            self._settings = StoreSettings.model_validate_json(row[0]) if row else StoreSettings()
        return self._settings

    def save_settings(self, settings: StoreSettings) -> None:
        self._put("INSERT OR REPLACE INTO settings VALUES ('store', ?)", settings.model_dump_json())
        self._settings = settings

    def rounding(self, *, prices_include_tax: bool) -> Rounding:
        """Return how amounts of an order with such prices are rounded."""
        return Rounding(decimals=self.settings().decimals, prices_include_tax=prices_include_tax)

    def tax_rates(self) -> list[TaxRate]:
        return [TaxRate.model_validate_json(row[0]) for row in self._all("SELECT doc FROM tax_rates ORDER BY id")]

    def save_tax_rate(self, rate: TaxRate) -> None:
        self._put("INSERT OR REPLACE INTO tax_rates VALUES (?, ?)", rate.id, rate.model_dump_json())

    def product(self, product_id: int) -> Product | None:
        row = self._one("SELECT doc FROM products WHERE id = ?", product_id)
        return Product.model_validate_json(row[0]) if row else None

    def products(self) -> list[Product]:
        return [Product.model_validate_json(row[0]) for row in self._all("SELECT doc FROM products ORDER BY id")]

    def save_product(self, product: Product) -> None:
        self._put("INSERT OR REPLACE INTO products VALUES (?, ?)", product.id, product.model_dump_json())

    def coupon(self, code: str) -> Coupon | None:
        row = self._one("SELECT doc FROM coupons WHERE code = ?", code)
        return Coupon.model_validate_json(row[0]) if row else None

    def save_coupon(self, coupon: Coupon) -> None:
        self._put("INSERT INTO coupons VALUES (?, ?, ?)", coupon.id, coupon.code, coupon.model_dump_json())

    # Orders and refunds

    def order(self, order_id: int) -> Order | None:
        row = self._one("SELECT doc FROM orders WHERE id = ?", order_id)
        return Order.model_validate_json(row[0]) if row else None

    def orders(self) -> list[Order]:
        return [Order.model_validate_json(row[0]) for row in self._all("SELECT doc FROM orders ORDER BY id")]

    def order_exists(self, order_id: int) -> bool:
        return self._one("SELECT 1 FROM orders WHERE id = ?", order_id) is not None

    def save_order(self, order: Order) -> None:
        known = self.on_action is None or self.order_exists(order.id)
        self._put(
            "INSERT OR REPLACE INTO orders VALUES (?, ?, ?, ?, ?)",
            order.id,
            order.status,
            order.created.isoformat(),
            order.modified.isoformat(),
            order.model_dump_json(),
        )
        self.do_action("woocommerce_update_order" if known else "woocommerce_new_order", order.id)

    def delete_order(self, order_id: int) -> None:
        for table, column in (("orders", "id"), ("refunds", "order_id"), ("notes", "order_id")):
            self._put(f"DELETE FROM {table} WHERE {column} = ?", order_id)  # noqa: S608 - names from the line above

    def refund(self, refund_id: int) -> Refund | None:
        row = self._one("SELECT doc FROM refunds WHERE id = ?", refund_id)
        return Refund.model_validate_json(row[0]) if row else None

    def refund_exists(self, refund_id: int) -> bool:
        return self._one("SELECT 1 FROM refunds WHERE id = ?", refund_id) is not None

    def save_refund(self, refund: Refund) -> None:
        self._put(
            "INSERT OR REPLACE INTO refunds VALUES (?, ?, ?, ?, ?, ?, ?)",
            refund.id,
            refund.order_id,
            refund.created.isoformat(),
            refund.modified.isoformat(),
            str(refund.amount),
            refund.reason,
            refund.model_dump_json(),
        )

    def delete_refund(self, refund_id: int) -> None:
        self._put("DELETE FROM refunds WHERE id = ?", refund_id)

    def refunds(self, order_id: int) -> list[Refund]:
        """Return an order's refunds in the order in which it lists them: newest second first, by id within it."""
        rows = self._all("SELECT doc FROM refunds WHERE order_id = ? ORDER BY created DESC, id", order_id)
        return [Refund.model_validate_json(row[0]) for row in rows]

    def refund_summaries(self, order_id: int) -> list[RefundSummary]:
        """Return what an order tells of its refunds, in the same order."""
        rows = self._all(
            "SELECT id, reason, amount FROM refunds WHERE order_id = ? ORDER BY created DESC, id", order_id
        )
        return [RefundSummary(id=row[0], reason=row[1], amount=Decimal(row[2])) for row in rows]

    def refunded(self, order_id: int) -> Decimal:
        """Return the sum of an order's refund rows, paid or not."""
        rows = self._all("SELECT amount FROM refunds WHERE order_id = ?", order_id)
        return sum((Decimal(row[0]) for row in rows), Decimal(0))

    def ids(
        self, table: Literal["orders", "refunds"], where: str, values: Iterable[str | int], order: str
    ) -> list[int]:
        """Return the ids that a list asks for; `where` and `order` are made of constants by the caller."""
        return [row[0] for row in self._all(f"SELECT id FROM {table} WHERE {where} ORDER BY {order}", *values)]  # noqa: S608

    # Notes, webhooks, payouts

    def notes(self, order_id: int) -> list[Note]:
        rows = self._all("SELECT doc FROM notes WHERE order_id = ? ORDER BY id", order_id)
        return [Note.model_validate_json(row[0]) for row in rows]

    def add_note(self, order_id: int, text: str, *, author: str = "WooCommerce", customer_note: bool = False) -> Note:
        note = Note(
            id=self.next_id("note"),
            order_id=order_id,
            author=author,
            text=text,
            customer_note=customer_note,
            created=self.now(),
        )
        self._put(
            "INSERT INTO notes VALUES (?, ?, ?, ?)", note.id, order_id, note.created.isoformat(), note.model_dump_json()
        )
        return note

    def webhook(self, webhook_id: int) -> str | None:
        row = self._one("SELECT doc FROM webhooks WHERE id = ?", webhook_id)
        return row[0] if row else None

    def webhooks(self) -> list[str]:
        return [row[0] for row in self._all("SELECT doc FROM webhooks ORDER BY id DESC")]

    def save_webhook(self, webhook_id: int, doc: str) -> None:
        self._put("INSERT OR REPLACE INTO webhooks VALUES (?, ?)", webhook_id, doc)

    def delete_webhook(self, webhook_id: int) -> None:
        self._put("DELETE FROM webhooks WHERE id = ?", webhook_id)

    def pay_out(self, *, order_id: int, refund_id: int, amount: str, currency: str, reason: str) -> int:
        """Commit that the provider has paid, on its own: whatever fails afterwards, this has happened."""
        cursor = self._connection.execute(
            "INSERT INTO payouts (order_id, refund_id, amount, currency, reason, at) VALUES (?, ?, ?, ?, ?, ?)",
            (order_id, refund_id, amount, currency, reason, self.clock().isoformat()),
        )
        assert cursor.lastrowid is not None
        assert not self._connection.in_transaction
        return cursor.lastrowid

    def payouts(self, order_id: int | None = None) -> list[Payout]:
        rows = self._all("SELECT * FROM payouts WHERE ?1 IS NULL OR order_id = ?1 ORDER BY id", order_id)
        return [Payout(**dict(zip(Payout.model_fields, row, strict=True))) for row in rows]

    def _one(self, sql: str, *values: str | int) -> _Row | None:
        row: _Row | None = self._connection.execute(sql, values).fetchone()
        return row

    def _all(self, sql: str, *values: str | int | None) -> list[_Row]:
        return self._connection.execute(sql, values).fetchall()

    def _put(self, sql: str, *values: str | int) -> None:
        self._connection.execute(sql, values)
