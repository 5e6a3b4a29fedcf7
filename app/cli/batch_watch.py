"""Watching a batch from the command line, with a bar for people and a line now and then for logs."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from app.api.batch_results import results
from app.api.batch_views import BatchView, batch_view, is_over
from app.cli.batch_screen import known, warn_without_worker
from app.cli.ends import Ended, Exit
from app.cli.screen import console, note
from app.flows import batch_results as flow_results
from app.flows import batches as flow
from app.flows.batch_results import BatchNotFound
from app.flows.results import Caller
from app.flows.runtime import Runtime

_PAUSE_S = 0.5
_LINE_EVERY_S = 10.0


async def watch(rt: Runtime, caller: Caller, batch: flow_results.BatchView) -> BatchView:
    """Watch a batch until it is over or a person has to say how it goes on; gives it as it is then."""
    warned_at = time.monotonic()
    warned = not await warn_without_worker(rt)
    try:
        with _told(batch_view(batch)) as tell:
            while not is_over(batch) and batch.status not in ("paused", "stopped"):
                await asyncio.sleep(_PAUSE_S)
                batch = known(await flow.look(rt, caller, batch.id), as_json=False)
                tell(batch_view(batch))
                if not warned and time.monotonic() - warned_at > _LINE_EVERY_S:
                    warned_at, warned = time.monotonic(), not await warn_without_worker(rt)
    except asyncio.CancelledError:
        see = f"see `refund-gateway batch show {batch.id}`"
        raise Ended(Exit.NOT_KNOWN, f"Not watched any more; the batch goes on, {see}.") from None
    return batch_view(batch)


@contextmanager
def _told(first: BatchView) -> Iterator[Callable[[BatchView], None]]:
    screen = console(stderr=True)
    if not screen.is_terminal:
        told_at = 0.0

        def tell(shown: BatchView) -> None:
            nonlocal told_at
            if shown.processed == shown.items or time.monotonic() - told_at > _LINE_EVERY_S:
                told_at = time.monotonic()
                note(f"{shown.processed}/{shown.items} {_summary(shown)}")

        yield tell
        return
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=screen) as progress:
        task = progress.add_task(_summary(first), total=first.items, completed=first.processed)
        yield lambda shown: progress.update(task, completed=shown.processed, description=_summary(shown))


def _summary(shown: BatchView) -> str:
    """Say in a line how a batch stands: what came of its items, the money, the rate, the estimated end."""
    good = "valid" if shown.mode == "check" else "succeeded"
    counts = shown.counts
    money = ", ".join(f"{part.amount} {part.currency}" for part in shown.amounts if part.status == good and part.amount)
    bad = counts.failed + counts.refused
    open_questions = counts.uncertain + counts.needs_review
    parts = [
        shown.status,
        f"{counts.valid if shown.mode == 'check' else counts.succeeded} {good}" + (f" ({money})" if money else ""),
        f"{bad} failed" if bad else "",
        f"{open_questions} not known" if open_questions else "",
        f"{shown.rate_per_s:g}/s" if shown.rate_per_s else "",
        f"ends about {shown.ends_at.astimezone(UTC):%H:%M:%S}Z" if shown.ends_at else "",
    ]
    return ", ".join(part for part in parts if part)


async def write_results(rt: Runtime, caller: Caller, batch_id: str, path: Path) -> bool:
    """Write the results of a batch to a file, whole or not at all; gives whether there is such a batch."""
    parts = await results(rt, caller, batch_id)
    if isinstance(parts, BatchNotFound):
        return False
    draft = path.with_name(f".{path.name}.new")
    try:
        with draft.open("wb") as file:
            async for part in parts:
                file.write(part)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return True
