"""Expected trouble ends with its code and one sentence, never with a traceback."""

import psycopg
import pytest

from tests.cli.conftest import Cli
from tests.conftest import free_port

_WITH_SEALER = ("store", "check", "--tenant", "acme", "--name", "shop")


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"REFUND_GATEWAY_SEALING_KEYS": ""}, "doctor --new-sealing-key"),
        ({"REFUND_GATEWAY_SEALING_KEYS": "k1:tooshort"}, "REFUND_GATEWAY_SEALING_KEYS"),
        ({"REFUND_GATEWAY_PORT": "http"}, "REFUND_GATEWAY_PORT"),
        ({"REFUND_GATEWAY_DATABASE_URL": "mysql://root:hunter2@db/x"}, "postgresql://"),
        (
            {"REFUND_GATEWAY_DATABASE_URL": f"postgresql://gw:hunter2@127.0.0.1:{free_port()}/gw"},
            "cannot be reached",
        ),
    ],
)
@pytest.mark.parametrize("verb", [_WITH_SEALER, ("serve",), ("worker",)])
def test_settings_that_are_not_right_exit_with_6(
    cli: Cli, verb: tuple[str, ...], environment: dict[str, str], said: str
) -> None:
    ran = cli(*verb, ok=False, **environment)
    assert (ran.code, ran.out) == (6, "")
    assert said in ran.err
    assert "hunter2" not in ran.err
    assert ran.err.count("\n") == 1


def test_an_empty_database_names_the_verb_that_fills_it(cli: Cli) -> None:
    with psycopg.connect(cli.environment["REFUND_GATEWAY_DATABASE_URL"], autocommit=True) as conn:
        conn.execute("DROP SCHEMA public CASCADE")
        conn.execute("CREATE SCHEMA public")
    ran = cli("tenant", "list", ok=False)
    assert ran.code == 6
    assert "refund-gateway migrate" in ran.err
    assert cli("migrate", "--json").json["applied"][-1] == "procrastinate"
    assert cli("migrate", "--json").json == {"applied": []}
    assert cli("tenant", "list", "--json").json == {"data": []}


def test_a_schema_of_another_program_is_refused(cli: Cli) -> None:
    with psycopg.connect(cli.environment["REFUND_GATEWAY_DATABASE_URL"], autocommit=True) as conn:
        conn.execute("UPDATE alembic_version SET version_num = '9999'")
    ran = cli("tenant", "list", ok=False)
    assert ran.code == 6
    assert "9999" in ran.err


def test_every_verb_explains_itself_and_its_exit_codes(cli: Cli) -> None:
    groups = {
        "tenant": "add list",
        "store": "add list check rotate disable policy capabilities",
        "key": "create list revoke",
        "refund": "preview create show list amend delete",
    }
    verbs = [(group, verb) for group, names in groups.items() for verb in names.split()]
    verbs += [(verb,) for verb in ("demo", "serve", "worker", "migrate", "sandbox", "doctor")]
    for verb in verbs:
        assert "Exit codes: 0 done" in cli(*verb, "--help").out


def test_wrong_usage_exits_with_2(cli: Cli) -> None:
    assert cli("refund", "list", ok=False).code == 2
    assert cli("nonsense", ok=False).code == 2
