"""Batches and their items."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_BATCHES = """
CREATE TABLE batch (
    id                   text PRIMARY KEY,
    tenant_id            text NOT NULL REFERENCES tenant,
    name                 text NOT NULL DEFAULT '',
    -- 'check' only tells what its refunds would be
    mode                 text NOT NULL CHECK (mode IN ('run', 'hold', 'check')),
    status               text NOT NULL CHECK (status IN
        ('scheduled', 'held', 'running', 'paused', 'stopped', 'finished', 'canceled', 'expired')),
    -- why it was stopped: 'failures', 'failure_share' or 'max_total'
    stopped_by           text,
    start_at             timestamptz,            -- not to be begun before
    release_until        timestamptz,            -- a held batch expires when nobody has released it by then
    stop_after_failures  integer CHECK (stop_after_failures > 0),
    stop_if_over         numeric(5, 4) CHECK (stop_if_over BETWEEN 0 AND 1),  -- share of failures
    items                integer NOT NULL,
    -- how many items have come to an end or to a person, and how many of those failed or were refused: counted when
    -- an item is marked, once, so that they never fall
    processed            integer NOT NULL DEFAULT 0,
    failed               integer NOT NULL DEFAULT 0,
    -- what had been processed, and had failed, when a person last let it go on
    processed_before     integer NOT NULL DEFAULT 0,
    failed_before        integer NOT NULL DEFAULT 0,
    store_ids            text[] NOT NULL,        -- of its items
    schedule_id          text,
    caller               jsonb NOT NULL,         -- on whose behalf its refunds are made
    request_id           text NOT NULL,
    created_by           text NOT NULL,
    released_by          text,
    created_at           timestamptz NOT NULL DEFAULT now(),
    updated_at           timestamptz NOT NULL DEFAULT now(),
    started_at           timestamptz,
    finished_at          timestamptz,
    CONSTRAINT finished_when_over CHECK
        ((status IN ('finished', 'canceled', 'expired')) = (finished_at IS NOT NULL)),
    CONSTRAINT stopped_for_a_reason CHECK ((status = 'stopped') = (stopped_by IS NOT NULL))
);
CREATE INDEX batch_listed ON batch (tenant_id, id);
CREATE INDEX batch_open ON batch (id) WHERE status IN ('scheduled', 'held', 'running')
    OR (status IN ('canceled', 'paused', 'stopped') AND processed < items);
CREATE INDEX batch_of_schedule ON batch (schedule_id) WHERE schedule_id IS NOT NULL;

-- What a batch may pay at most in a currency, and what it has taken of that. `taken` never falls short of the truth: a
-- refund that fails gives nothing back here, and it is counted anew from the refunds before it is said to be used up.
CREATE TABLE batch_limit (
    batch_id  text NOT NULL REFERENCES batch,
    currency  text NOT NULL,
    max_total numeric(20, 8) NOT NULL CHECK (max_total >= 0),
    taken     numeric(20, 8) NOT NULL DEFAULT 0,
    PRIMARY KEY (batch_id, currency)
);

CREATE TABLE batch_item (
    batch_id            text NOT NULL REFERENCES batch,
    number              integer NOT NULL,        -- as in what was uploaded, from 1
    store_id            text NOT NULL REFERENCES store,
    -- orders are worked on one item at a time; by id or by number, as the item names it
    order_key           text NOT NULL,
    external_reference  text,
    command             jsonb NOT NULL,
    -- 'waiting' until it was taken up; 'done': its refund says the rest; 'refused': there is no refund, `failure` says
    -- why; 'dropped': its batch was canceled before it was taken up; 'valid': only in a check
    status              text NOT NULL DEFAULT 'waiting' CHECK (status IN
        ('waiting', 'done', 'refused', 'dropped', 'valid')),
    refund_id           text REFERENCES refund,
    -- the refund was there before this batch, by its reference
    replayed            boolean NOT NULL DEFAULT false,
    failure             jsonb,
    -- of a check: what the refund would be
    amount              numeric(20, 8),
    currency            text,
    plan                jsonb,
    -- not to be taken up before, because its store could not be read
    due_at              timestamptz,
    tries               integer NOT NULL DEFAULT 0,
    -- when it had come to an end, or to a person, for the first time
    processed_at        timestamptz,
    PRIMARY KEY (batch_id, number),
    CONSTRAINT done_by_a_refund CHECK ((status = 'done') = (refund_id IS NOT NULL))
);
CREATE INDEX batch_item_waiting ON batch_item (store_id, batch_id, number) WHERE status = 'waiting';
CREATE INDEX batch_item_refund ON batch_item (refund_id) WHERE refund_id IS NOT NULL;
-- What was taken up and has not come to an end yet, of which there is little at any time.
CREATE INDEX batch_item_unprocessed ON batch_item (batch_id) WHERE processed_at IS NULL AND status <> 'waiting';

-- Who works on a store's items: one process at a time, so that all batches together keep to the store's limit.
CREATE TABLE lane (
    store_id     text PRIMARY KEY REFERENCES store,
    executor     text,
    lease_until  timestamptz
);
"""


def upgrade() -> None:
    """Add batches."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute(_BATCHES)
