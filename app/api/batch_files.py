"""Uploads of many refunds, row by row: a list in JSON, NDJSON with a refund per line, or CSV.

Every row becomes a command, or faults that say where they are; nothing in here looks at the ledger or a store. Reading
ten thousand rows takes a good part of a second: not for the event loop.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal

from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from app.api.batch_csv import Table
from app.api.batch_rows import LISTED_FAULTS, Form, Row, Upload, UploadFault, located
from app.api.faults import faults_of
from app.api.problems import InputFault
from app.api.reading import Unreadable, read_json
from app.api.schemas import RefundBody, to_command
from app.domain.batch import MAX_ITEMS, NewItem
from app.domain.refund import RefundCommand

FileForm = Literal["ndjson", "csv"]

_BOM = b"\xef\xbb\xbf"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def of_file(form: FileForm, raw: bytes, *, store: str | None) -> Upload:
    """Read a file; `store` is that of the rows that name none."""
    text = _text_of(raw)
    if isinstance(text, UploadFault):
        return Upload.unusable(form, text)
    if form == "ndjson":
        return _understood(form, _json_lines(text), store=store)
    table = Table.of(text, needs_store=store is None)
    if isinstance(table, tuple):
        return Upload.unusable(form, *table)
    return _understood(form, table, store=store, columns=table.headers)


def of_list(items: Iterable[Any], *, store: str | None) -> Upload:
    """Read the items of a JSON document; `store` is that of those that name none."""
    return _understood("json", (Row(document=item) for item in items), store=store)


def _text_of(raw: bytes) -> str | UploadFault:
    """Read UTF-8, with or without a byte order mark; another encoding is never guessed at."""
    begin = len(_BOM) if raw.startswith(_BOM) else 0
    try:
        return raw[begin:].decode()
    except UnicodeDecodeError as error:
        at = begin + error.start
    looks = "UTF-16" if raw.startswith(_UTF16) else "Windows-1252 or another encoding of a spreadsheet"
    return UploadFault(
        pointer="",
        code="invalid_encoding",
        message=f"The file is not UTF-8: the byte at position {at} is 0x{raw[at]:02X}. It may be {looks}; save it as "
        "UTF-8.",
        line=raw.count(b"\n", 0, at) + 1,
        facts={"position": at},
    )


def _json_lines(text: str) -> Iterator[Row]:
    # Not splitlines(): U+2028 and its like may stand in a JSON text.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip(" \t\r"):
            yield Row(document=read_json(line.encode()), line=number)


def _understood(
    form: Form, rows: Iterable[Row], *, store: str | None, columns: Mapping[str, str] | None = None
) -> Upload:
    columns = columns or {}
    whole = "/items" if form == "json" else ""
    items: list[NewItem] = []
    lines: list[int | None] = []
    faults: list[UploadFault] = []
    count = 0
    for number, row in enumerate(rows, start=1):
        if number > MAX_ITEMS:
            message = f"A batch has {MAX_ITEMS} items at most; send the rest as another one."
            fault = UploadFault(pointer=whole, code="too_long", message=message, facts={"limit": MAX_ITEMS})
            return Upload.unusable(form, fault)
        lines.append(row.line)
        command = _command(row, store)
        if isinstance(command, RefundCommand):
            items.append(NewItem(number=number, command=command))
            continue
        count += len(command)
        faults += [
            located(
                *(number, found.pointer, found.code, found.message, found.facts),
                form=form,
                line=row.line,
                columns=columns,
            )
            for found in command[: LISTED_FAULTS - len(faults)]
        ]
    if not lines:
        fault = UploadFault(pointer=whole, code="missing_field", message="There are no items.")
        return Upload.unusable(form, fault)
    return Upload(
        form=form,
        items=tuple(items),
        faults=tuple(faults),
        faults_in_all=count,
        lines=tuple(lines),
        columns=columns,
    )


def _command(row: Row, store: str | None) -> RefundCommand | list[InputFault]:
    """Understand a row by the rules of POST /v1/refunds, or say everything that is wrong with it."""
    document = row.document
    if isinstance(document, Unreadable):
        return [replace(fault, message=fault.message.replace("The body", "The line", 1)) for fault in document.faults]
    if not isinstance(document, dict):
        return [InputFault(code="wrong_type", pointer="", message="Each item is a JSON object.")]
    if store is not None and "store" not in document:
        document = {"store": store, **document}
    try:
        body = RefundBody.model_validate(document)
    except ValidationError as error:
        entries = [{**entry, "loc": ("body", *entry["loc"])} for entry in error.errors(include_url=False)]
        return [*row.faults, *faults_of(RequestValidationError(entries, body=document), RefundBody)]
    return list(row.faults) or to_command(body)
