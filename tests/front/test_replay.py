"""The front answers every recorded exchange as the real store did, but for a listed set of deliberate refusals."""

import asyncio
from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest
from pydantic import SecretStr

from app.ledger.tenants import FrontOptions
from app.sandbox.main import DEFAULT_KEYS
from app.sandbox.main import create_app as create_sandbox
from app.settings import Settings
from app.wiring import open_runtime
from tests.conftest import SEALING_KEYS, add_shop, serving
from tests.front.conftest import add_key, application
from tests.front.deliberate import DELIBERATE
from tests.front.replay import FrontReplay, differences, is_set_up, played
from tests.sandbox.replay import KEYS, Exchange, exchanges

#: How many exchanges there are, so that none is lost without a word.
OF_REFUNDS, PLAYED = 208, 250
READS = frozenset({"orders", "products", "customers", "payment_gateways", "settings"})


@pytest.fixture(scope="module")
def replay(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontReplay]:
    """Play everything once, for every test of this module."""
    name = f"replay_{uuid4().hex}"
    with psycopg.connect(postgres, autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE {name} TEMPLATE ledger_template STRATEGY file_copy")
    settings = Settings(
        var=tmp_path_factory.mktemp("var"), sealing_keys=SecretStr(SEALING_KEYS), allow_private_stores=True
    )
    yield asyncio.run(_played(settings, postgres.replace("/postgres?", f"/{name}?")))
    with psycopg.connect(postgres, autocommit=True) as conn:
        conn.execute(f"DROP DATABASE {name} WITH (FORCE)")


async def _played(settings: Settings, database_url: str) -> FrontReplay:
    sandbox = create_sandbox(keys=(*KEYS, *DEFAULT_KEYS), seed=False)
    async with (
        serving(sandbox) as store_url,
        open_runtime(settings, works=False, url=database_url) as rt,
        serving(application(rt)) as url,
    ):
        shop = await add_shop(rt, store_url)
        options = FrontOptions(reads=READS, wait_s=1.0)
        await add_key(rt, shop.tenant_id, options=options, named=("ck_READ_WRITE", "cs_READ_WRITE"))
        reading = ("refunds:read", "orders:read", "stores:read")
        await add_key(rt, shop.tenant_id, scopes=reading, options=options, named=("ck_READ_ONLY", "cs_READ_ONLY"))
        replay = FrontReplay(sandbox, site=f"{url}/stores/demo")
        await replay.run()
        return replay


@pytest.mark.parametrize(
    ("file", "position", "exchange"),
    [pytest.param(*each, id=f"{each[0]}-{each[1]}-{each[2]['name']}") for each in played()],
)
def test_a_recorded_exchange_is_answered_as_recorded_or_deliberately_not(
    replay: FrontReplay, file: str, position: int, exchange: Exchange
) -> None:
    ours = replay.answers[file, position]
    deliberate = DELIBERATE.get((file, exchange["name"]))
    if deliberate is None:
        assert list(differences(exchange, ours)) == []
    else:
        assert (ours.status, ours.code) == (deliberate.status, deliberate.code), deliberate.why
        assert list(differences(exchange, ours)) != [], "This is answered as recorded; it need not be listed."


def test_every_recorded_exchange_is_played_and_every_deliberate_answer_is_to_one_of_them() -> None:
    names = [(file, exchange["name"]) for file, _, exchange in played()]
    of_refunds = [exchange for _, _, exchange in exchanges() if "/refunds" in exchange["request"]["path"]]

    assert not [exchange for exchange in of_refunds if is_set_up(exchange)]
    assert (len(of_refunds), len(played())) == (OF_REFUNDS, PLAYED)
    # One name for several exchanges would let a slip hide behind a deliberate answer.
    assert {one: names.count(one) for one in DELIBERATE} == dict.fromkeys(DELIBERATE, 1)


def test_the_replay_has_an_answer_for_each_of_them(replay: FrontReplay) -> None:
    assert replay.answers.keys() == {(file, position) for file, position, _ in played()}
