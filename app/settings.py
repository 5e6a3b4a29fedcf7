"""Settings by environment, prefix `REFUND_GATEWAY_`; every field says its unit and what it is for."""

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Everything that can be set from outside; reading it has no side effects."""

    model_config = SettingsConfigDict(
        env_prefix="REFUND_GATEWAY_", env_ignore_empty=True, frozen=True, extra="ignore", hide_input_in_errors=True
    )

    # Where
    host: str = Field("127.0.0.1", description="Address the gateway listens on.")
    port: int = Field(8080, ge=1, le=65535, description="TCP port the gateway listens on.")
    var: Path = Field(Path("var"), description="Folder for the embedded PostgreSQL and the demo's files.")
    database_url: SecretStr | None = Field(
        None,
        description="PostgreSQL URL (version 15 or later). Without it an embedded PostgreSQL runs under `var`.",
    )
    database_pool_size: int = Field(16, ge=2, le=200, description="Database connections per process at most.")
    environment: Literal["production", "demo"] = Field(
        "production", description="`demo` makes its own sealing key under `var`; production refuses to start without."
    )

    public_url: str | None = Field(
        None,
        description="Address under which clients reach the gateway, if a proxy changes it: OAuth 1.0a signs it, and "
        "links in answers begin with it.",
    )
    tls_certificate: Path | None = Field(
        None, description="PEM file with the certificate chain, to serve HTTPS itself."
    )
    tls_key: Path | None = Field(None, description="PEM file with the certificate's key.")
    front_basic_over_http: bool = Field(
        False,
        description="Accept consumer key and secret over plain HTTP at the front for WooCommerce's clients, for a "
        "proxy that ends TLS and does not say so; WooCommerce itself never does.",
    )

    # Secrets
    sealing_keys: SecretStr | None = Field(
        None,
        description="Keys that seal store credentials: `id:base64`, comma-separated; the first seals, all open. "
        "Make one with `refund-gateway doctor --new-sealing-key`.",
    )

    # Stores
    allow_private_stores: bool = Field(
        False, description="Permit stores on private, loopback and link-local addresses, and over plain HTTP."
    )
    store_concurrency: int = Field(4, ge=1, le=64, description="Requests at a time to one store, per process.")
    store_connect_timeout_s: float = Field(5.0, gt=0, description="Seconds to reach a store (DNS, TCP and TLS).")
    store_read_timeout_s: float = Field(20.0, gt=0, description="Seconds a store may take to answer a read.")
    store_refund_timeout_s: float = Field(
        120.0, gt=0, description="Seconds a store may take to answer a refund; payment providers alone may need 70."
    )
    store_response_limit_bytes: int = Field(8_000_000, gt=0, description="Bytes read of a store's answer at most.")
    store_facts_ttl_s: float = Field(
        300.0, ge=0, description="Seconds to remember a store's decimals and payment gateways."
    )
    breaker_threshold: int = Field(5, ge=1, description="Failures in a row that open a store's circuit breaker.")
    breaker_ttl_s: float = Field(15.0, gt=0, description="Seconds a store's circuit breaker stays open.")

    # Refunds
    default_wait_s: float = Field(25.0, ge=0, description="Seconds a POST waits for the outcome unless told by Prefer.")
    max_wait_s: float = Field(120.0, ge=0, description="Seconds a POST may ask to wait at most.")
    lease_s: float = Field(15.0, gt=0, description="Seconds an attempt belongs to its process without a sign of life.")
    sweep_interval_s: float = Field(
        3.0, gt=0, description="Seconds between searches for abandoned and doubtful refunds."
    )
    quiet_period_s: float = Field(
        5.0, ge=0, description="Seconds after an unclear answer before the store is looked at for the first time."
    )
    store_limit_s: float = Field(
        120.0,
        gt=0,
        description="Seconds a store may go on working on a refund after the gateway lost touch; before that an absent "
        "or unpaid refund proves nothing.",
    )
    pending_expiry_s: float = Field(86_400.0, gt=0, description="Seconds an accepted refund may wait to be sent.")
    hold_limit_s: float = Field(
        259_200.0, gt=0, description="Seconds a held batch waits for its release before it expires."
    )
    quote_ttl_s: float = Field(900.0, gt=0, description="Seconds a quote holds.")

    # Events
    webhook_timeout_s: float = Field(15.0, gt=0, description="Seconds a receiver of events may take to answer.")
    webhook_backoff_s: tuple[float, ...] = Field(
        (5.0, 30.0, 120.0, 600.0, 3_600.0, 10_800.0),
        min_length=1,
        description="Seconds before each further try of a delivery, as a JSON list; the last one repeats.",
    )
    webhook_give_up_s: float = Field(259_200.0, gt=0, description="Seconds a delivery is tried for.")
    webhook_disable_after_s: float = Field(
        432_000.0, gt=0, description="Seconds of nothing but failure after which an endpoint is disabled."
    )
    webhook_kept_s: float = Field(
        2_592_000.0, gt=0, description="Seconds a finished delivery is kept for looking up; its event stays for ever."
    )

    # Schedules
    reconciliation_cron: str = Field(
        "17 3 * * *",
        description="When every store is reconciled by default, as a cron expression in UTC; `off` for never. A store "
        "gets that schedule once, and keeps it changed, paused or deleted.",
    )

    # Limits
    body_limit_bytes: int = Field(262_144, gt=0, description="Bytes of a request body at most.")
    upload_limit_bytes: int = Field(
        16_777_216, gt=0, description="Bytes at most of a file: a batch, or an ERP's list for a reconciliation."
    )
    rate_limit: str = Field("600/minute", description="Requests per API key and process, e.g. `600/minute`.")
    inbound_retention_days: int = Field(
        30, ge=1, description="Days to keep what inbound messages said, and the notices of stores."
    )
    shutdown_grace_s: float = Field(
        20.0, ge=0, description="Seconds a stopping process gives its refunds before it hands them over."
    )

    # Telemetry
    log_format: Literal["json", "console"] = Field("json", description="How log lines are written to stderr.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="The least level written.")

    @field_validator("var")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().resolve()
