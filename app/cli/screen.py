"""What verbs show: tables for people, JSON for scripts; both on stdout, everything else on stderr."""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from pydantic import BaseModel
from pydantic_core import to_json
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from app.stores.port import Check

#: Texts of stores and providers must not be able to steer a terminal.
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_MARKS: dict[bool | None, tuple[str, str]] = {True: ("✓", "green"), False: ("✗", "bold red"), None: ("?", "yellow")}

AsJson = Annotated[bool, typer.Option("--json", help="Write JSON to stdout, for scripts.")]


def console(*, stderr: bool = False) -> Console:
    """Give a console on stdout (or stderr); lines that nobody watches are never folded to a terminal's width."""
    screen = Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    return screen if screen.is_terminal else Console(stderr=stderr, highlight=False, markup=False, width=4000)


def show_json(value: BaseModel | dict[str, Any] | list[Any]) -> None:
    """Write a value as JSON."""
    typer.echo(to_json(value, indent=2))


def show_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """Write a table, or a sentence when it has no rows."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in columns:
        table.add_column(name, overflow="fold", justify="right" if name == "amount" else "left")
    for row in rows:
        table.add_row(*(text(cell) for cell in row))
    if table.row_count:
        console().print(table)
    else:
        note(empty)


def show_facts(facts: Iterable[tuple[str, object]]) -> None:
    """Write names and values below each other; values of None are left out."""
    table = Table.grid(padding=(0, 2))
    for name, value in facts:
        if value is not None and value != "":
            table.add_row(Text(name, style="dim"), text(value))
    console().print(table)


def show_checks(checks: Iterable[Check], *, stderr: bool = False) -> None:
    """Write ✓ and ✗ with what to do about each ✗."""
    screen = console(stderr=stderr)
    for check in checks:
        mark, style = _MARKS[check.ok]
        screen.print(Text.assemble((mark, style), f" {check.name}: ", text(check.detail)), soft_wrap=True)
        if check.remedy and not check.ok:
            screen.print(Text.assemble("  → ", text(check.remedy)), soft_wrap=True)


def check_json(check: Check) -> dict[str, Any]:
    """Give a check as JSON."""
    return {"name": check.name, "ok": check.ok, "detail": check.detail, "remedy": check.remedy}


def heading(title: str) -> None:
    """Write a title over what follows."""
    console().print(Text(title, style="bold"))


def note(message: str) -> None:
    """Tell a person something, on stderr."""
    typer.echo(_CONTROLS.sub(" ", message), err=True)


def text(value: object) -> Text:
    """Give a cell's text: times short and in UTC, nothing that a terminal would obey."""
    match value:
        case Text():
            return value
        case None:
            return Text("")
        case datetime():
            return Text(f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z")
        case _:
            return Text(_CONTROLS.sub(" ", str(value)))


def words(text: str) -> list[str]:
    """Split an option that takes several words, separated by commas or spaces."""
    return text.replace(",", " ").split()


def iso(at: datetime | None) -> str | None:
    """Write a time as the API does: RFC 3339, UTC."""
    return None if at is None else at.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
