"""The feed of events, and idempotency keys for everything that can be created."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_EVENTS = """
CREATE TABLE event (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id        text NOT NULL,
    store_id         text,                    -- NULL: not about one store
    type             text NOT NULL,
    -- what it is about, such as a refund's id; events of one subject are delivered in their order
    subject          text NOT NULL,
    refund_event_id  bigint,
    data             jsonb NOT NULL,
    at               timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- its place in the feed, given only after it was committed: ids are drawn before that, and a reader who had gone
    -- past a larger one would never see the smaller one that was committed later
    position         bigint
);
CREATE UNIQUE INDEX event_position ON event (position) WHERE position IS NOT NULL;
CREATE INDEX event_feed ON event (tenant_id, position) WHERE position IS NOT NULL;
CREATE INDEX event_without_position ON event (id) WHERE position IS NULL;
CREATE SEQUENCE event_position_seq AS bigint;

CREATE FUNCTION event_is_append_only() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'events are append-only'; END $$;
CREATE TRIGGER event_never_changes BEFORE UPDATE ON event FOR EACH ROW
    WHEN (OLD.position IS NOT NULL OR NEW.position IS NULL
          OR (OLD.id, OLD.tenant_id, OLD.store_id, OLD.type, OLD.subject, OLD.refund_event_id, OLD.data, OLD.at)
             IS DISTINCT FROM
             (NEW.id, NEW.tenant_id, NEW.store_id, NEW.type, NEW.subject, NEW.refund_event_id, NEW.data, NEW.at))
    EXECUTE FUNCTION event_is_append_only();
CREATE TRIGGER event_never_goes BEFORE DELETE OR TRUNCATE ON event
    FOR EACH STATEMENT EXECUTE FUNCTION event_is_append_only();

-- What the feed says of a refund: where it stands and what identifies it; no free text, which may hold personal data.
CREATE FUNCTION refund_in_feed(refund, text) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object(
        'id', $1.id, 'object', 'refund', 'status', $1.status, 'money', $1.money, 'store', $2,
        'order_id', $1.order_id, 'order_number', $1.order_number,
        'amount', round($1.amount, coalesce($1.decimals, 2))::text, 'currency', $1.currency,
        'payment', $1.payment, 'store_refund_id', $1.store_refund_id, 'external_reference', $1.external_reference,
        'reason_code', $1.reason_code, 'origin', $1.origin, 'failure_code', $1.failure ->> 'code',
        'deleted', $1.deleted_at IS NOT NULL, 'duplicate_of', $1.duplicate_of,
        'batch_id', $1.batch_id, 'batch_item', $1.batch_item)
$$;

-- A trigger, so that nobody can write a refund's event and leave it out of the feed. It runs at the end of the
-- statement that changes the refund, and sees it changed.
CREATE FUNCTION refund_event_to_feed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO event (tenant_id, store_id, type, subject, refund_event_id, data, at)
    SELECT NEW.tenant_id, refund.store_id, NEW.type, refund.id, NEW.id, refund_in_feed(refund, store.name), NEW.at
    FROM refund JOIN store ON store.id = refund.store_id WHERE refund.id = NEW.refund_id;
    RETURN NULL;
END $$;
CREATE TRIGGER refund_event_feeds AFTER INSERT ON refund_event FOR EACH ROW
    WHEN (NEW.type IN ('refund.created', 'refund.sending', 'refund.succeeded', 'refund.failed', 'refund.uncertain',
        'refund.needs_review', 'refund.resolved', 'refund.canceled', 'refund.deleted', 'refund.observed'))
    EXECUTE FUNCTION refund_event_to_feed();
"""

_KEYS = """
ALTER TABLE idempotency_key
    ALTER COLUMN refund_id DROP NOT NULL,
    -- what else the first request created: a batch, a schedule, an endpoint, …
    ADD COLUMN resource_id text,
    ADD CONSTRAINT stands_for_one_thing CHECK (num_nonnulls(refund_id, resource_id) = 1);
"""

_BATCH_LINK = """
-- The batch that a refund was made for, and its item there: one refund for an item, whatever is killed in between.
ALTER TABLE refund ADD COLUMN batch_id text, ADD COLUMN batch_item integer,
    ADD CONSTRAINT batch_and_item CHECK ((batch_id IS NULL) = (batch_item IS NULL));
CREATE UNIQUE INDEX refund_batch_item ON refund (batch_id, batch_item) WHERE batch_id IS NOT NULL;
"""


def upgrade() -> None:
    """Add the feed."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute(_BATCH_LINK)
    op.execute(_EVENTS)
    op.execute(_KEYS)
