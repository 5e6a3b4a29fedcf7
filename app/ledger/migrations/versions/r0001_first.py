"""Tenants, stores, keys, refunds, their events, idempotency keys and quotes."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_TABLES = """
CREATE TABLE tenant (
    id          text PRIMARY KEY,
    name        text NOT NULL UNIQUE CHECK (name ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    created_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE store (
    id             text PRIMARY KEY,
    tenant_id      text NOT NULL REFERENCES tenant,
    name           text NOT NULL CHECK (name ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    url            text NOT NULL,
    api            text NOT NULL CHECK (api IN ('v3', 'legacy', 'auto')),
    auth           text NOT NULL CHECK (auth IN ('basic', 'query', 'oauth1')),
    ca_file        text,
    -- consumer key and secret, sealed with AES-GCM; the row's id is the associated data, so a sealed value is of no
    -- use in another row
    credentials    bytea NOT NULL,
    policy         jsonb NOT NULL DEFAULT '{}',
    -- grows with every change of address or credentials, so that processes notice
    version        integer NOT NULL DEFAULT 1,
    created_at     timestamptz NOT NULL DEFAULT now(),
    disabled_at    timestamptz,
    UNIQUE (tenant_id, name)
);

CREATE TABLE api_key (
    id           text PRIMARY KEY,
    tenant_id    text NOT NULL REFERENCES tenant,
    name         text NOT NULL,
    secret_hash  bytea NOT NULL,
    scopes       text[] NOT NULL,
    store_ids    text[],            -- NULL: every store of the tenant
    created_at   timestamptz NOT NULL DEFAULT now(),
    revoked_at   timestamptz
);
CREATE INDEX api_key_tenant ON api_key (tenant_id);

CREATE TABLE refund (
    id                  text PRIMARY KEY,
    tenant_id           text NOT NULL REFERENCES tenant,
    store_id            text NOT NULL REFERENCES store,
    order_id            text,
    order_number        text,
    external_reference  text,
    fingerprint         bytea NOT NULL,    -- of the money-relevant content of the request
    command             jsonb NOT NULL,    -- the request as it was understood
    plan                jsonb,             -- NULL until it was validated against the order
    amount              numeric(20, 8) CHECK (amount > 0),
    currency            text,
    decimals            smallint,
    payment             text NOT NULL CHECK (payment IN ('gateway', 'manual')),
    restock             boolean NOT NULL,
    reason              text NOT NULL,
    reason_code         text,
    metadata            jsonb NOT NULL,
    origin              text NOT NULL DEFAULT 'api',
    marker              text NOT NULL,
    status              text NOT NULL CHECK (status IN
        ('pending', 'sending', 'succeeded', 'failed', 'uncertain', 'needs_review', 'canceled')),
    money               text NOT NULL CHECK (money IN ('moved', 'not_moved', 'unknown', 'outside')),
    store_refund_id     text,
    failure             jsonb,
    evidence            jsonb NOT NULL DEFAULT '[]',
    attempts            integer NOT NULL DEFAULT 0,
    -- grows with every change of hands; an UPDATE that does not know the present value changes nothing
    fence               integer NOT NULL DEFAULT 1,
    executor            text,              -- the process that holds the lease
    lease_until         timestamptz,       -- NULL: nobody is at work on it
    waited_for_until    timestamptz,       -- until then the request that made it may still be waiting for the outcome
    sent_at             timestamptz,       -- when the last attempt was marked, just before its first byte
    touch_lost_at       timestamptz,       -- the latest moment at which that attempt can still have been sent
    answer              jsonb,             -- what the store said to the last attempt, if it said anything
    due_at              timestamptz,       -- when a worker has to look at it next
    expires_at          timestamptz NOT NULL,
    request_id          text NOT NULL,
    created_by          text NOT NULL,
    created_at          timestamptz NOT NULL DEFAULT now(),
    updated_at          timestamptz NOT NULL DEFAULT now(),
    settled_at          timestamptz,
    CONSTRAINT money_is_true CHECK (
        CASE status
            WHEN 'pending'   THEN money = 'not_moved'
            WHEN 'failed'    THEN money = 'not_moved'
            WHEN 'canceled'  THEN money = 'not_moved'
            WHEN 'succeeded' THEN money = CASE payment WHEN 'gateway' THEN 'moved' ELSE 'outside' END
            ELSE                  money = CASE payment WHEN 'gateway' THEN 'unknown' ELSE 'outside' END
        END),
    CONSTRAINT planned_before_sent CHECK (
        status IN ('pending', 'failed', 'canceled')
        OR (plan IS NOT NULL AND order_id IS NOT NULL AND amount IS NOT NULL)),
    CONSTRAINT settled_when_final CHECK (
        (status IN ('succeeded', 'failed', 'canceled')) = (settled_at IS NOT NULL))
);
-- The ERP's document number, for ever.
CREATE UNIQUE INDEX refund_external_reference ON refund (tenant_id, store_id, external_reference)
    WHERE external_reference IS NOT NULL;
-- One refund of an order at a time, across all processes: NOT EXISTS checks let 34 pairs through in a trial.
CREATE UNIQUE INDEX refund_one_at_a_time ON refund (store_id, order_id) WHERE status IN ('sending', 'uncertain');
CREATE UNIQUE INDEX refund_marker ON refund (store_id, marker);
CREATE INDEX refund_order ON refund (store_id, order_id);
CREATE INDEX refund_listed ON refund (tenant_id, id);
CREATE INDEX refund_listed_by_store ON refund (tenant_id, store_id, id);
CREATE INDEX refund_listed_by_order ON refund (tenant_id, order_id, id);
CREATE INDEX refund_listed_by_status ON refund (tenant_id, status, id);
CREATE INDEX refund_reference_lookup ON refund (tenant_id, external_reference, id)
    WHERE external_reference IS NOT NULL;
CREATE INDEX refund_abandoned ON refund (lease_until) WHERE lease_until IS NOT NULL;
CREATE INDEX refund_due ON refund (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX refund_unfinished ON refund (status) WHERE status IN ('pending', 'sending', 'uncertain', 'needs_review');

CREATE TABLE refund_event (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id  text NOT NULL,
    refund_id  text NOT NULL REFERENCES refund,
    type       text NOT NULL,
    actor      text NOT NULL,   -- 'key:<id>', 'worker', 'gateway' or a person's name from `resolve`
    data       jsonb NOT NULL,
    at         timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX refund_event_timeline ON refund_event (refund_id, id);

CREATE FUNCTION refund_event_is_append_only() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'refund events are append-only'; END $$;
CREATE TRIGGER refund_event_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON refund_event
    FOR EACH STATEMENT EXECUTE FUNCTION refund_event_is_append_only();

CREATE TABLE idempotency_key (
    tenant_id    text NOT NULL REFERENCES tenant,
    key          text NOT NULL,
    fingerprint  bytea NOT NULL,    -- of the whole request: operation, path and body
    refund_id    text NOT NULL REFERENCES refund,
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, key)
);

CREATE TABLE quote (
    id           text PRIMARY KEY,
    tenant_id    text NOT NULL REFERENCES tenant,
    store_id     text NOT NULL REFERENCES store,
    order_id     text NOT NULL,
    fingerprint  bytea NOT NULL,    -- of the money-relevant content of the previewed request
    state        text NOT NULL,     -- fingerprint of the order's state
    summary      jsonb NOT NULL,    -- what the order looked like, to name the difference
    amount       numeric(20, 8) NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz NOT NULL
);
CREATE INDEX quote_expiry ON quote (expires_at);

CREATE TABLE executor (
    id          text PRIMARY KEY,
    works       boolean NOT NULL,   -- runs jobs, not only requests
    started_at  timestamptz NOT NULL DEFAULT now(),
    seen_at     timestamptz NOT NULL DEFAULT now()
);
"""


def upgrade() -> None:
    """Create the ledger."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute(_TABLES)
