"""The command `refund-gateway`: every verb, and how each one ends (see `ends`)."""

import typer

from app.cli import batches, endpoints, inbound, keys, refunds, schedules, stores, tenants
from app.cli.demo import demo
from app.cli.doctor import doctor
from app.cli.endpoints import events
from app.cli.ends import EXIT_CODES
from app.cli.processes import migrate, sandbox, serve, worker
from app.cli.reconcile import export, reconcile

app = typer.Typer(
    name="refund-gateway",
    help="One truthful refund API over WooCommerce stores.\n\nSettings come from environment variables that begin with "
    "REFUND_GATEWAY_.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for run in (demo, serve, worker, migrate, sandbox, doctor, events, reconcile, export):
    app.command(epilog=EXIT_CODES)(run)
app.add_typer(tenants.app, name="tenant")
app.add_typer(stores.app, name="store")
app.add_typer(keys.app, name="key")
app.add_typer(refunds.app, name="refund")
app.add_typer(batches.app, name="batch")
app.add_typer(schedules.app, name="schedule")
app.add_typer(endpoints.app, name="endpoint")
app.add_typer(inbound.app, name="inbound")


def main() -> None:
    """Run the command line of this process."""
    app()
