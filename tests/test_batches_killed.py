"""Workers killed in the middle of a batch: real processes, SIGKILL, and stores that remember what they paid."""

from pathlib import Path

import pytest

from tests.bench.batches import measure


@pytest.mark.timeout(120)
async def test_every_item_is_paid_once_whatever_is_killed_and_progress_never_falls(chaos_folder: Path) -> None:
    seen = await measure(chaos_folder, items=160, stores=6, workers=2, kills=1, delay_s=0.02)
    assert seen["by_status"] == {"succeeded": 160}
    assert (seen["paid_once"], seen["paid_twice"]) == (160, 0)
    assert seen["progress_went_back"] == 0
    assert seen["status"] == "finished"
