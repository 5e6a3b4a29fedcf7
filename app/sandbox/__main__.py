"""`python -m app.sandbox`: serve a practice store."""

import argparse
from pathlib import Path

from app.sandbox.main import run


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
    parser.add_argument("--log-level", default="info")
    arguments = parser.parse_args()
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
    )


if __name__ == "__main__":
    main()
