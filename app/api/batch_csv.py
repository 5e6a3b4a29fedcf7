"""CSV with one refund per row: its columns, and how its cells become a refund's body.

RFC 4180 with commas or semicolons. Spreadsheets change what they open (1.50 becomes 1,50 and 01234 becomes 1234), so a
cell that is not exactly what the API takes is a fault and never corrected.
"""

import csv
import difflib
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from app.api.batch_rows import Row, UploadFault
from app.api.problems import InputFault
from app.api.reading import Unreadable, pointer_token

if TYPE_CHECKING:
    import _csv

#: What each column says of its row's refund. Those of a product line make one entry of `items`: a refund of several
#: product lines needs JSON.
COLUMNS: Mapping[str, str] = {
    "store": "/store",
    "order_id": "/order_id",
    "order_number": "/order_number",
    "external_reference": "/external_reference",
    "amount": "/amount",
    "currency": "/currency",
    "remaining": "/remaining",
    "shipping": "/shipping",
    "fees": "/fees",
    "goodwill": "/goodwill",
    "line_item_id": "/items/0/line_item_id",
    "sku": "/items/0/sku",
    "quantity": "/items/0/quantity",
    "line_amount": "/items/0/amount",
    "reason": "/reason",
    "reason_code": "/reason_code",
    "payment": "/payment",
    "restock": "/restock",
}
_METADATA = "metadata."
_METADATA_KEY = re.compile(r"[!-~]{1,40}")
_OF_ITEM = "/items/0/"
_LINE = re.compile(r"[^\r\n]*(?:\r\n?|\n)|[^\r\n]+")
#: More than any header has; what is longer has no line ends.
_HEADER_CHARACTERS = 65_536


def _flag(cell: str) -> bool:
    word = cell.lower()  # spreadsheets write TRUE
    if word not in ("true", "false"):
        raise ValueError("Write true or false.")
    return word == "true"


def _whole(cell: str) -> int:
    if not cell.isascii() or not cell.isdecimal() or len(cell) > 12:
        raise ValueError("This is a whole number.")
    return int(cell)


#: How cells that are not text are read; the ValueError says what is wrong.
_READERS: Mapping[str, Callable[[str], Any]] = {"remaining": _flag, "restock": _flag, "quantity": _whole}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Column:
    header: str  #: as the file writes it
    name: str  #: one of COLUMNS, "metadata.<key>", or "" for a column without a name
    pointer: str
    key: str  #: the field of the refund, of its product line, or of its metadata
    read: Callable[[str], Any] | None


class Table:
    """A CSV whose header is understood; gives its rows, once."""

    def __init__(self, delimiter: str, columns: tuple[_Column, ...], reader: "_csv.Reader") -> None:
        """Take a reader that stands behind the header."""
        self._delimiter = delimiter
        self._columns = columns
        self._reader = reader
        self.headers: Mapping[str, str] = {column.pointer: column.header for column in columns if column.name}

    @classmethod
    def of(cls, text: str, *, needs_store: bool) -> "Table | tuple[UploadFault, ...]":
        """Understand a file's header, or say everything that is wrong with it."""
        delimiter = _delimiter(text)
        # Not a StringIO, which holds every character in four bytes.
        lines = (line[0] for line in _LINE.finditer(text))
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        try:
            header = next((cells for cells in reader if any(cells)), None)
        except csv.Error as error:
            return (_of_header("invalid_csv", f"The header cannot be read: {error}.", line=reader.line_num),)
        if header is None:
            return (_of_header("missing_field", "The file is empty. Its first line names the columns."),)
        if len(header) == 1 and "\t" in header[0]:
            message = "The columns are separated by tabs; separate them by commas or semicolons."
            return (_of_header("invalid_csv", message, line=reader.line_num),)
        columns = tuple(_column(cell.strip()) for cell in header)
        faults = tuple(_faults_of(columns, line=reader.line_num, needs_store=needs_store))
        return faults or cls(delimiter, columns, reader)

    def __iter__(self) -> Iterator[Row]:
        """Give every row that has anything in it."""
        while True:
            line = self._reader.line_num + 1
            try:
                cells = next(self._reader)
            except StopIteration:
                return
            except csv.Error as error:
                message = (
                    f"The file cannot be read from here on: {error}. A text in quotes may not be closed, or go on "
                    'behind its quote; a quote inside it is written twice ("").'
                )
                yield _unreadable(line, message)
                return
            if any(cells):
                yield self._row(line, cells)

    def _row(self, line: int, cells: list[str]) -> Row:
        given, named = len(cells), len(self._columns)
        if given != named:
            message = f"The row has {given} cells, but the header names {named} columns."
            if given > named:
                message += f" Text with a {self._delimiter} in it needs quotes, and amounts are written with a dot."
            return _unreadable(line, message)
        document: dict[str, Any] = {}
        item: dict[str, Any] = {}
        metadata: dict[str, Any] = {}
        faults: list[InputFault] = []
        for column, cell in zip(self._columns, cells, strict=True):
            if not cell:
                continue
            value: Any = cell
            if column.read is not None:
                try:
                    value = column.read(cell)
                except ValueError as error:
                    faults.append(InputFault(code="malformed_value", pointer=column.pointer, message=str(error)))
                    continue
            if column.pointer.startswith(_OF_ITEM):
                item[column.key] = value
            elif column.name.startswith(_METADATA):
                metadata[column.key] = value
            elif column.name:
                document[column.key] = value
            else:
                message = f"There is {cell[:40]!r} in a column without a name."
                faults.append(InputFault(code="unknown_field", pointer="", message=message))
        if item:
            document["items"] = [item]
        if metadata:
            document["metadata"] = metadata
        return Row(document=document, line=line, faults=tuple(faults))


def _unreadable(line: int, message: str) -> Row:
    return Row(document=Unreadable((InputFault(code="invalid_csv", pointer="", message=message),)), line=line)


def _delimiter(text: str) -> str:
    """Tell from the header what the columns are separated by; a comma where both would do."""
    first = text[:_HEADER_CHARACTERS].lstrip("\r\n").splitlines()[:1]
    return max((",", ";"), key=lambda mark: sum(map(len, csv.reader(first, delimiter=mark))))


def _column(header: str) -> _Column:
    name = header.lower()
    if name.startswith(_METADATA):
        key = header[len(_METADATA) :]
        name, pointer = f"{_METADATA}{key}", f"/metadata/{pointer_token(key)}"
    else:
        pointer = COLUMNS.get(name, "")
        key = pointer.rpartition("/")[2]
    return _Column(header=header, name=name, pointer=pointer, key=key, read=_READERS.get(name))


def _faults_of(columns: tuple[_Column, ...], *, line: int, needs_store: bool) -> Iterator[UploadFault]:
    counts = Counter(column.name for column in columns if column.name)
    for column in columns:
        shown = column.header[:40]
        if column.name.startswith(_METADATA):
            if _METADATA_KEY.fullmatch(column.key) is None:
                message = "The name behind metadata. has 1 to 40 visible ASCII characters."
                yield _of_header("malformed_value", message, line=line, column=shown)
        elif column.name and column.name not in COLUMNS:
            near = difflib.get_close_matches(column.name, COLUMNS, n=1, cutoff=0.75)
            yield _of_header(
                "unknown_field",
                f"There is no column {shown!r}{f'; {near[0]} is probably meant' if near else ''}.",
                line=line,
                column=shown,
                facts={"suggestion": near[0]} if near else {"choices": [*COLUMNS, f"{_METADATA}<name>"]},
            )
    for name, count in counts.items():
        if count > 1:
            message = f"The column {name[:40]} is there {count} times, and it cannot be known which one is meant."
            yield _of_header("duplicate_key", message, line=line, column=name[:40])
    if needs_store and "store" not in counts:
        message = "There is no column store, and no store is named for all rows."
        yield _of_header("missing_field", message, line=line, column="store")


def _of_header(
    code: str, message: str, *, line: int = 1, column: str | None = None, facts: Mapping[str, Any] | None = None
) -> UploadFault:
    return UploadFault(pointer="", code=code, message=message, line=max(line, 1), column=column, facts=facts or {})
