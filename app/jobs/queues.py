"""The queues, and how many jobs of them a process runs at a time.

What settles refunds has a worker of its own, so that no batch and no slow receiver of webhooks ever keeps it waiting;
and lanes have one, because they last for as long as there is work in them.
"""

from collections.abc import Mapping
from typing import Final

from app.flows.lanes import LANES_AT_A_TIME

REFUNDS: Final = "refunds"
UPKEEP: Final = "upkeep"
#: A lane of a batch is one job per store that has something to do; it waits for the store nearly all of the time.
LANES: Final = "lanes"
#: Deliveries of webhooks: one job per endpoint that has something to be delivered.
DELIVERIES: Final = "deliveries"
#: Everything else that may take long: schedules, what came in, reconciliations.
ERRANDS: Final = "errands"

#: Queues that share a worker, and its jobs at a time. Every worker costs two connections to the database.
WORKERS: Mapping[tuple[str, ...], int] = {
    (REFUNDS, UPKEEP): 16,
    (LANES,): LANES_AT_A_TIME,
    # On their own: receivers that hang keep their jobs, and must not keep what came in, or schedules.
    (DELIVERIES,): 32,
    (ERRANDS,): 32,
}
