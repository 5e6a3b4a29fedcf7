"""The parameters of lists, and the headers of their pages."""

from datetime import UTC, datetime
from typing import Any

import pytest

from app.domain.refund_query import Moment, RefundQuery
from app.front.errors import WooError
from app.front.form import pairs_of, tree_of
from app.front.listing import document_query, list_query

LOCAL = datetime.fromisoformat("2026-01-02T03:04:05")  #: in the store's own zone, which only the store knows


def read(text: str) -> RefundQuery:
    return list_query(tree_of(pairs_of(text)))


def faults(text: str) -> dict[str, Any]:
    with pytest.raises(WooError) as caught:
        read(text)
    body = caught.value.body_for("v3")
    assert body["code"] == "rest_invalid_param"
    params: dict[str, Any] = body["data"]["params"]
    return params


def test_everything_that_woocommerce_knows_is_read() -> None:
    query = read(
        "context=edit&page=2&per_page=100&offset=3&order=asc&orderby=modified&search=a+b&include=4,5&exclude[]=6"
        "&parent=7+8&parent_exclude[0]=9&dp=4&after=2026-01-02T03:04:05&before=2026-01-02T03:04:05.5Z"
        "&modified_after=2026-01-02T03:04:05%2B02:00&modified_before=2026-01-02 03:04:05&status=any"
    )

    assert query == RefundQuery(
        context="edit",
        page=2,
        per_page=100,
        offset=3,
        order="asc",
        orderby="modified",
        search="a b",
        include=("4", "5"),
        exclude=("6",),
        parent=("7", "8"),
        parent_exclude=("9",),
        dp=4,
        after=Moment(at=LOCAL),
        before=Moment(at=datetime(2026, 1, 2, 3, 4, 5, 500_000, tzinfo=UTC)),
        modified_after=Moment(at=datetime(2026, 1, 2, 1, 4, 5, tzinfo=UTC)),
        modified_before=Moment(at=LOCAL),
    )


def test_dates_are_gmt_gives_times_their_zone() -> None:
    query = read("after=2026-01-02T03:04:05&dates_are_gmt=true")

    assert query.after == Moment(at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("page=0", {"page": "page must be greater than or equal to 1"}),
        ("page=x", {"page": "page is not of type integer."}),
        ("per_page=101", {"per_page": "per_page must be between 1 (inclusive) and 100 (inclusive)"}),
        ("order=up", {"order": "order is not one of asc and desc."}),
        ("orderby=amount", {"orderby": "orderby is not one of date, id, include, title, slug, and modified."}),
        ("context=x&dp=y", {"dp": "dp is not of type integer.", "context": "context is not one of view and edit."}),
        ("include=1,x", {"include": "include[1] is not of type integer."}),
        ("after=yesterday", {"after": "Invalid date."}),
        ("after=2026-13-01T00:00:00", {"after": "Invalid date."}),
        ("after=0001-01-01T00:00:00%2B23:00", {"after": "Invalid date."}),
        ("dates_are_gmt=2", {"dates_are_gmt": "dates_are_gmt is not of type boolean."}),
    ],
)
def test_what_is_out_of_order_is_told_in_wordpresss_words(text: str, said: dict[str, str]) -> None:
    assert faults(text) == said


def test_a_single_refund_has_decimals_and_a_context_alone() -> None:
    assert document_query(tree_of(pairs_of("dp=-3&page=0"))) == RefundQuery(dp=3)
    assert document_query(tree_of(pairs_of("dp=999999999"))).dp == 12
