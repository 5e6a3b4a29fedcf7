"""What differs: one statement for each class of drift, over what `reconciling` has put side by side."""

from collections.abc import Mapping
from typing import Any, LiteralString

from app.database import Connection
from app.ledger.reconciliations import Reconciliation

_AT: LiteralString = '\'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"\''
#: How many digits behind the dot a refund's amounts have; WooCommerce's own default where its order was never read.
_DECIMALS: LiteralString = "coalesce(refund.decimals, 2)"
#: How many of them its store shows; the legacy API, which tells nothing of payments, two at most (LO:1601).
_SHOWN_DECIMALS: LiteralString = (
    "CASE WHEN shown.paid IS NULL THEN least(" + _DECIMALS + ", 2) ELSE " + _DECIMALS + " END"
)
_LEDGER: LiteralString = (
    "jsonb_build_object('refund_id', refund.id, 'status', refund.status, 'money', refund.money,"
    " 'payment', refund.payment, 'origin', refund.origin, 'amount', amount_text(refund.amount, " + _DECIMALS + "),"
    " 'currency', refund.currency, 'order_id', refund.order_id, 'store_refund_id', refund.store_refund_id,"
    " 'external_reference', refund.external_reference, 'created_by', refund.created_by, 'created_at',"
    " to_char(refund.created_at AT TIME ZONE 'UTC', " + _AT + "), 'settled_at',"
    " to_char(refund.settled_at AT TIME ZONE 'UTC', " + _AT + "), 'deleted_at',"
    " to_char(refund.deleted_at AT TIME ZONE 'UTC', " + _AT + "), 'deleted_by', refund.deleted_by)"
)
_STORE: LiteralString = (
    "CASE WHEN shown.store_refund_id IS NOT NULL THEN jsonb_build_object('store_refund_id', shown.store_refund_id,"
    " 'order_id', shown.order_id, 'amount', amount_text(shown.amount, "
    + _DECIMALS
    + "), 'refunded_payment', shown.paid,"
    " 'made_at', to_char(shown.made_at AT TIME ZONE 'UTC', " + _AT + "), 'read_at',"
    " to_char(shown.read_at AT TIME ZONE 'UTC', " + _AT + "), 'known_before', shown.known) END"
)
_ENTRY: LiteralString = (
    "CASE WHEN entry.number IS NOT NULL THEN jsonb_build_object('entry', entry.number, 'reference', entry.reference,"
    " 'order', entry.order_key, 'amount', amount_text(entry.amount, " + _DECIMALS + "), 'currency', entry.currency,"
    " 'date', entry.day) END"
)
_INTO: LiteralString = (
    "INSERT INTO reconciliation_drift (reconciliation_id, class, against, refund_id, store_refund_id, order_id,"
    " order_number, external_reference, at, currency, decimals, amount, action, evidence) "
)
_EVIDENCE: LiteralString = (
    "jsonb_strip_nulls(jsonb_build_object('ledger', "
    + _LEDGER
    + ", 'store', "
    + _STORE
    + ", 'asked', subject.asked, 'erp', "
    + _ENTRY
    + ", 'other', evidence.other))"
)
#: Without its other refund; `duplicate_suspicion` has one.
_NO_OTHER: LiteralString = " CROSS JOIN (SELECT NULL::jsonb AS other) AS evidence"
_SUBJECTS: LiteralString = (
    " FROM reconciliation_refund AS subject JOIN refund ON refund.id = subject.refund_id"
    " LEFT JOIN reconciliation_row AS shown ON shown.reconciliation_id = subject.reconciliation_id"
    "  AND shown.store_refund_id = subject.row_id"
    " LEFT JOIN reconciliation_entry AS entry ON entry.reconciliation_id = subject.reconciliation_id"
    "  AND entry.refund_id = refund.id"
)


def _of_refunds(
    drift: LiteralString, *, action: LiteralString, where: LiteralString, other: LiteralString = _NO_OTHER
) -> LiteralString:
    """Write the statement that finds a class among refunds; `drift` is the class and what it was compared with."""
    return (
        _INTO
        + "SELECT %(id)s, "
        + drift
        + ", refund.id, coalesce(refund.store_refund_id, subject.row_id), refund.order_id, refund.order_number,"
        + " refund.external_reference, subject.at, subject.currency, "
        + _DECIMALS
        + ", refund.amount, "
        + action
        + ", "
        + _EVIDENCE
        + _SUBJECTS
        + other
        + " WHERE subject.reconciliation_id = %(id)s AND "
        + where
        + " ORDER BY subject.at, refund.id"
    )


_STANDS: LiteralString = "subject.standing = 'counts'"
#: Two refunds of an order and amount within a day, whoever made them: the later one, with the one before it.
_TWICE: LiteralString = (
    " JOIN (SELECT id, lag(id) OVER earlier AS other_id, settled_at - lag(settled_at) OVER earlier AS apart FROM refund"
    "  WHERE tenant_id = %(tenant)s AND store_id = %(store)s AND duplicate_of IS NULL AND status = 'succeeded'"
    "  AND amount > 0 AND order_id IS NOT NULL AND settled_at >= %(from)s - interval '1 day' AND settled_at < %(to)s"
    "  WINDOW earlier AS (PARTITION BY order_id, amount ORDER BY settled_at, id)) AS twice"
    " ON twice.id = refund.id AND twice.apart <= interval '1 day'"
    " JOIN LATERAL (SELECT " + _LEDGER + " AS other FROM refund WHERE refund.id = twice.other_id) AS evidence ON true"
)

_CLASSES: tuple[LiteralString, ...] = (
    _of_refunds(
        "'missing_in_store', 'store'",
        action="'record_in_store'",
        where=_STANDS + " AND subject.row_id IS NULL AND refund.store_refund_id IS NULL",
    ),
    _of_refunds(
        "'deleted_in_store', 'store'",
        action="CASE WHEN refund.money = 'outside' THEN 'accept_deletion' ELSE 'check_who_deleted' END",
        where=_STANDS + " AND subject.row_id IS NULL AND refund.store_refund_id IS NOT NULL",
    ),
    _of_refunds(
        "'missing_in_ledger', 'store'",
        action="CASE subject.standing WHEN 'void' THEN 'delete_stray_row' ELSE 'accept_as_observed' END",
        where="((subject.standing = 'counts' AND refund.origin = 'store' AND NOT shown.known)"
        " OR (subject.standing = 'void' AND shown.paid IS NOT TRUE))",
    ),
    _of_refunds(
        "'amount_differs', 'store'",
        action="'correct_store_amount'",
        where=_STANDS + " AND shown.amount <> refund.amount"
        " AND round(shown.amount, " + _SHOWN_DECIMALS + ") <> round(refund.amount, " + _SHOWN_DECIMALS + ")",
    ),
    _of_refunds(
        "'payment_flag_differs', 'store'",
        action="'look_up_payment'",
        # The legacy API pays without ever setting the flag, which wc/v3 shows as false for good (LO:1668).
        where="((subject.standing = 'counts' AND ((refund.money = 'moved' AND NOT shown.paid"
        " AND (refund.sent_via IS DISTINCT FROM 'legacy' OR refund.origin = 'store'))"
        " OR (refund.money = 'outside' AND shown.paid))) OR (subject.standing = 'void' AND shown.paid))",
    ),
    _of_refunds(
        "'duplicate_suspicion', 'ledger'",
        action="'check_for_double_payment'",
        where=_STANDS,
        other=_TWICE,
    ),
    _of_refunds(
        "'in_doubt', 'ledger'",
        action="CASE refund.status WHEN 'needs_review' THEN 'resolve_review' ELSE 'wait_for_recovery' END",
        where="subject.standing = 'doubtful'",
    ),
)
_ERP_CLASSES: tuple[LiteralString, ...] = (
    _of_refunds(
        "'amount_differs', 'erp'",
        action="'correct_erp_amount'",
        where=_STANDS + " AND (entry.amount <> refund.amount OR upper(entry.currency) <> upper(refund.currency))",
    ),
    _of_refunds("'missing_in_erp', 'erp'", action="'book_in_erp'", where=_STANDS + " AND entry.number IS NULL"),
    # A refund of the day before or after what is compared may be the one that an entry at its edge means.
    """
WITH edge AS (
    SELECT order_id, order_number, amount, (settled_at AT TIME ZONE 'UTC')::date AS day FROM refund
    WHERE tenant_id = %(tenant)s AND store_id = %(store)s AND duplicate_of IS NULL AND status = 'succeeded'
        AND ((settled_at >= %(from)s - interval '3 days' AND settled_at < %(from)s)
            OR (settled_at >= %(to)s AND settled_at < %(to)s + interval '3 days'))
), keys AS (
    SELECT order_id AS order_key, amount, day FROM edge UNION SELECT order_number, amount, day FROM edge
)
"""
    + _INTO
    + "SELECT %(id)s, 'missing_in_gateway', 'erp', refund.id, refund.store_refund_id,"
    " coalesce(refund.order_id, entry.order_key), refund.order_number, entry.reference,"
    " entry.day::timestamp AT TIME ZONE 'UTC', coalesce(entry.currency, refund.currency), "
    + _DECIMALS
    + ", entry.amount, CASE WHEN refund.id IS NULL THEN 'send_or_reverse' WHEN refund.status = 'pending'"
    " THEN 'wait_for_recovery' ELSE 'reverse_in_erp' END,"
    " jsonb_strip_nulls(jsonb_build_object('ledger', CASE WHEN refund.id IS NOT NULL THEN "
    + _LEDGER
    + " END, 'erp', "
    + _ENTRY
    + ")) FROM reconciliation_entry AS entry LEFT JOIN refund ON refund.tenant_id = %(tenant)s"
    " AND refund.store_id = %(store)s AND refund.external_reference = entry.reference"
    " WHERE entry.reconciliation_id = %(id)s AND entry.refund_id IS NULL AND (refund.id IS NOT NULL"
    " OR NOT EXISTS (SELECT FROM keys WHERE keys.order_key = entry.order_key AND keys.amount = entry.amount"
    "  AND abs(keys.day - entry.day) <= 1))"
    " ORDER BY entry.day, entry.number",
)

_TOTALS: LiteralString = """
INSERT INTO reconciliation_total (reconciliation_id, day, currency, class, refunds, decimals, amount)
SELECT %(id)s, (subject.at AT TIME ZONE 'UTC')::date, coalesce(subject.currency, ''), 'matched', count(*),
    max(coalesce(refund.decimals, 2)), coalesce(sum(refund.amount), 0)
FROM reconciliation_refund AS subject JOIN refund ON refund.id = subject.refund_id
WHERE subject.reconciliation_id = %(id)s AND subject.standing = 'counts'
    AND NOT EXISTS (SELECT FROM reconciliation_drift AS drift
        WHERE drift.reconciliation_id = %(id)s AND drift.refund_id = subject.refund_id)
GROUP BY 2, 3
UNION ALL
SELECT %(id)s, (at AT TIME ZONE 'UTC')::date, coalesce(currency, ''), class, count(*), max(decimals),
    coalesce(sum(amount), 0)
FROM reconciliation_drift WHERE reconciliation_id = %(id)s
GROUP BY 2, 3, 4
"""

_BY_REFERENCE: LiteralString = """
UPDATE reconciliation_entry AS entry SET refund_id = nearest.refund_id
-- Of entries with the same reference the one that is most like the refund; the others are booked too much.
FROM (SELECT DISTINCT ON (refund.id) given.number, refund.id AS refund_id FROM reconciliation_entry AS given
        JOIN refund ON refund.tenant_id = %(tenant)s AND refund.store_id = %(store)s
            AND refund.external_reference = given.reference
            AND refund.status IN ('succeeded', 'sending', 'uncertain', 'needs_review')
        WHERE given.reconciliation_id = %(id)s AND given.reference IS NOT NULL
        ORDER BY refund.id, coalesce(upper(given.currency) = upper(refund.currency), true) DESC,
            (given.amount = refund.amount) DESC, given.number) AS nearest
WHERE entry.reconciliation_id = %(id)s AND entry.number = nearest.number
"""


def _by_order(key: LiteralString, *, referenced: bool, later: LiteralString) -> LiteralString:
    """Write the statement that pairs what is left by order, amount and day, each entry with a refund of its own.

    `later` is how many days after its refund an entry is dated.
    An entry whose reference the ledger has never heard of can only be a refund that has none.
    """
    entries: LiteralString = "entry.reference IS NULL"
    refunds: LiteralString = "true"
    if referenced:
        entries = (
            "entry.reference IS NOT NULL AND NOT EXISTS (SELECT FROM refund WHERE refund.tenant_id = %(tenant)s"
            " AND refund.store_id = %(store)s AND refund.external_reference = entry.reference)"
        )
        refunds = "refund.external_reference IS NULL"
    return (
        "WITH entries AS (SELECT number, order_key, amount, day,"
        "  row_number() OVER (PARTITION BY order_key, amount, day ORDER BY number) AS turn"
        "  FROM reconciliation_entry AS entry WHERE reconciliation_id = %(id)s AND refund_id IS NULL"
        "  AND order_key IS NOT NULL AND " + entries + "),"
        " refunds AS (SELECT id, order_key, amount, day,"
        "  row_number() OVER (PARTITION BY order_key, amount, day ORDER BY id) AS turn FROM ("
        "   SELECT refund.id, " + key + " AS order_key, refund.amount, (subject.at AT TIME ZONE 'UTC')::date AS day"
        "   FROM reconciliation_refund AS subject JOIN refund ON refund.id = subject.refund_id"
        "   WHERE subject.reconciliation_id = %(id)s AND subject.standing = 'counts' AND " + refunds + ""
        "   AND NOT EXISTS (SELECT FROM reconciliation_entry AS taken WHERE taken.reconciliation_id = %(id)s"
        "    AND taken.refund_id = refund.id)) AS free)"
        " UPDATE reconciliation_entry AS entry SET refund_id = refunds.id FROM entries, refunds"
        " WHERE entries.order_key = refunds.order_key AND entries.amount = refunds.amount"
        " AND entries.turn = refunds.turn AND entries.day = refunds.day + " + later + ""
        " AND entry.reconciliation_id = %(id)s AND entry.number = entries.number"
    )


#: The same day before the day after, as where an ERP dates by its own calendar or when it books.
_DAYS_LATER: tuple[LiteralString, ...] = ("0", "1", "-1")
_PAIRINGS: tuple[LiteralString, ...] = (
    _BY_REFERENCE,
    *(
        _by_order(key, referenced=referenced, later=later)
        for referenced in (True, False)
        for later in _DAYS_LATER
        for key in ("refund.order_number", "refund.order_id")
    ),
)


async def compare(conn: Connection, held: Reconciliation) -> Mapping[str, int]:
    """Write down everything that differs and the totals, and give how many fell into each class.

    In one transaction with the end of the reconciliation: what it has found is there whole, or not at all.
    """
    params: dict[str, Any] = {
        "id": held.id,
        "tenant": held.tenant_id,
        "store": held.store_id,
        "from": held.from_at,
        "to": held.to_at,
    }
    for statement in (*(_PAIRINGS if held.erp_entries else ()), *_CLASSES):
        await conn.execute(statement, params)
    for statement in _ERP_CLASSES if held.erp_entries is not None else ():
        await conn.execute(statement, params)
    await conn.execute(_TOTALS, params)
    cursor = await conn.execute(
        "SELECT class, sum(refunds)::integer AS n FROM reconciliation_total WHERE reconciliation_id = %(id)s"
        " GROUP BY class",
        params,
    )
    return {row["class"]: row["n"] for row in await cursor.fetchall()}
