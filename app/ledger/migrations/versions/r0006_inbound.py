"""What comes in: sources and their messages, and notices of stores."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_SOURCES = """
CREATE TABLE inbound_source (
    id               text PRIMARY KEY,
    tenant_id        text NOT NULL REFERENCES tenant,
    name             text NOT NULL CHECK (name ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    verification     jsonb NOT NULL,
    -- sealed; the row's id is the associated data
    secret           bytea NOT NULL,
    -- the one before, which counts as well until then
    previous_secret  bytea,
    previous_until   timestamptz,
    mapping          jsonb NOT NULL,
    -- where a message's own id is to be found; NULL: as its kind of verification has it
    dedupe           jsonb,
    -- the store of messages whose mapping names none
    store            text,
    store_ids        text[],          -- NULL: every store of the tenant
    created_by       text NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now(),
    deleted_at       timestamptz,
    CONSTRAINT previous_for_a_time CHECK ((previous_secret IS NULL) = (previous_until IS NULL))
);
CREATE UNIQUE INDEX inbound_source_name ON inbound_source (tenant_id, name) WHERE deleted_at IS NULL;

CREATE TABLE inbound_message (
    id           text PRIMARY KEY,
    tenant_id    text NOT NULL REFERENCES tenant,
    source_id    text NOT NULL REFERENCES inbound_source,
    -- kept when the rest is forgotten, so that a message that comes again is known for ever
    dedupe_key   text NOT NULL,
    headers      jsonb NOT NULL,
    body         bytea,               -- as it came; NULL once it was forgotten
    status       text NOT NULL CHECK (status IN ('received', 'accepted', 'ignored', 'failed')),
    -- the refund that it asks for, as it was understood
    command      jsonb,
    refund_id    text REFERENCES refund,
    failure      jsonb,
    attempts     integer NOT NULL DEFAULT 0,
    -- of a received one: not to be taken up before
    due_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    received_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    replayed_at  timestamptz,
    UNIQUE (source_id, dedupe_key),
    CONSTRAINT received_with_a_command CHECK (status <> 'received' OR command IS NOT NULL),
    CONSTRAINT accepted_by_a_refund CHECK ((status = 'accepted') = (refund_id IS NOT NULL)),
    CONSTRAINT failed_for_a_reason CHECK ((status = 'failed') = (failure IS NOT NULL))
);
CREATE INDEX inbound_message_listed ON inbound_message (source_id, id);
CREATE INDEX inbound_message_by_status ON inbound_message (source_id, status, id);
CREATE INDEX inbound_message_due ON inbound_message (due_at) WHERE status = 'received';
CREATE INDEX inbound_message_kept ON inbound_message (received_at) WHERE body IS NOT NULL;
"""

_NOTICES = """
-- The secret that a store signs its webhooks with, and the base of the address that they were registered for.
CREATE TABLE store_webhooks (
    store_id    text PRIMARY KEY REFERENCES store,
    secret      bytea NOT NULL,       -- sealed; the store's id is the associated data
    base_url    text NOT NULL,
    updated_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE store_notice (
    store_id     text NOT NULL REFERENCES store,
    webhook_id   text NOT NULL,
    topic        text NOT NULL,
    body_hash    bytea NOT NULL,
    received_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    times        integer NOT NULL DEFAULT 1,
    PRIMARY KEY (store_id, webhook_id, topic, body_hash)
);
CREATE INDEX store_notice_age ON store_notice (received_at);

-- What a store's notices say has to be looked at; a row goes when that was done.
CREATE TABLE store_look (
    store_id    text NOT NULL REFERENCES store,
    kind        text NOT NULL CHECK (kind IN ('order', 'refund')),
    subject     text NOT NULL,        -- the store's id of it
    -- grows with every notice, so that one that comes during a look brings another look
    asked       integer NOT NULL DEFAULT 1,
    attempts    integer NOT NULL DEFAULT 0,
    first_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    due_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    leased      boolean NOT NULL DEFAULT false,   -- until due_at somebody is at it; else it waits until then
    PRIMARY KEY (store_id, kind, subject)
);
CREATE INDEX store_look_due ON store_look (due_at);
CREATE INDEX store_look_next ON store_look (store_id, due_at);
CREATE INDEX store_look_leased ON store_look (store_id) WHERE leased;
"""


def upgrade() -> None:
    """Add sources, messages and notices."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute(_SOURCES)
    op.execute(_NOTICES)
