"""How a verb ends: an exit code that means something, and one clear sentence on stderr."""

import asyncio
import subprocess
import sys
import traceback
from collections.abc import Callable, Coroutine
from enum import IntEnum
from functools import wraps
from typing import Any, NoReturn, ParamSpec

import psycopg
import typer

from app.crypto import CryptoError
from app.database import DatabaseUnavailable
from app.wiring import SealingKeysMissing

P = ParamSpec("P")


class Exit(IntEnum):
    """What a script can tell from the exit code."""

    OK = 0
    REFUSED = 1
    USAGE = 2
    NOT_FOUND = 3
    STORE = 4
    NOT_KNOWN = 5
    GATEWAY = 6
    DEFECT = 70  #: EX_SOFTWARE of sysexits.h: the only end with a traceback


#: Shown under every verb's help.
EXIT_CODES = (
    "Exit codes: 0 done; 1 refused or failed; 2 wrong usage; 3 not found; 4 the store is unavailable or misconfigured; "
    "5 the outcome is not known yet; 6 the gateway's settings or database are not right; 70 a defect of this program."
)


class Ended(Exception):
    """Ends the verb with a code; the message is written to stderr unless it is empty."""

    def __init__(self, code: Exit, message: str = "") -> None:
        """Keep the code."""
        super().__init__(message)
        self.code = code


def expected(error: Exception) -> Ended | None:
    """Give the end that an error of settings, keys or the database means; None when it is nobody's fault but ours."""
    match error:
        case Ended():
            return error
        case SealingKeysMissing() | DatabaseUnavailable():
            return Ended(Exit.GATEWAY, str(error))
        case CryptoError():
            return Ended(Exit.GATEWAY, f"REFUND_GATEWAY_SEALING_KEYS does not fit: {error}")
        case psycopg.errors.UndefinedTable() | psycopg.errors.UndefinedColumn():
            return Ended(Exit.GATEWAY, "The database's schema is not there yet: run `refund-gateway migrate`.")
        case psycopg.OperationalError():
            return Ended(Exit.GATEWAY, f"The database cannot be used: {one_line(error)}.")
        case subprocess.SubprocessError():
            return Ended(
                Exit.GATEWAY,
                "The embedded PostgreSQL could not be started; `postgres/log` under REFUND_GATEWAY_VAR says why.",
            )
        case OSError(strerror=str(reason)):
            return Ended(Exit.GATEWAY, f"{error.filename or 'The system'}: {reason}.")
        case _:
            return None


def one_line(error: BaseException) -> str:
    """Give an error's first line without the full stop; psycopg adds hints and libpq's history in further ones."""
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__).rstrip(".")


def end(error: Exception) -> NoReturn:
    """Write an error down and leave with its code."""
    ended = expected(error)
    if ended is None:
        traceback.print_exception(error)
        raise typer.Exit(Exit.DEFECT) from None
    if str(ended):
        typer.echo(f"refund-gateway: {ended}", err=True)
    raise typer.Exit(ended.code) from None


def verb(run: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Make a command of a coroutine: run it, and end it with the code and the sentence of what it raises."""

    @wraps(run)
    def command(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            asyncio.run(run(*args, **kwargs))
        except BrokenPipeError:
            # The reader (head, less) has seen enough; typer ends quietly.
            raise
        except Exception as error:
            end(error)

    return command


def plain_verb(run: Callable[P, None]) -> Callable[P, None]:
    """Do the same for a verb that brings its own event loop or needs none."""

    @wraps(run)
    def command(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            run(*args, **kwargs)
        except (BrokenPipeError, typer.Exit):
            raise
        except Exception as error:
            end(error)

    return command


def is_interactive() -> bool:
    """Say whether a person can be asked something."""
    return sys.stdin is not None and sys.stdin.isatty()
