"""Taking whole uploads on: all of their items, or none and everything that is wrong with them."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from app.api.batch_files import of_list
from app.api.batch_input import BatchBody, BatchOptions
from app.api.batch_rows import LISTED_FAULTS, Upload, UploadFault
from app.api.faults import faults_of
from app.api.problems import InputFault, Problem
from app.api.reading import Unreadable, read_json
from app.domain.batch import MAX_ITEMS, NewBatch, NewItem, Stops
from app.flows import batches as flow
from app.flows.batch_check import check_items
from app.flows.batch_results import BatchFaulty, BatchMade
from app.flows.results import Caller, KeyReused
from app.flows.runtime import Runtime


@dataclass(frozen=True, slots=True, kw_only=True)
class Faulty:
    """Nothing was made of an upload."""

    faults: tuple[UploadFault, ...]  #: the first of them, by their rows
    in_all: int

    def problem(self) -> Problem:
        """Say it as a problem."""
        first = self.faults[0]
        place = f"{first.place[:1].upper()}{first.place[1:]}: " if first.place else ""
        detail = f"{place}{first.message}"
        if self.in_all > 1:
            cut = f", of which the first {len(self.faults)} are listed" if self.in_all > len(self.faults) else ""
            detail = f"{self.in_all} things are wrong{cut}, and nothing was created. The first is, {detail}"
        return Problem(
            "invalid_request", detail, errors=[fault.as_member() for fault in self.faults], errors_in_all=self.in_all
        )


def read_document(raw: bytes) -> tuple[BatchBody | None, Upload]:
    """Read a JSON upload: its options, None when anything is wrong with them, and its items."""
    if not raw:
        fault = UploadFault(pointer="", code="missing_field", message="The request needs a body.")
        return None, Upload.unusable("json", fault)
    document = read_json(raw)
    if isinstance(document, Unreadable):
        return None, Upload.unusable("json", *(_of_whole(fault) for fault in document.faults))
    return understand_document(document)


def understand_document(document: Any) -> tuple[BatchBody | None, Upload]:
    """Read the parsed JSON of an upload."""
    if not isinstance(document, dict):
        fault = UploadFault(pointer="", code="body_not_an_object", message="The body is a JSON object.")
        return None, Upload.unusable("json", fault)
    options: BatchBody | None = None
    faults: tuple[UploadFault, ...] = ()
    try:
        options = BatchBody.model_validate(document)
    except ValidationError as error:
        entries = [{**entry, "loc": ("body", *entry["loc"])} for entry in error.errors(include_url=False)]
        found = faults_of(RequestValidationError(entries, body=document), BatchBody)
        faults = tuple(_of_whole(fault) for fault in found)
    items = document.get("items")
    if not isinstance(items, list) or len(items) > MAX_ITEMS:
        return None, Upload.unusable("json", *faults)
    # A store that is not right is told once, and not with every item as well.
    any_store = "any" if "store" in document else None
    upload = of_list(items, store=any_store if options is None else options.store)
    faults = (*faults, *upload.faults)
    return options, replace(
        upload, faults=faults, faults_in_all=len(faults) - len(upload.faults) + upload.faults_in_all
    )


def _of_whole(fault: InputFault) -> UploadFault:
    return UploadFault(pointer=fault.pointer, code=fault.code, message=fault.message, facts=fault.facts)


async def take_on(
    rt: Runtime,
    caller: Caller,
    upload: Upload,
    options: BatchOptions | None,
    *,
    idempotency_key: str | None,
    fingerprint: bytes,
    request_id: str,
) -> BatchMade | KeyReused | Faulty:
    """Make a batch of an upload if nothing is wrong with any of its rows; else say what, by form and by business."""
    if options is None or not upload.has_sound_frame:
        return Faulty(faults=upload.faults[:LISTED_FAULTS], in_all=upload.faults_in_all)
    new = _new_batch(options, upload.items, now=rt.clock())
    if upload.faults:
        found = await check_items(rt, caller, new) if new.items else ()
    else:
        made = await flow.create(
            rt, caller, new, idempotency_key=idempotency_key, fingerprint=fingerprint, request_id=request_id
        )
        if not isinstance(made, BatchFaulty):
            return made
        found = made.faults
    faults = sorted((*upload.faults, *map(upload.located, found)), key=lambda fault: fault.row or 0)
    return Faulty(faults=tuple(faults[:LISTED_FAULTS]), in_all=upload.faults_in_all + len(found))


def _new_batch(options: BatchOptions, items: tuple[NewItem, ...], *, now: datetime) -> NewBatch:
    within_s = options.release_within_s
    return NewBatch(
        mode="check" if options.dry_run else options.mode,
        items=items,
        name=options.name or "",
        # A check begins at once: it is there to be waited for.
        start_at=None if options.dry_run else options.start_at,
        release_until=None if within_s is None or options.dry_run else now + timedelta(seconds=within_s),
        stops=Stops(
            max_total=options.limits(),
            stop_after_failures=options.stop_after_failures,
            stop_if_over=options.stop_if_over,
        ),
    )
