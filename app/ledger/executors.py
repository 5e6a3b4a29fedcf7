"""The processes at work, and the leases that show which refunds are in living hands."""

from datetime import datetime, timedelta

from app.database import Connection


async def beat(conn: Connection, executor_id: str, *, works: bool, lease: timedelta) -> None:
    """Show that a process lives: its own row, and the lease of every refund it has in hand."""
    await conn.execute(
        "INSERT INTO executor (id, works) VALUES (%s, %s) ON CONFLICT (id) DO UPDATE SET seen_at = now()",
        (executor_id, works),
    )
    await conn.execute(
        "UPDATE refund SET lease_until = now() + %s WHERE executor = %s AND lease_until > now()"
        " AND status IN ('pending', 'sending')",
        (lease, executor_id),
    )


async def let_go(conn: Connection, executor_id: str) -> None:
    """Free the refunds that a stopping process has in hand but has not sent, for any worker to go on with."""
    await conn.execute(
        "UPDATE refund SET lease_until = NULL, due_at = clock_timestamp(), fence = fence + 1"
        " WHERE executor = %s AND status = 'pending' AND lease_until IS NOT NULL",
        (executor_id,),
    )


async def leave(conn: Connection, executor_id: str) -> None:
    """Forget a process that stopped in good order."""
    await conn.execute("DELETE FROM executor WHERE id = %s", (executor_id,))


async def forget(conn: Connection, *, unseen_for: timedelta) -> None:
    """Forget processes that have shown no sign of life for so long."""
    await conn.execute("DELETE FROM executor WHERE seen_at < now() - %s", (unseen_for,))


async def worker_seen_at(conn: Connection) -> datetime | None:
    """Say when a process that runs jobs was last seen; None when none ever was."""
    row = await (await conn.execute("SELECT max(seen_at) AS seen_at FROM executor WHERE works")).fetchone()
    return None if row is None else row["seen_at"]


async def workers_alive(conn: Connection, *, within: timedelta) -> int:
    """Count the processes that run jobs and have shown a sign of life lately."""
    row = await (
        await conn.execute("SELECT count(*) AS alive FROM executor WHERE works AND seen_at > now() - %s", (within,))
    ).fetchone()
    return 0 if row is None else int(row["alive"])
