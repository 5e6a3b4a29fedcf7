"""What the API itself says no to: requests, keys, addresses, and what becomes of refunds on their way."""

from collections.abc import Mapping

from app.api.problem_codes import ProblemCode, ProblemType

REQUEST_PROBLEMS: Mapping[ProblemCode, ProblemType] = {
    "invalid_request": ProblemType(
        422,
        "The request is malformed",
        "The request could not be understood, so nothing was looked up and nothing was created. `errors` names every "
        "fault found, each with a pointer to its place.",
        "Correct what `errors` points at and send the request again.",
    ),
    "body_too_large": ProblemType(
        413,
        "The request body is too large",
        "The body is larger than this gateway reads; nothing was created.",
        "Send less at a time. A refund with hundreds of lines fits easily.",
    ),
    "body_too_slow": ProblemType(
        408,
        "The request body did not arrive in time",
        "The rest of the body was not received in time; nothing was created.",
        "Send the request again.",
        retryable=True,
    ),
    "unsupported_media_type": ProblemType(
        415,
        "The request body is of a media type that is not read here",
        "The Content-Type names something that this address does not take; nothing was created.",
        "Send JSON with Content-Type: application/json; batches are also taken as application/x-ndjson and text/csv.",
    ),
    "unauthorized": ProblemType(
        401,
        "The API key is missing or not valid",
        "No API key was given, or it is unknown, wrong or revoked.",
        "Send Authorization: Bearer <key>, or HTTP Basic with the key's id and secret.",
    ),
    "forbidden": ProblemType(
        403,
        "The API key lacks a scope",
        "The key is valid, but it may not do this; `required_scope` names what it lacks.",
        "Use a key that has the scope.",
    ),
    "not_found": ProblemType(
        404, "There is nothing here", "No resource has this address.", "Compare the path with /openapi.json."
    ),
    "method_not_allowed": ProblemType(
        405,
        "The method does not fit the resource",
        "The resource exists, but not for this HTTP method; the Allow header names those that it has.",
        "Use one of the methods in the Allow header.",
    ),
    "store_not_found": ProblemType(
        404,
        "There is no such store",
        "The tenant has no store of this name that is in use, or the key is limited to other stores.",
        "Compare the name with GET /v1/stores.",
    ),
    "refund_not_found": ProblemType(
        404,
        "There is no such refund",
        "The gateway knows no refund of this id, or the key is limited to other stores.",
        "Look for it by external_reference with GET /v1/refunds.",
    ),
    "reconciliation_not_found": ProblemType(
        404,
        "There is no such reconciliation",
        "The gateway knows no reconciliation of this id, or the key is limited to other stores.",
        "Look for it with GET /v1/reconciliations.",
    ),
    "reconciliation_not_finished": ProblemType(
        409,
        "The reconciliation is not finished",
        "There is a report only of a reconciliation that is finished; `reconciliation` shows how far it has come, or "
        "why it failed.",
        "Read it until its status is `finished`. One that has failed is started anew with POST /v1/reconciliations.",
    ),
    "already_signed_off": ProblemType(
        409,
        "The report is signed off",
        "Somebody has signed this report off before; `reconciliation` says who. A report is signed off once.",
        "Nothing needs to be done. If something has changed since, reconcile the same time again.",
    ),
    "batch_not_found": ProblemType(
        404,
        "There is no such batch",
        "The gateway knows no batch of this id, or the key is limited to other stores than its items'.",
        "Look for it with GET /v1/batches.",
    ),
    "schedule_not_found": ProblemType(
        404,
        "There is no such schedule",
        "The gateway knows no schedule of this id, it was deleted, or the key is limited to other stores.",
        "Look for it with GET /v1/schedules.",
    ),
    "webhook_endpoint_not_found": ProblemType(
        404,
        "There is no such webhook endpoint",
        "The tenant has no webhook endpoint of this id, or the key is limited to other stores than the endpoint.",
        "Compare the id with GET /v1/webhook-endpoints.",
    ),
    "webhook_endpoint_disabled": ProblemType(
        409,
        "The webhook endpoint is disabled",
        "Nothing is delivered to a disabled endpoint, so nothing was replayed.",
        "Enable it with PATCH /v1/webhook-endpoints/{endpoint_id} and `enabled: true`, then send the request again.",
    ),
    "delivery_not_found": ProblemType(
        404,
        "There is no such delivery",
        "The endpoint has no delivery of this id; finished ones are forgotten after some weeks.",
        "Look for it with GET /v1/webhook-endpoints/{endpoint_id}/deliveries, or replay the time in which it was.",
    ),
    "too_many_endpoints": ProblemType(
        409,
        "There are too many webhook endpoints",
        "The tenant has `limit` webhook endpoints, as many as it can have; nothing was added.",
        "Delete one that is no longer used, or have one receiver pass the events on.",
    ),
    "replay_too_large": ProblemType(
        422,
        "There are too many events to replay at once",
        "More than `limit` events fall into the time; none of them was replayed.",
        "Narrow it down with `since` and `until`, or with `types`, and replay part after part.",
    ),
    "store_refund_not_found": ProblemType(
        404,
        "The store has no such refund",
        "The order has no refund of this id in the store.",
        "Read the order's refunds with GET /v1/stores/{store}/orders/{order_id}/refunds.",
    ),
    "source_not_found": ProblemType(
        404,
        "There is no such source",
        "The tenant has no source of inbound messages of this id that is in use, or the key is limited to other "
        "stores.",
        "Compare the id with GET /v1/inbound.",
    ),
    "message_not_found": ProblemType(
        404,
        "There is no such message",
        "The source has no message of this id.",
        "Look for it with GET /v1/inbound/{source}/messages.",
    ),
    "message_forgotten": ProblemType(
        409,
        "The message's body is no longer kept",
        "Bodies are kept for so many days as the gateway's settings say; without it the message cannot be read again.",
        "Have the other system send it again under a new id, or make the refund with POST /v1/refunds.",
    ),
    "name_taken": ProblemType(
        409,
        "The name is in use",
        "The tenant has one of this name already; nothing was created or changed.",
        "Take another name, or change the one that has it.",
    ),
    "not_verified": ProblemType(
        401,
        "The message could not be verified",
        "The address is unknown, or the message's signature is missing, wrong or too old. Nothing was kept.",
        "Compare the address, the secret, the way of signing, and both clocks.",
    ),
    "no_store_refund": ProblemType(
        409,
        "The refund has no row in its store",
        "The store never kept a row of this refund, so there is nothing in it to delete; `refund` shows the refund.",
        "Nothing needs to be done: the ledger keeps its record in any case.",
    ),
    "paid_by_gateway": ProblemType(
        409,
        "The payment gateway has paid this refund",
        "The customer has the money. Deleting the store's row brings none of it back and only makes the order look as "
        "if there were more left to refund than there is. Nothing was deleted.",
        "If the row has to go all the same, send the request again with `?force=true`. No money comes back, and the "
        "gateway goes on counting the refund as paid.",
    ),
    "list_too_long": ProblemType(
        422,
        "The list is too long to be put together here",
        "The store cannot filter or list this by itself, and there is too much of it for the gateway to look through.",
        "Narrow it down: by `after` and `before` (with an offset, or with `dates_are_gmt=true`), by `parent`, or ask "
        "for the refunds of single orders.",
    ),
    "list_unsupported": ProblemType(
        422,
        "The store cannot be asked for this list",
        "The API that the store is spoken to in has no such filter, and the gateway lacks what it would need to apply "
        "it in the store's place.",
        "Leave out the parameter that `detail` names. Times without an offset are in the store's own time zone; write "
        "them with an offset, or send `dates_are_gmt=true`.",
    ),
    "idempotency_key_reused": ProblemType(
        422,
        "The Idempotency-Key belongs to another request",
        "The key was used before with other content; `refund_id` names what it created. Nothing new was created.",
        "Use a new key for a new request, and the same key only to repeat the same one.",
    ),
    "external_reference_conflict": ProblemType(
        409,
        "The external reference belongs to another refund",
        "A refund with this reference exists and differs in the fields named in `differing`. References are unique "
        "per store for ever; nothing new was created.",
        "Read the refund named in `refund_id`. If a second refund is meant, give it its own reference.",
    ),
    "request_in_progress": ProblemType(
        409,
        "The first request is still running",
        "A request with the same Idempotency-Key or external reference is being carried out right now.",
        "Send the same request again after Retry-After seconds, or read the refund named in `refund_id`.",
        retryable=True,
    ),
    "ambiguous_order_number": ProblemType(
        409,
        "Several orders have this number",
        "More than one order of the store carries exactly this number; `order_ids` lists them.",
        "Name the order by its order_id.",
    ),
    "quote_not_found": ProblemType(
        422,
        "There is no such quote",
        "The quote is unknown, or belongs to another tenant or store.",
        "Ask for a new preview and send its quote_id.",
    ),
    "quote_expired": ProblemType(
        409, "The quote has expired", "The quote no longer holds.", "Ask for a new preview and send its quote_id."
    ),
    "quote_mismatch": ProblemType(
        422,
        "The quote was made for another refund",
        "What the request asks for differs from what was previewed.",
        "Send exactly what was previewed, or ask for a new preview.",
    ),
    "wrong_state": ProblemType(
        409,
        "The state does not allow this",
        "The refund or batch is in another state than those in `allowed`; `refund` or `batch` shows it as it is.",
        "Read it and decide anew.",
    ),
    "refund_failed": ProblemType(
        422,
        "The refund failed",
        "No money was moved. `refund.failure` says why.",
        "Read `refund.failure`; a new attempt needs a new Idempotency-Key and a new external reference.",
    ),
    "refund_canceled": ProblemType(
        422,
        "The refund was canceled",
        "This request's refund was canceled before it was sent; no money was moved.",
        "If the refund is wanted after all, send it with a new Idempotency-Key and a new external reference.",
    ),
    "store_unavailable": ProblemType(
        503,
        "The store cannot be reached",
        "The store did not answer, or asked to be left alone for a while. Nothing was created.",
        "Send the same request again after Retry-After seconds, or with Prefer: respond-async to have it carried out "
        "when the store is back.",
        retryable=True,
    ),
    "rate_limited": ProblemType(
        429,
        "Too many requests",
        "The key has used up its requests for now; nothing was created.",
        "Wait for Retry-After seconds. The RateLimit headers show what is left.",
        retryable=True,
    ),
    "internal_error": ProblemType(
        500,
        "Something is wrong with the gateway",
        "The request failed for a reason that is not the caller's. What it was about may or may not exist.",
        "Send the same request again with the same Idempotency-Key or external reference: it is never carried out "
        "twice. If it goes on, report the request_id.",
        retryable=True,
    ),
    "service_unavailable": ProblemType(
        503,
        "The gateway is not ready",
        "The gateway cannot reach its ledger, or is starting or stopping.",
        "Send the same request again after Retry-After seconds.",
        retryable=True,
    ),
}
