"""Nonces of OAuth 1.0a requests, in the database so that every process of every machine knows them."""

from datetime import datetime, timedelta

from app.database import Connection


async def use(conn: Connection, key_id: str, nonce: str, sent_at: datetime) -> bool:
    """Take a nonce; False when a request of this key and time has used it before.

    Does not wait for the disk: losing the last moments in a crash of the database's machine would let a request of
    these moments in a second time, to join the first like any repetition.
    """
    cursor = await conn.execute(
        "WITH fast AS (SELECT set_config('synchronous_commit', 'off', true))"
        " INSERT INTO oauth_nonce (key_id, nonce, sent_at) SELECT %s, %s, %s FROM fast ON CONFLICT DO NOTHING",
        (key_id, nonce, sent_at),
    )
    return cursor.rowcount == 1


async def forget(conn: Connection, *, older_than: timedelta) -> int:
    """Forget the nonces of requests that would be refused for their time anyway; gives their number."""
    cursor = await conn.execute("DELETE FROM oauth_nonce WHERE sent_at < clock_timestamp() - %s", (older_than,))
    return cursor.rowcount
