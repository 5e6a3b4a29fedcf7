"""`python -m app.sandbox`: serve a practice store."""

import argparse
from pathlib import Path
from typing import get_args

from app.sandbox.main import run
from app.sandbox.model import Hpos, Installation


def main() -> None:
    """Serve a sandbox store as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m app.sandbox", description="A WooCommerce store to practise on.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8090)
    parser.add_argument("--database", type=Path, help="SQLite file; in memory without it")
    parser.add_argument("--public-url", help="the address that clients use, if it is another")
    parser.add_argument("--assume-https", action="store_true", help="take Basic credentials over plain HTTP")
    parser.add_argument("--tls-cert", type=Path)
    parser.add_argument("--tls-key", type=Path)
    parser.add_argument("--no-seed", action="store_true", help="start without example orders")
    parser.add_argument("--provider-delay", type=float, default=0.0, help="seconds the payment provider takes")
    parser.add_argument("--read-delay", type=float, default=0.0, help="seconds a read takes")
    parser.add_argument(
        "--legacy", action=argparse.BooleanOptionalAction, help="whether the plugin of /wc-api/v3 is installed"
    )
    parser.add_argument("--rest-v3", action=argparse.BooleanOptionalAction, help="whether /wp-json/wc/v3 is there")
    parser.add_argument("--hpos", choices=get_args(Hpos), help="orders in tables of their own, copied to posts or not")
    parser.add_argument("--woocommerce-version", metavar="VERSION", help="9.4.0 without it")
    parser.add_argument("--webhooks", action="store_true", help="send webhooks to whoever is registered for them")
    parser.add_argument("--log-level", default="info")
    arguments = parser.parse_args()
    installation: Installation = {}
    if arguments.legacy is not None:
        installation["legacy"] = arguments.legacy
    if arguments.rest_v3 is not None:
        installation["rest_v3"] = arguments.rest_v3
    if arguments.hpos is not None:
        installation["hpos"] = arguments.hpos
    if arguments.woocommerce_version is not None:
        installation["woocommerce_version"] = arguments.woocommerce_version
    run(
        arguments.host,
        arguments.port,
        arguments.database,
        public_url=arguments.public_url,
        assume_https=arguments.assume_https,
        tls_cert=arguments.tls_cert,
        tls_key=arguments.tls_key,
        seed=not arguments.no_seed,
        provider_delay_s=arguments.provider_delay,
        read_delay_s=arguments.read_delay,
        log_level=arguments.log_level,
        webhooks="on" if arguments.webhooks else "off",
        **installation,
    )


if __name__ == "__main__":
    main()
