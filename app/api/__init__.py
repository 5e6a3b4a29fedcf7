"""Wire in, wire out: routes, models, problems. No SQL, no rules."""

from app.api.application import build

__all__ = ["build"]
