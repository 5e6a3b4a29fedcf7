"""The table of every problem the API can answer with.

It decides the status, feeds the pages under `/problems`, and is what OpenAPI documents per route.
"""

from collections.abc import Mapping

from app.api.problem_codes import InputCode, ProblemCode, ProblemType
from app.api.refusal_problems import REFUSAL_PROBLEMS
from app.api.request_problems import REQUEST_PROBLEMS

PROBLEMS: Mapping[ProblemCode, ProblemType] = {**REQUEST_PROBLEMS, **REFUSAL_PROBLEMS}

INPUT_FAULTS: Mapping[InputCode, str] = {
    "malformed_amount": "An amount is not a plain decimal such as “20.00”: it has a sign, an exponent, a comma, a "
    "space, a currency or leading zeros.",
    "amount_not_text": "An amount is a JSON number; amounts are text, because a number may lose cents on its way.",
    "unknown_field": "There is no such field; `suggestion` names the one that is probably meant.",
    "missing_field": "A field that has to be there is not.",
    "wrong_type": "The value has another JSON type than the field.",
    "malformed_value": "The value is not written as the field needs it.",
    "too_long": "The text or list is longer than `limit`.",
    "out_of_range": "The number is too small or too large.",
    "invalid_choice": "The value is none of `choices`.",
    "invalid_json": "The body is not JSON (RFC 8259); `position` counts characters from its start.",
    "invalid_csv": "The CSV cannot be read (RFC 4180): quotes do not match, or a row has other cells than the header.",
    "invalid_encoding": "The file is not UTF-8; `position` counts bytes from its start.",
    "duplicate_key": "An object names the same key twice, or a file the same column, and it cannot be known which one "
    "is meant.",
    "duplicate_reference": "Two items of a batch have the same external_reference for the same store; `first` is the "
    "number of the other.",
    "body_not_an_object": "The body is JSON, but not an object.",
}
