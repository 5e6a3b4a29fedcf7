"""How to reach a store, as it is given on the command line: address, API, authentication, keys."""

import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from app.cli.ends import Ended, Exit, is_interactive
from app.domain import refund
from app.ledger.tenants import StoreApi, StoreAuth, StoreRow
from app.outbound import Outbound
from app.settings import Settings
from app.stores.connection import StoreConnection, StoreLimits, site_of
from app.stores.detect import detect_api
from app.stores.port import StoreError, StoreMisconfigured

_KEY_VARIABLE = "REFUND_GATEWAY_CONSUMER_KEY"
_SECRET_VARIABLE = "REFUND_GATEWAY_CONSUMER_SECRET"  # noqa: S105 - the name of a variable

ConsumerKey = Annotated[
    str | None,
    typer.Option(
        "--consumer-key",
        help=f"The REST API key (ck_…). Better left to {_KEY_VARIABLE} or the prompt: other users see command lines.",
        show_default=False,
    ),
]
ConsumerSecret = Annotated[
    str | None,
    typer.Option("--consumer-secret", help=f"Its secret (cs_…); see there, {_SECRET_VARIABLE}.", show_default=False),
]
CaFile = Annotated[
    Path | None, typer.Option("--ca-file", help="PEM file of the CA that signed the store's certificate.")
]
Auth = Annotated[
    StoreAuth,
    typer.Option(
        "--auth",
        help="basic: the usual; query: for hosts that strip the Authorization header; oauth1: the only one over "
        "plain http, for development stores.",
    ),
]
Api = Annotated[
    StoreApi,
    typer.Option(
        "--api",
        help="Which of WooCommerce's APIs: v3 (wc/v3), legacy (wc-api/v3 of the Legacy REST API plugin), or auto: the "
        "store is asked, and v3 is preferred.",
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundApi:
    """Which API a store has."""

    api: refund.StoreApi

    @property
    def name(self) -> str:
        """Name it as WooCommerce does."""
        return "wc/v3" if self.api == "v3" else "wc-api/v3 (Legacy REST API)"


async def find_api(settings: Settings, row: StoreRow, key: str, secret: str) -> FoundApi | str:
    """Ask a store which API it has, v3 before the legacy one; a sentence when that cannot be told."""
    connection = StoreConnection(
        store_id=row.id,
        url=row.url,
        auth=row.auth,
        consumer_key=key,
        consumer_secret=secret,
        ca_file=None if row.ca_file is None else Path(row.ca_file),
    )
    lines = Outbound(allow_private=settings.allow_private_stores, connect_timeout_s=settings.store_connect_timeout_s)
    try:
        api = await detect_api(connection, lines, StoreLimits.of(settings))
    except StoreError as error:
        return str(error)
    finally:
        await lines.aclose()
    return "The store shows neither wc/v3 nor the legacy API." if api is None else FoundApi(api=api)


def credentials_of(key: str | None, secret: str | None) -> tuple[str, str]:
    """Take the API key from the options, else the environment, else from a prompt that shows nothing."""
    return (
        _secret(key, _KEY_VARIABLE, "Consumer key", "--consumer-key"),
        _secret(secret, _SECRET_VARIABLE, "Consumer secret", "--consumer-secret"),
    )


def _secret(given: str | None, variable: str, prompt: str, option: str) -> str:
    value = given or os.environ.get(variable) or ""
    if not value.strip() and is_interactive():
        value = typer.prompt(prompt, hide_input=True, err=True)
    value = value.strip()
    if not value:
        raise Ended(Exit.USAGE, f"{prompt} is missing: set {variable}, or give {option}.")
    if not value.isascii() or not value.isprintable() or " " in value:
        raise Ended(Exit.USAGE, f"{prompt} has characters in it that no WooCommerce key has.")
    return value


def site(settings: Settings, url: str, auth: StoreAuth) -> str:
    """Give the canonical address; ends the verb when it cannot be used."""
    connection = StoreConnection(store_id="", url=url, auth=auth, consumer_key="", consumer_secret="")
    try:
        return site_of(connection, allow_private=settings.allow_private_stores)
    except StoreMisconfigured as error:
        raise Ended(Exit.USAGE, str(error)) from None


def ca_path_of(ca_file: Path | None) -> str | None:
    if ca_file is None:
        return None
    try:
        ssl.create_default_context(cafile=str(ca_file))
    except (OSError, ssl.SSLError):
        raise Ended(Exit.USAGE, f"{ca_file} is no readable PEM file of certificates.") from None
    return str(ca_file.resolve())
