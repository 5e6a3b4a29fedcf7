"""Faults on demand: which request suffers from what.

A fault comes from a word in a refund's `reason` (`decline`, `false`, `slow250`, `crash`, `[[fault:NAME]]` or
`[[fault:NAME:SECONDS]]`), or from a rule set over `POST /sandbox/faults` for an order, an operation, a number of times
or a probability.
"""

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from pydantic import BaseModel, Field

FaultName = Literal[
    # before the request is looked at
    "latency",
    "rate_limited",
    "bad_gateway",
    "maintenance",
    "unavailable",
    "html",
    "captcha",
    "redirect",
    # while a refund is made
    "fatal",
    "slow",
    "decline",
    "gateway_false",
    "fail_after_paying",
    "die_before_paying",
    "die_after_paying",
    "wrong_amount",
    "unpaid_201",
    # on the way back
    "lost_answer",
    "truncated_json",
    "bad_gateway_after",
    "bom",
    "notice",
    "stale",
]
Operation = Literal["refund", "read", "any"]

FAULT_NAMES: tuple[FaultName, ...] = get_args(FaultName)

#: What a read can suffer from; a rule for any operation leaves reads alone with the others.
_OF_READS: frozenset[FaultName] = frozenset(
    {
        "latency",
        "rate_limited",
        "bad_gateway",
        "unavailable",
        "html",
        "captcha",
        "redirect",
        "maintenance",
        "truncated_json",
        "bom",
        "notice",
        "lost_answer",
        "stale",
    }
)
_BRACKETED = re.compile(r"\[\[fault:([a-z0-9_]+)(?::(\d+(?:\.\d+)?))?\]\]")
_WORD = re.compile(r"(?<![\w:-])(decline|false|crash|slow(\d+))(?![\w-])")
_WORDS: dict[str, FaultName] = {"decline": "decline", "false": "gateway_false", "crash": "die_after_paying"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that goes wrong with one request."""

    name: FaultName
    delay_s: float = 1.0
    retry_after_s: int = 1


class FaultRule(BaseModel):
    """A fault that requests meet until it has struck `times` times."""

    id: int = 0
    fault: FaultName
    order_id: int | None = None
    operation: Operation = "refund"
    times: int | None = Field(None, ge=1)
    probability: float = Field(1.0, ge=0, le=1)
    delay_s: float = Field(1.0, ge=0)
    retry_after_s: int = Field(1, ge=0)


@dataclass(slots=True)
class FaultPlan:
    """The rules in force; they live as long as the process."""

    rules: list[FaultRule] = field(default_factory=list)
    _last_id: int = 0
    _chance: random.Random = field(default_factory=random.Random)

    def add(self, rule: FaultRule) -> FaultRule:
        self._last_id += 1
        kept = rule.model_copy(update={"id": self._last_id})
        self.rules.append(kept)
        return kept

    def clear(self, rule_id: int | None = None) -> int:
        """Drop one rule or all; return how many."""
        left = [rule for rule in self.rules if rule_id is not None and rule.id != rule_id]
        dropped = len(self.rules) - len(left)
        self.rules = left
        return dropped

    def strike(self, operation: Operation, order_id: int | None) -> list[Fault]:
        """Return the faults that a request meets, and count them."""
        struck = []
        for rule in list(self.rules):
            if not self._meets(rule, operation, order_id):
                continue
            struck.append(Fault(name=rule.fault, delay_s=rule.delay_s, retry_after_s=rule.retry_after_s))
            if rule.times is not None:
                rule.times -= 1
                if rule.times == 0:
                    self.rules.remove(rule)
        return struck

    def _meets(self, rule: FaultRule, operation: Operation, order_id: int | None) -> bool:
        if rule.order_id is not None and rule.order_id != order_id:
            return False
        if rule.operation not in ("any", operation):
            return False
        if operation != "refund" and rule.fault not in _OF_READS:
            return False
        if operation == "refund" and rule.fault == "stale":
            return False
        return rule.probability >= 1 or self._chance.random() < rule.probability


def faults_in(reason: str) -> Sequence[Fault]:
    """Return the faults that words in a refund's reason ask for."""
    return list(_words(reason))


def _words(reason: str) -> Iterator[Fault]:
    for name, seconds in _BRACKETED.findall(reason):
        for known in FAULT_NAMES:
            if known == name:
                yield Fault(name=known, delay_s=float(seconds or 1), retry_after_s=int(float(seconds or 1)))
    for word, milliseconds in _WORD.findall(reason):
        if milliseconds:
            yield Fault(name="slow", delay_s=int(milliseconds) / 1000)
        else:
            yield Fault(name=_WORDS[word])
