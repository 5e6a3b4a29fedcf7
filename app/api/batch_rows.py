"""The rows of an upload, and what can be wrong with them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from app.api.problems import InputFault
from app.domain.batch import NewItem, RowFault

Form = Literal["json", "ndjson", "csv"]

#: Faults that an answer lists; the number of all of them is told beside.
LISTED_FAULTS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row as it was read, still to be understood."""

    document: Any  #: a refund's body, or `Unreadable`
    line: int | None = None  #: that it begins in, from 1; None in JSON
    faults: tuple[InputFault, ...] = ()  #: found while its text was read


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadFault:
    """One thing that is wrong with an upload, and where."""

    pointer: str  #: JSON pointer; in JSON from the whole document, in NDJSON and CSV from the row's refund
    code: str
    message: str
    row: int | None = None  #: the item's number, from 1; None: the upload as a whole
    line: int | None = None  #: of the file, from 1; None in JSON
    column: str | None = None  #: as the header of the CSV writes it
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def place(self) -> str:
        """Name the place for people, such as "row 7, column amount"; "" stands for the upload as a whole."""
        line = self.line if self.row is None else None
        parts = (("row", self.row), ("line", line), ("column", self.column))
        return ", ".join(f"{name} {value}" for name, value in parts if value is not None)

    def as_member(self) -> dict[str, Any]:
        """Give the entry of `errors`."""
        places = {"row": self.row, "line": self.line, "column": self.column}
        return {
            **self.facts,
            **{name: place for name, place in places.items() if place is not None},
            "pointer": self.pointer,
            "in": "body",
            "code": self.code,
            "message": self.message,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """What an upload asks for: the items that can be understood, and what is wrong with the others."""

    form: Form
    items: tuple[NewItem, ...] = ()
    faults: tuple[UploadFault, ...] = ()  #: the first of them, by their rows
    faults_in_all: int = 0
    lines: tuple[int | None, ...] = ()  #: the line of each row, by its number less 1
    columns: Mapping[str, str] = field(default_factory=dict)  #: of a CSV: headers by what they point at

    @classmethod
    def unusable(cls, form: Form, *faults: UploadFault) -> "Upload":
        """Make an upload of which nothing can be understood."""
        return cls(form=form, faults=faults, faults_in_all=len(faults))

    @property
    def has_sound_frame(self) -> bool:
        """Say whether every fault is one of a single row, so that the other rows are worth a look."""
        return all(fault.row is not None for fault in self.faults)

    def located(self, fault: RowFault) -> UploadFault:
        """Say where in the upload something is that is wrong with one of its items."""
        return located(
            fault.number,
            fault.pointer,
            fault.code,
            fault.message,
            fault.facts,
            form=self.form,
            line=self.lines[fault.number - 1],
            columns=self.columns,
        )


def located(
    number: int,
    pointer: str,
    code: str,
    message: str,
    facts: Mapping[str, Any],
    *,
    form: Form,
    line: int | None,
    columns: Mapping[str, str],
) -> UploadFault:
    """Say where in an upload something is that is wrong with an item; `pointer` is from the item."""
    return UploadFault(
        row=number,
        line=line,
        column=columns.get(pointer),
        pointer=f"/items/{number - 1}{pointer}" if form == "json" else pointer,
        code=code,
        message=message,
        facts=facts,
    )
