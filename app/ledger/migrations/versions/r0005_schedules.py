"""Schedules, their runs, and the orders that they have taken."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_SCHEDULES = """
CREATE TABLE schedule (
    id              text PRIMARY KEY,
    tenant_id       text NOT NULL REFERENCES tenant,
    store_id        text NOT NULL REFERENCES store,
    name            text NOT NULL,
    kind            text NOT NULL CHECK (kind IN ('refunds', 'reconciliation')),
    cron            text NOT NULL,               -- five fields
    time_zone       text NOT NULL,               -- IANA
    -- of refunds: which orders, what of them, and in which words
    selector        jsonb,
    customer_email  bytea,                       -- a part of the selector, sealed: personal data
    action          jsonb,
    terms           jsonb,
    mode            text CHECK (mode IN ('run', 'hold')),
    max_orders      integer CHECK (max_orders > 0),
    max_total       jsonb,                       -- by currency
    -- of reconciliations: so many whole days before a run's day
    window_days     integer CHECK (window_days > 0),
    missed          text NOT NULL CHECK (missed IN ('skip', 'last', 'all')),
    paused          boolean NOT NULL DEFAULT false,
    next_at         timestamptz,
    -- made by the gateway itself, once for every store, however often it is deleted
    is_default      boolean NOT NULL DEFAULT false,
    created_by      text NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    deleted_at      timestamptz,
    CONSTRAINT whole_by_kind CHECK (CASE kind
        WHEN 'refunds' THEN num_nulls(selector, action, terms, mode, max_orders, max_total) = 0 AND window_days IS NULL
        ELSE window_days IS NOT NULL AND num_nonnulls(selector, action, terms, mode, max_orders, max_total) = 0 END),
    CONSTRAINT due_while_it_runs CHECK ((next_at IS NULL) = (paused OR deleted_at IS NOT NULL))
);
CREATE INDEX schedule_listed ON schedule (tenant_id, id) WHERE deleted_at IS NULL;
CREATE INDEX schedule_due ON schedule (next_at) WHERE next_at IS NOT NULL;
CREATE UNIQUE INDEX schedule_default ON schedule (store_id) WHERE is_default;

CREATE TABLE schedule_run (
    id                 text PRIMARY KEY,
    schedule_id        text NOT NULL REFERENCES schedule,
    due_at             timestamptz NOT NULL,
    -- who had it run beside its time
    asked_by           text,
    status             text NOT NULL CHECK (status IN ('due', 'selecting', 'finished', 'failed', 'skipped')),
    -- of a skipped one: for how many missed times it stands
    stands_for         integer NOT NULL DEFAULT 1,
    batch_id           text REFERENCES batch,
    reconciliation_id  text,
    looked_at          integer NOT NULL DEFAULT 0,
    selected           integer NOT NULL DEFAULT 0,
    totals             jsonb NOT NULL DEFAULT '{}',   -- of what was selected, by currency
    left_out           jsonb NOT NULL DEFAULT '{}',   -- how many orders, by reason
    cut_short          text,                          -- 'max_orders' when there may be more orders
    failure            jsonb,
    tries              integer NOT NULL DEFAULT 0,
    not_before         timestamptz NOT NULL DEFAULT now(),
    executor           text,
    lease_until        timestamptz,
    started_at         timestamptz,
    finished_at        timestamptz,
    CONSTRAINT once_for_every_time UNIQUE (schedule_id, due_at),
    CONSTRAINT finished_when_over CHECK
        ((status IN ('finished', 'failed', 'skipped')) = (finished_at IS NOT NULL)),
    CONSTRAINT failed_for_a_reason CHECK ((status = 'failed') = (failure IS NOT NULL))
);
CREATE INDEX schedule_run_open ON schedule_run (not_before) WHERE status IN ('due', 'selecting');

-- The orders that a schedule has taken, each with the item that it was last taken for: whether it is free again is
-- what the item's state says.
CREATE TABLE schedule_order (
    schedule_id  text NOT NULL REFERENCES schedule,
    store_id     text NOT NULL REFERENCES store,
    order_id     text NOT NULL,
    run_id       text NOT NULL REFERENCES schedule_run,
    batch_id     text NOT NULL REFERENCES batch,
    batch_item   integer NOT NULL,
    -- how often it was taken: a reference that belongs to a canceled refund is not used again
    times        integer NOT NULL DEFAULT 1,
    PRIMARY KEY (schedule_id, store_id, order_id)
);
"""


def upgrade() -> None:
    """Add schedules."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute(_SCHEDULES)
