"""What the check says of a user of ClickHouse who lacks rights: on a real server whose users have few."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from activities.contract import Health, Heartbeat
from activities.errors import CriticalError
from activities.stores.clickhouse.connection import ClickHouseSettings, connect
from activities.stores.clickhouse.data_map import ClickHouseMap
from activities.stores.clickhouse.store import ClickHouseStore
from devstack.clickhouse import ClickHouse

MAP = {"people": {"email": "email"}, "keyed": {"email": "email"}}

USER = """<{name}><password>secret</password><networks><ip>127.0.0.1</ip></networks><profile>default</profile>
<quota>default</quota><grants>{grants}</grants></{name}>"""

OWN = "SELECT, INSERT, CREATE TABLE, DROP TABLE ON crowd.erasure_*"
REWRITTEN = "INSERT, CREATE TABLE, DROP TABLE, ALTER SETTINGS, ALTER DELETE, ALTER MOVE PARTITION ON crowd.keyed"
ENOUGH = [OWN, "SELECT ON crowd.*", "SELECT ON system.*", "ALTER UPDATE ON crowd.people", "ALTER UPDATE ON crowd.keyed"]

GRANTS = {
    "enough": [*ENOUGH, REWRITTEN],
    "reader": ["SELECT ON crowd.*", "SELECT ON system.*"],
    "masker": ENOUGH,
}


class WithUsers(ClickHouse):
    """A server with users of few rights."""

    def command(self) -> list[str]:
        """Adds them to the server's users."""
        command = super().command()
        users = self.folder / "users.xml"
        made = "".join(
            USER.format(name=name, grants="".join(f"<query>GRANT {grant}</query>" for grant in grants))
            for name, grants in GRANTS.items()
        )
        users.write_text(users.read_text().replace("<users>", f"<users>{made}"))
        return command


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WithUsers]:
    clickhouse = WithUsers(tmp_path_factory.mktemp("clickhouse"), tied=True)
    clickhouse.start()
    yield clickhouse
    clickhouse.stop()


async def probe(server: ClickHouse, user: str, heartbeat: Heartbeat, password: str = "secret") -> Health:
    settings = ClickHouseSettings(url=server.env["ERASURE_CLICKHOUSE__URL"], database="crowd")
    async with connect(settings.model_copy(update={"database": "default"})) as admin:
        await admin.execute("CREATE DATABASE IF NOT EXISTS crowd")
        await admin.execute("CREATE TABLE IF NOT EXISTS crowd.people (email String) ENGINE = MergeTree ORDER BY ()")
        await admin.execute("CREATE TABLE IF NOT EXISTS crowd.keyed (email String) ENGINE = MergeTree ORDER BY email")
    as_user = settings.model_copy(update={"user": user, "password": SecretStr(password)})
    async with connect(as_user) as client:
        return await ClickHouseStore(client, ClickHouseMap.model_validate(MAP), heartbeat).probe()


async def test_a_user_with_just_what_is_needed_passes(server: WithUsers, heartbeat: Heartbeat) -> None:
    health = await probe(server, "enough", heartbeat)
    assert (health.problems, health.notes) == ([], [])


async def test_each_right_that_is_missing_is_named_by_table_with_its_grant(
    server: WithUsers, heartbeat: Heartbeat
) -> None:
    assert {problem.place: problem.what for problem in (await probe(server, "masker", heartbeat)).problems} == {
        "keyed": f"the user lacks {REWRITTEN.partition(' ON ')[0]}"
    }
    problems = {problem.place: problem for problem in (await probe(server, "reader", heartbeat)).problems}
    assert set(problems) == {"erasure_*", "people", "keyed"}
    assert problems["people"].what == "the user lacks ALTER UPDATE"
    assert problems["people"].remedy == "GRANT ALTER UPDATE ON `crowd`.`people`."
    assert problems["erasure_*"].what == "the user lacks INSERT, CREATE TABLE, DROP TABLE"


async def test_a_wrong_password_is_told_from_a_missing_right(server: WithUsers, heartbeat: Heartbeat) -> None:
    with pytest.raises(CriticalError, match="the login is refused") as raised:
        await probe(server, "enough", heartbeat, "another-secret")
    assert "another-secret" not in str(raised.value)
