"""The API holds to its own OpenAPI document, whatever it is sent: no 500, no answer that is not documented."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from app.api.openapi import dump
from app.settings import Settings
from app.wiring import open_runtime
from tests.api.conftest import opened
from tests.conftest import add_shop, serving
from app.sandbox.main import create_app as create_sandbox

import json

CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
)


@pytest.fixture(scope="module")
def running(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    ...


schema = schemathesis.openapi.from_dict(json.loads(dump()))
