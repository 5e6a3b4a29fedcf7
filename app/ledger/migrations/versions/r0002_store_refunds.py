"""Refunds made by others, deletions, what was learned about payment methods, keys for WooCommerce's clients."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_REFUNDS = """
ALTER TABLE refund
    -- the order's payment gateway, to learn from what became of its refunds
    ADD COLUMN payment_method  text,
    -- the API through which it was sent last: what a store's row proves depends on it
    ADD COLUMN sent_via        text CHECK (sent_via IN ('v3', 'legacy')),
    -- which of the gateway's doors it came in by; origin says who made it
    ADD COLUMN via             text NOT NULL DEFAULT 'v1' CHECK (via IN ('v1', 'front', 'seen')),
    -- when its outcome was handed to the client that asked; only for 'front', whose clients have no idempotency keys
    ADD COLUMN told_at         timestamptz,
    -- when its row in the store was deleted, or was found to be gone; the money does not come back by that
    ADD COLUMN deleted_at      timestamptz,
    ADD COLUMN deleted_by      text,
    -- who set out to delete its row, and when; until it is known how that went
    ADD COLUMN deleting_by     text,
    ADD COLUMN deleting_at     timestamptz,
    -- a refund of ours that turned out to be this one, seen before it was known as ours
    ADD COLUMN duplicate_of    text REFERENCES refund,
    ADD CONSTRAINT origin_is_known CHECK (origin IN ('api', 'store')),
    ADD CONSTRAINT seen_is_settled CHECK (origin <> 'store' OR (status = 'succeeded' AND store_refund_id IS NOT NULL)),
    DROP CONSTRAINT refund_payment_check,
    -- 'unknown' only for refunds made by others in a store whose API does not show it
    ADD CONSTRAINT refund_payment_check CHECK (
        payment IN ('gateway', 'manual') OR (payment = 'unknown' AND origin = 'store')),
    DROP CONSTRAINT money_is_true,
    ADD CONSTRAINT money_is_true CHECK (
        CASE status
            WHEN 'pending'   THEN money = 'not_moved'
            WHEN 'failed'    THEN money = 'not_moved'
            WHEN 'canceled'  THEN money = 'not_moved'
            WHEN 'succeeded' THEN money = CASE payment
                WHEN 'gateway' THEN 'moved' WHEN 'manual' THEN 'outside' ELSE 'unknown' END
            ELSE                  money = CASE payment WHEN 'gateway' THEN 'unknown' ELSE 'outside' END
        END),
    DROP CONSTRAINT planned_before_sent,
    ADD CONSTRAINT planned_before_sent CHECK (
        status IN ('pending', 'failed', 'canceled') OR origin = 'store'
        OR (plan IS NOT NULL AND order_id IS NOT NULL AND amount IS NOT NULL));

-- A row of 0.00, which only a store makes, is a refund to be seen as well.
ALTER TABLE refund DROP CONSTRAINT refund_amount_check;
ALTER TABLE refund ADD CONSTRAINT refund_amount_check CHECK (amount > 0 OR (origin = 'store' AND amount = 0));

-- One record for each row that others have made, whoever sees it first.
CREATE UNIQUE INDEX refund_seen ON refund (store_id, store_refund_id) WHERE origin = 'store';
CREATE INDEX refund_by_store_refund ON refund (store_id, store_refund_id) WHERE store_refund_id IS NOT NULL;
CREATE INDEX refund_learned ON refund (store_id, payment_method, settled_at)
    WHERE payment_method IS NOT NULL AND origin = 'api';
-- Deletions that a crash has cut off.
CREATE INDEX refund_deleting ON refund (deleting_at) WHERE deleting_at IS NOT NULL;
-- A repeated request looks here for one whose outcome its client never got, and that had no key of its own.
CREATE INDEX idempotency_key_refund ON idempotency_key (refund_id);
CREATE INDEX refund_untold ON refund (store_id, order_id) WHERE via = 'front' AND told_at IS NULL;
"""

_KEYS = """
ALTER TABLE api_key
    -- a key for WooCommerce's own clients; the id of its row is the associated data of the sealed secret
    ADD COLUMN consumer_key     text UNIQUE,
    ADD COLUMN consumer_secret  bytea,
    ADD COLUMN front            jsonb NOT NULL DEFAULT '{}',
    ADD CONSTRAINT consumer_key_and_secret CHECK ((consumer_key IS NULL) = (consumer_secret IS NULL));

-- Nonces of OAuth 1.0a requests; with a time so far off that it is refused anyway they are forgotten.
CREATE TABLE oauth_nonce (
    key_id   text NOT NULL REFERENCES api_key ON DELETE CASCADE,
    nonce    text NOT NULL,
    sent_at  timestamptz NOT NULL,
    PRIMARY KEY (key_id, nonce, sent_at)
);
CREATE INDEX oauth_nonce_age ON oauth_nonce (sent_at);
"""


def upgrade() -> None:
    """Add to the ledger what the rest of WooCommerce's refund APIs needs."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute(_REFUNDS)
    op.execute(_KEYS)
