"""`python -m app.api.openapi` prints the OpenAPI document; it needs no database and no settings."""

import json
import sys

from app.api import build
from app.settings import Settings


def dump() -> str:
    """Write the document, sorted and indented; equal code gives equal text."""
    return json.dumps(build(Settings()).openapi(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(dump())
