"""Reconciliations: what is compared, what came of it, and the rows that are only kept while they run."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_RECONCILIATIONS = """
CREATE TABLE reconciliation (
    id               text PRIMARY KEY,
    tenant_id        text NOT NULL REFERENCES tenant,
    store_id         text NOT NULL REFERENCES store,
    -- a refund belongs to it by when it was settled; inclusive, exclusive
    from_at          timestamptz NOT NULL,
    to_at            timestamptz NOT NULL,
    status           text NOT NULL DEFAULT 'queued' CHECK (status IN ('queued', 'running', 'finished', 'failed')),
    phase            text NOT NULL DEFAULT 'reading' CHECK (phase IN
        ('reading', 'adopting', 'collecting', 'asking', 'comparing')),
    -- where the phase has come to; any worker goes on from there
    cursor           jsonb NOT NULL DEFAULT '{}',
    -- how the store's refunds are read: its own list, or its orders one by one; NULL until that was found out
    reads            text CHECK (reads IN ('list', 'orders')),
    store_decimals   smallint NOT NULL DEFAULT 2,
    -- how many entries the ERP's list has; NULL when none was given
    erp_entries      integer,
    rows_read        integer NOT NULL DEFAULT 0,
    rows_expected    integer,                -- as the store counts them; NULL where it does not
    adopted          integer NOT NULL DEFAULT 0,
    refunds          integer,                -- of the ledger that belong to it
    to_ask           integer,                -- those that the list did not show
    asked            integer NOT NULL DEFAULT 0,
    matched          integer,
    drifts           integer,
    schedule_id      text,
    created_by       text NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now(),
    started_at       timestamptz,
    finished_at      timestamptz,
    -- attempts in a row that came to nothing because the store could not be read
    tries            integer NOT NULL DEFAULT 0,
    due_at           timestamptz DEFAULT now(),
    -- grows with every change of hands; who does not know its present value changes nothing
    fence            integer NOT NULL DEFAULT 0,
    executor         text,
    lease_until      timestamptz,
    failure          jsonb,
    signed_off_by    text,
    signed_off_note  text,
    signed_off_key   text,                   -- through which key
    signed_off_at    timestamptz,
    CONSTRAINT from_before_to CHECK (from_at < to_at),
    CONSTRAINT over_when_over CHECK
        ((status IN ('finished', 'failed')) = (finished_at IS NOT NULL)),
    CONSTRAINT failed_for_a_reason CHECK ((status = 'failed') = (failure IS NOT NULL)),
    CONSTRAINT signed_off_whole CHECK (signed_off_at IS NULL
        OR (status = 'finished' AND signed_off_by IS NOT NULL AND signed_off_note IS NOT NULL))
);
CREATE INDEX reconciliation_listed ON reconciliation (tenant_id, id);
CREATE INDEX reconciliation_due ON reconciliation (due_at) WHERE status IN ('queued', 'running');

-- What was found: one row for each class that a refund, a store's row or an ERP's entry falls into.
CREATE TABLE reconciliation_drift (
    id                  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    reconciliation_id   text NOT NULL REFERENCES reconciliation,
    class               text NOT NULL CHECK (class IN
        ('missing_in_store', 'missing_in_ledger', 'amount_differs', 'payment_flag_differs', 'deleted_in_store',
         'duplicate_suspicion', 'missing_in_erp', 'missing_in_gateway', 'in_doubt')),
    against             text NOT NULL CHECK (against IN ('store', 'erp', 'ledger')),
    refund_id           text,
    store_refund_id     text,
    order_id            text,
    order_number        text,
    external_reference  text,
    at                  timestamptz NOT NULL,
    currency            text,
    decimals            smallint NOT NULL,
    amount              numeric(20, 8),
    action              text NOT NULL,
    evidence            jsonb NOT NULL
);
CREATE INDEX reconciliation_drift_listed ON reconciliation_drift (reconciliation_id, id);
CREATE INDEX reconciliation_drift_by_class ON reconciliation_drift (reconciliation_id, class, id);
CREATE INDEX reconciliation_drift_refund ON reconciliation_drift (reconciliation_id, refund_id);

CREATE TABLE reconciliation_total (
    reconciliation_id  text NOT NULL REFERENCES reconciliation,
    day                date NOT NULL,        -- UTC
    currency           text NOT NULL,        -- '' where it is not known
    class              text NOT NULL,        -- 'matched' as well
    refunds            integer NOT NULL,
    decimals           smallint NOT NULL,
    amount             numeric NOT NULL,
    PRIMARY KEY (reconciliation_id, day, currency, class)
);

CREATE FUNCTION reconciliation_stays() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'what a reconciliation has found never changes'; END $$;
CREATE TRIGGER reconciliation_drift_stays BEFORE UPDATE OR DELETE OR TRUNCATE ON reconciliation_drift
    FOR EACH STATEMENT EXECUTE FUNCTION reconciliation_stays();
CREATE TRIGGER reconciliation_total_stays BEFORE UPDATE OR DELETE OR TRUNCATE ON reconciliation_total
    FOR EACH STATEMENT EXECUTE FUNCTION reconciliation_stays();
CREATE TRIGGER reconciliation_signed_off_stays BEFORE UPDATE OR DELETE ON reconciliation FOR EACH ROW
    WHEN (OLD.signed_off_at IS NOT NULL) EXECUTE FUNCTION reconciliation_stays();
"""

_STAGING = """
-- The store's rows as they were read. `known`: the ledger had heard of the row by then.
CREATE TABLE reconciliation_row (
    reconciliation_id  text NOT NULL REFERENCES reconciliation,
    store_refund_id    text NOT NULL,
    order_id           text NOT NULL,
    amount             numeric NOT NULL,
    paid               boolean,              -- the store's refunded_payment; NULL where its API does not say
    made_at            timestamptz,          -- by our clock
    marker             text,
    currency           text,
    known              boolean NOT NULL,
    -- the ledger has to hear of it: it belongs here and was not known, or was thought to be gone
    to_adopt           boolean NOT NULL,
    reason             text,                 -- only of those to adopt
    read_at            timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (reconciliation_id, store_refund_id)
);
CREATE INDEX reconciliation_row_marker ON reconciliation_row (reconciliation_id, marker) WHERE marker IS NOT NULL;
CREATE INDEX reconciliation_row_to_adopt ON reconciliation_row (reconciliation_id, store_refund_id) WHERE to_adopt;

-- The ledger's refunds that belong to a reconciliation, each with its row in the store as far as one was found.
CREATE TABLE reconciliation_refund (
    reconciliation_id  text NOT NULL REFERENCES reconciliation,
    refund_id          text NOT NULL REFERENCES refund,
    at                 timestamptz NOT NULL, -- by which it belongs here
    -- counts: succeeded; doubtful: its outcome is not known; void: it came to nothing, and the store has a row of it
    standing           text NOT NULL CHECK (standing IN ('counts', 'doubtful', 'void')),
    currency           text,
    row_id             text,
    to_ask             boolean NOT NULL DEFAULT false,
    asked              jsonb,                -- what the store was asked for when its list had not shown it
    PRIMARY KEY (reconciliation_id, refund_id)
);
CREATE INDEX reconciliation_refund_to_ask ON reconciliation_refund (reconciliation_id, refund_id) WHERE to_ask;

-- The ERP's list, and the refund that each entry was found to be.
CREATE TABLE reconciliation_entry (
    reconciliation_id  text NOT NULL REFERENCES reconciliation,
    number             integer NOT NULL,     -- as in what was uploaded, from 1
    reference          text,
    order_key          text,                 -- the order's id or number
    amount             numeric(20, 8) NOT NULL,
    currency           text,
    day                date NOT NULL,
    refund_id          text,
    PRIMARY KEY (reconciliation_id, number)
);
CREATE INDEX reconciliation_entry_refund ON reconciliation_entry (reconciliation_id, refund_id)
    WHERE refund_id IS NOT NULL;
"""

_REFUNDS = """
-- For everything that goes through refunds by time: reconciliations and exports.
CREATE INDEX refund_settled ON refund (tenant_id, settled_at, id) WHERE settled_at IS NOT NULL;
CREATE INDEX refund_created ON refund (tenant_id, created_at, id);

-- An amount as people write it: with so many digits behind the dot, or with more when it is finer than that.
CREATE FUNCTION amount_text(numeric, integer) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN scale(trim_scale($1)) > $2 THEN trim_scale($1)::text ELSE round($1, $2)::text END
$$;
"""


def upgrade() -> None:
    """Add reconciliations."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute(_RECONCILIATIONS)
    op.execute(_STAGING)
    op.execute(_REFUNDS)
