"""Webhook endpoints, what was delivered to them, and which stores are out of reach."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_ENDPOINTS = """
CREATE TABLE webhook_endpoint (
    id               text PRIMARY KEY,
    tenant_id        text NOT NULL REFERENCES tenant,
    url              text NOT NULL,
    description      text NOT NULL,
    types            text[],          -- such as 'refund.failed' or 'refund.*'; NULL: all
    store_ids        text[],          -- only events of these stores; NULL: all, and those that are about no store
    created_by       text NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now(),
    disabled_at      timestamptz,
    disabled_reason  text CHECK (disabled_reason IN ('by_request', 'gone', 'failing')),
    -- How it fares. Everything below is written under this row's lock, which comes before the locks of its deliveries.
    failing_since    timestamptz,     -- the first failure since the last success, or since a day without a try
    failed_at        timestamptz,
    -- deliveries that failed in a row without a success; one that fails again and again counts once
    failures         integer NOT NULL DEFAULT 0,
    last_failed_id   bigint,
    quiet_until      timestamptz,     -- nothing is sent before: it asked for that, or the next trial is not due
    wake_at          timestamptz,     -- when there is something to do for it next; NULL: nothing waits
    nudged_until     timestamptz,     -- a job was deferred, or is at work, and nobody else need come before
    CONSTRAINT disabled_for_a_reason CHECK ((disabled_at IS NULL) = (disabled_reason IS NULL))
);
CREATE INDEX webhook_endpoint_listed ON webhook_endpoint (tenant_id, id);

-- The signing secrets: the newest, and older ones while a rotation overlaps.
CREATE TABLE webhook_secret (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    endpoint_id  text NOT NULL REFERENCES webhook_endpoint ON DELETE CASCADE,
    sealed       bytea NOT NULL,      -- the endpoint's id is the associated data
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz          -- NULL: the newest one
);
CREATE UNIQUE INDEX webhook_secret_newest ON webhook_secret (endpoint_id) WHERE expires_at IS NULL;
CREATE INDEX webhook_secret_of ON webhook_secret (endpoint_id);

CREATE TABLE webhook_delivery (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id        text NOT NULL,
    endpoint_id      text NOT NULL REFERENCES webhook_endpoint ON DELETE CASCADE,
    event_id         bigint NOT NULL REFERENCES event,
    -- of the event: deliveries of one subject go out in the order of their positions, one after the other
    position         bigint NOT NULL,
    subject          text NOT NULL,
    type             text NOT NULL,
    status           text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'delivered', 'failed')),
    attempts         integer NOT NULL DEFAULT 0,
    retries          integer NOT NULL DEFAULT 0,   -- failures since it was last asked for; sets the back-off
    due_at           timestamptz NOT NULL DEFAULT now(),
    give_up_at       timestamptz NOT NULL,
    lease_until      timestamptz,     -- a process is sending it; by this clock, so that a dead one's is taken over
    fence            integer NOT NULL DEFAULT 0,   -- grows with every change of hands
    last_attempt_at  timestamptz,
    last_status      integer,         -- HTTP; NULL when there was no answer
    last_latency_ms  integer,
    last_error       text,            -- a short code; NULL after a success
    created_at       timestamptz NOT NULL DEFAULT now(),
    asked_at         timestamptz NOT NULL DEFAULT now(),   -- the last replay, or when it was created
    finished_at      timestamptz,
    UNIQUE (endpoint_id, event_id),
    CONSTRAINT finished_when_over CHECK ((status = 'pending') = (finished_at IS NULL))
);
CREATE INDEX webhook_delivery_order ON webhook_delivery (endpoint_id, position) WHERE status = 'pending';
CREATE INDEX webhook_delivery_subject ON webhook_delivery (endpoint_id, subject, position) WHERE status = 'pending';
CREATE INDEX webhook_delivery_overdue ON webhook_delivery (give_up_at) WHERE status = 'pending';
CREATE INDEX webhook_delivery_under_way ON webhook_delivery (endpoint_id, lease_until) WHERE lease_until IS NOT NULL;
CREATE INDEX webhook_delivery_finished ON webhook_delivery (finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX webhook_delivery_listed ON webhook_delivery (endpoint_id, id);
CREATE INDEX webhook_delivery_event ON webhook_delivery (event_id);

CREATE TABLE webhook_attempt (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    delivery_id  bigint NOT NULL REFERENCES webhook_delivery ON DELETE CASCADE,
    at           timestamptz NOT NULL,
    status       integer,
    latency_ms   integer NOT NULL,
    error        text
);
CREATE INDEX webhook_attempt_of ON webhook_attempt (delivery_id, id);
"""

_STORES = """
-- Stores that did not answer, and since when; a row only for those that ever were. It is what makes processes tell of
-- an outage once, whichever of them notices it or its end.
CREATE TABLE store_health (
    store_id           text PRIMARY KEY REFERENCES store ON DELETE CASCADE,
    unreachable_since  timestamptz    -- NULL: it has answered since
);
"""

_FEED = """
-- Reading what happened to one subject, and replaying what happened in a time.
CREATE INDEX event_of_subject ON event (tenant_id, subject, position) WHERE position IS NOT NULL;
CREATE INDEX event_at ON event (tenant_id, at) WHERE position IS NOT NULL;
"""


def upgrade() -> None:
    """Add endpoints, deliveries and the health of stores."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute(_ENDPOINTS)
    op.execute(_STORES)
    op.execute(_FEED)
