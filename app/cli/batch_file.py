"""A file of refunds on the command line: read by the API's own rules, and what is wrong with it in a table."""

from pathlib import Path
from typing import Any, NoReturn

from pydantic import ValidationError
from ulid import ULID

from app.api.batch_files import FileForm, of_file
from app.api.batch_input import BatchOptions, BatchQuery
from app.api.batch_intake import Faulty, understand_document
from app.api.batch_rows import Form, Upload, UploadFault
from app.api.reading import Unreadable, read_json
from app.cli.ends import Ended, Exit
from app.cli.refund_request import said_of
from app.cli.screen import note, show_json, show_table

_FILES: dict[str, FileForm] = {".csv": "csv", ".ndjson": "ndjson", ".jsonl": "ndjson"}
#: Faults of a table at most; `--json` gives a thousand.
_SHOWN_FAULTS = 50


def read_file(path: Path, given: dict[str, Any]) -> tuple[BatchOptions | None, Upload, bytes]:
    """Read a file with the options that were `given` beside it; ends the verb when those are not right.

    The options of a JSON file are in it, as in POST /v1/batches; those that are given as well take their place.
    """
    form = form_of(path)
    raw = path.read_bytes()
    try:
        query = BatchQuery.model_validate({"name": path.name[:100].strip(), **given})
    except ValidationError as error:
        raise Ended(Exit.USAGE, said_of(error)) from None
    if form != "json":
        return query, of_file(form, raw, store=query.store), raw
    document = read_json(raw)
    if isinstance(document, Unreadable):
        faults = (UploadFault(pointer=f.pointer, code=f.code, message=f.message) for f in document.faults)
        return None, Upload.unusable("json", *faults), raw
    if isinstance(document, dict):
        document = {"name": query.name, **document, **given}
        if query.max_total:
            document["max_total"] = {currency: format(most, "f") for currency, most in query.limits().items()}
    return *understand_document(document), raw


def form_of(path: Path) -> Form:
    """Tell a file's form by its name; ends the verb for any other."""
    suffix = path.suffix.lower()
    if suffix == ".json":
        return "json"
    if suffix not in _FILES:
        raise Ended(Exit.USAGE, f"{path.name} has to end with .csv, .ndjson, .jsonl or .json, as it is written.")
    return _FILES[suffix]


def say_faulty(path: Path, faulty: Faulty, *, as_json: bool) -> NoReturn:
    """End the verb with everything that is wrong with a file, row by row."""
    if as_json:
        show_json(faulty.problem().document(request_id=f"cli_{ULID()}"))
    else:
        shown = faulty.faults[:_SHOWN_FAULTS]
        show_table(
            ["row", "line", "where", "code", "what is wrong"],
            [(fault.row, fault.line, fault.column or fault.pointer, fault.code, _said(fault)) for fault in shown],
            empty="",
        )
        if faulty.in_all > len(shown):
            note(f"There are {faulty.in_all - len(shown)} more; --json lists up to a thousand.")
    things = "1 thing is" if faulty.in_all == 1 else f"{faulty.in_all} things are"
    raise Ended(Exit.REFUSED, f"{things} wrong with {path}; nothing was created.")


def _said(fault: UploadFault) -> str:
    pattern = fault.facts.get("pattern")
    return f"{fault.message} ({pattern})" if pattern else fault.message
