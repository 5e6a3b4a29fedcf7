"""An ERP's list of refunds, as JSON or CSV: every entry understood, or everything that is wrong told.

Reading 200,000 entries takes a second or two: not for the event loop.
"""

import csv
import difflib
import io
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from pydantic import TypeAdapter, ValidationError

from app.api.batch_rows import LISTED_FAULTS, UploadFault
from app.api.values import Amount, Reference
from app.domain.money import MalformedAmount, parse_amount
from app.domain.reconciliation import MAX_ENTRIES, ErpEntry

#: What an entry is made of; in a CSV these are the columns, in any order.
FIELDS: Mapping[str, str] = {
    "reference": "The ERP's document number; matched with `external_reference`.",
    "order": "The order's id or number; with amount and date it tells what an entry without reference is.",
    "amount": 'What was refunded, as text with a dot: "20.00".',
    "currency": "ISO 4217; compared where it is given.",
    "date": "The day that it was booked on, `2026-11-21`, or a time by RFC 3339.",
}
_REQUIRED = ("amount", "date")
_DAY = re.compile(r"[12][0-9]{3}-[0-9]{2}-[0-9]{2}", re.ASCII)
_CURRENCY = re.compile(r"[A-Za-z]{3}", re.ASCII)
#: An ERP dates by its own calendar, which may be a day off from UTC.
_OFF = timedelta(days=1)
_LONGEST_CELL = 1_000
_AMOUNT: TypeAdapter[Decimal] = TypeAdapter(Amount)
_REFERENCE: TypeAdapter[str] = TypeAdapter(Reference)


class _Wrong(ValueError):
    """A field cannot be read."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class ErpList:
    """The entries of a list, or what is wrong with it."""

    entries: tuple[ErpEntry, ...] = ()
    faults: tuple[UploadFault, ...] = ()  #: the first of them
    faults_in_all: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """The days that entries may have."""

    first: date
    last: date

    @classmethod
    def of(cls, from_: datetime, to: datetime) -> "Span":
        """Give the days that a time touches, and one more on either side."""
        return cls(first=from_.astimezone(UTC).date() - _OFF, last=to.astimezone(UTC).date() + _OFF)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    fields: Mapping[str, Any]
    line: int | None = None  #: of a CSV
    faults: tuple[UploadFault, ...] = ()


def of_json(entries: Any, span: Span | None) -> ErpList:
    """Read the list of a JSON document; without a span only the form is looked at."""
    if not isinstance(entries, list):
        return _unusable(UploadFault(pointer="/erp", code="wrong_type", message="This is a list."))
    rows = (
        _Row(fields=entry)
        if isinstance(entry, dict)
        else _Row(
            fields={}, faults=(UploadFault(pointer="", code="wrong_type", message="Each entry is a JSON object."),)
        )
        for entry in entries
    )
    return _understood(rows, span, headers=None)


def of_csv(raw: bytes, span: Span | None) -> ErpList:
    """Read a CSV in UTF-8, with commas or semicolons."""
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"The file is not UTF-8: the byte at position {error.start} is 0x{raw[error.start]:02X}."
        line = raw.count(b"\n", 0, error.start) + 1
        facts = {"position": error.start}
        return _unusable(UploadFault(pointer="", code="invalid_encoding", message=message, line=line, facts=facts))
    first = text.lstrip("\r\n").partition("\n")[0]
    delimiter = ";" if first.count(";") > first.count(",") else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        header = next((cells for cells in reader if any(cells)), None)
    except csv.Error as error:
        fault = UploadFault(pointer="", code="invalid_csv", message=f"The header cannot be read: {error}.", line=1)
        return _unusable(fault)
    if header is None:
        message = "The file is empty; its first line names the columns."
        return _unusable(UploadFault(pointer="", code="missing_field", message=message))
    names = [cell.strip().lower() for cell in header]
    faults = tuple(_faults_of_header(header, names, reader.line_num))
    if faults:
        return _unusable(*faults)
    headers = dict(zip(names, header, strict=True))
    return _understood(_rows(reader, names, delimiter), span, headers=headers)


def _faults_of_header(header: list[str], names: list[str], line: int) -> Iterator[UploadFault]:
    for cell, name in zip(header, names, strict=True):
        if name not in FIELDS:
            near = difflib.get_close_matches(name, FIELDS, n=1, cutoff=0.7)
            message = f"There is no column {cell[:40]!r} here; they are {', '.join(FIELDS)}."
            facts = {"suggestion": near[0]} if near else {}
            yield UploadFault(
                pointer="", code="unknown_field", message=message, line=line, column=cell[:40], facts=facts
            )
        elif names.count(name) > 1:
            message = f"The column {name} is there more than once."
            yield UploadFault(pointer=f"/{name}", code="duplicate_key", message=message, line=line, column=cell)
    for name in _REQUIRED:
        if name not in names:
            message = f"The column {name} has to be there."
            yield UploadFault(pointer=f"/{name}", code="missing_field", message=message, line=line)
    if "reference" not in names and "order" not in names:
        message = "One of the columns reference and order has to be there."
        yield UploadFault(pointer="/reference", code="missing_field", message=message, line=line)


def _rows(reader: Any, names: list[str], delimiter: str) -> Iterator[_Row]:
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            message = f"The row cannot be read, nor what comes after it: {error}."
            yield _Row(fields={}, line=line, faults=(UploadFault(pointer="", code="invalid_csv", message=message),))
            return
        if not any(cells):
            continue
        if len(cells) != len(names):
            message = f"The row has {len(cells)} cells, the header {len(names)}."
            if len(cells) > len(names):
                message += f" Text with a {delimiter!r} in it needs quotes; amounts are written with a dot."
            yield _Row(fields={}, line=line, faults=(UploadFault(pointer="", code="invalid_csv", message=message),))
            continue
        yield _Row(fields={name: cell.strip() for name, cell in zip(names, cells, strict=True) if cell}, line=line)


def _understood(rows: Iterable[_Row], span: Span | None, *, headers: Mapping[str, str] | None) -> ErpList:
    entries: list[ErpEntry] = []
    faults: list[UploadFault] = []
    count = 0
    for number, row in enumerate(rows, start=1):
        if number > MAX_ENTRIES:
            message = f"A list has {MAX_ENTRIES} entries at most; compare shorter times."
            pointer = "/erp" if headers is None else ""
            facts = {"limit": MAX_ENTRIES}
            return _unusable(UploadFault(pointer=pointer, code="too_long", message=message, facts=facts))
        entry, found = _entry(number, row, span)
        if entry is not None:
            entries.append(entry)
            continue
        count += len(found)
        faults += [
            UploadFault(
                pointer=f"/erp/{number - 1}{fault.pointer}" if headers is None else fault.pointer,
                code=fault.code,
                message=fault.message,
                row=number,
                line=row.line,
                column=None if headers is None else headers.get(fault.pointer[1:]),
                facts=fault.facts,
            )
            for fault in found[: LISTED_FAULTS - len(faults)]
        ]
    return ErpList(entries=tuple(entries), faults=tuple(faults), faults_in_all=count)


def _entry(number: int, row: _Row, span: Span | None) -> tuple[ErpEntry | None, list[UploadFault]]:
    if row.faults:
        return None, list(row.faults)
    fields = row.fields
    faults: list[UploadFault] = []

    def read(name: str, how: Any) -> Any:
        value = fields.get(name)
        if value is None or value == "":
            if name in _REQUIRED:
                faults.append(_fault(name, "missing_field", f"{name} has to be there."))
            return None
        try:
            return how(value)
        except _Wrong as error:
            faults.append(_fault(name, error.code, str(error)))
        return None

    for name in fields:
        if name not in FIELDS:
            message = f"There is no field {name[:40]!r} here; they are {', '.join(FIELDS)}."
            faults.append(_fault(name[:40].replace("~", "~0").replace("/", "~1"), "unknown_field", message))
    reference = read("reference", _text)
    order = read("order", _text)
    amount = read("amount", _amount)
    currency = read("currency", _currency)
    day = read("date", _day)
    if not fields.get("reference") and not fields.get("order"):
        faults.append(_fault("reference", "missing_field", "An entry has a reference, an order, or both."))
    if day is not None and span is not None and not span.first <= day <= span.last:
        message = f"The date is not among those that are compared, {span.first + _OFF} to {span.last - _OFF}."
        faults.append(_fault("date", "out_of_range", message))
    if faults:
        return None, faults
    entry = ErpEntry(number=number, reference=reference, order=order, amount=amount, currency=currency, day=day)
    return entry, []


def _fault(name: str, code: str, message: str) -> UploadFault:
    return UploadFault(pointer=f"/{name}", code=code, message=message)


def _text(value: Any) -> str:
    try:
        return _REFERENCE.validate_python(value, strict=True)
    except ValidationError as error:
        wrong_type = error.errors()[0]["type"] == "string_type"
        message = (
            "This is text: write it with quotes."
            if wrong_type
            else "This is up to 255 characters, without control characters or white space at either end."
        )
        raise _Wrong("wrong_type" if wrong_type else "malformed_value", message) from None


def _amount(value: Any) -> Decimal:
    try:
        amount = parse_amount(value) if isinstance(value, str) else _AMOUNT.validate_python(value)
    except MalformedAmount:
        # The API's own amounts know what number formatters add, and say it.
        try:
            _AMOUNT.validate_python(value)
        except ValidationError as error:
            raise _Wrong(error.errors()[0]["type"], error.errors()[0]["msg"]) from None
        raise
    except ValidationError as error:
        raise _Wrong(error.errors()[0]["type"], error.errors()[0]["msg"]) from None
    if amount == 0:
        raise _Wrong("out_of_range", "A refund of nothing is none.")
    return amount


def _currency(value: Any) -> str:
    if not isinstance(value, str) or _CURRENCY.fullmatch(value) is None:
        raise _Wrong("malformed_value", 'Write currencies by ISO 4217, for example "EUR".')
    return value.upper()


def _day(value: Any) -> date:
    try:
        if isinstance(value, str) and _DAY.fullmatch(value):
            return date.fromisoformat(value)
        if isinstance(value, str) and len(value) >= 20 and value[10] in "Tt" and _DAY.fullmatch(value[:10]):
            at = datetime.fromisoformat(value.upper())
            if at.tzinfo is not None:
                return at.astimezone(UTC).date()
    except (ValueError, OverflowError):
        pass
    raise _Wrong("malformed_value", 'Write dates as "2026-11-21", or times by RFC 3339 with an offset.')


def _unusable(*faults: UploadFault) -> ErpList:
    return ErpList(faults=faults, faults_in_all=len(faults))
