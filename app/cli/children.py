"""Processes that live and die with the demo."""

import asyncio
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

_LAST_LINE_BYTES = 4_000


@dataclass(slots=True)
class Child:
    """A verb of this command in a process of its own; what it writes goes to a file.

    Its standard input is the other end of a pipe that we hold, so that it stops even when we are killed. It has a
    session of its own, so that Ctrl-C reaches only us and the order of stopping is ours.
    """

    name: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    process: asyncio.subprocess.Process | None = field(default=None, init=False)

    async def start(self) -> None:
        """Start it, or start it again."""
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                "-m",
                "app.cli",
                *self.arguments,
                "--until-input-ends",
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=dict(self.environment),
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Give its process id."""
        assert self.process is not None
        return self.process.pid

    @property
    def runs(self) -> bool:
        """Say whether it is alive."""
        return self.process is not None and self.process.returncode is None

    async def ended(self) -> int:
        """Wait until it ends and give its exit code; minus the signal's number if it was killed."""
        assert self.process is not None
        return await self.process.wait()

    async def stop(self, *, within_s: float) -> None:
        """Ask it to stop, and end it when it takes too long."""
        if self.process is None or not self.runs:
            return
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        with suppress(TimeoutError):
            await asyncio.wait_for(self.process.wait(), within_s)
        self.kill()
        await self.process.wait()

    def kill(self) -> None:
        """End it at once."""
        if self.process is not None and self.runs:
            with suppress(ProcessLookupError):
                self.process.kill()

    def last_words(self) -> str:
        """Give the last line that it wrote, "" when it wrote nothing."""
        with suppress(OSError), self.log.open("rb") as log:
            log.seek(max(0, self.log.stat().st_size - _LAST_LINE_BYTES))
            lines = log.read().decode(errors="replace").strip().splitlines()
            return lines[-1].strip() if lines else ""
        return ""
