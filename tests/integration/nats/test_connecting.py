"""Who may connect and how: by NATS' own means, each said in one sentence where it can't be."""

import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bot.cli.doctor.hosts import check_hosts
from bot.config import Config
from generation.messaging import connection as connecting
from generation.messaging.connection import NatsError, connected
from generation.messaging.settings import NatsSettings
from tests.fixtures.nats_accounts import accounts
from tests.integration.nats.conftest import Stage
from tests.nats_server import NatsServer, running

PROJECT = Path(__file__).parents[3]
TLS = Path(__file__).parents[2] / "data" / "tls"
SEED = "SUAAAAICAMCAKBQHBAEQUCYMBUHA6EARCIJRIFIWC4MBSGQ3DQOR4H776Y"
PUBLIC = "UAB2CB576PHBBPQ5ODORRZ2LYCMWPZGWGCN2KDK7DXOIMZASKUY3RLKK"
SERVERS = {
    "user": 'authorization { user: "darkroom", password: "a secret" }',
    "token": 'authorization { token: "a-token" }',
    "nkey": f'authorization {{ users: [ {{ nkey: "{PUBLIC}" }} ] }}',
    "tls": f'tls {{ cert_file: "{TLS}/server.pem", key_file: "{TLS}/server.key" }}',
}


def rights(folder: Path) -> dict[str, dict[str, Any]]:
    seed = folder / "worker.nk"
    seed.write_text(SEED)
    return {
        "user": {"user": "darkroom", "password": "a secret"},
        "token": {"token": "a-token"},
        "nkey": {"nkey": seed},
        "tls": {"tls_ca": TLS / "ca.pem"},
    }


@pytest.fixture
async def server(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[NatsServer]:
    with running(tmp_path / "nats", SERVERS[request.param]) as started:
        yield started


@pytest.mark.parametrize("server", list(SERVERS), indirect=True)
async def test_who_may_does_and_who_may_not_is_told_so(
    server: NatsServer, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    way = request.node.callspec.params["server"]
    scheme = "tls" if way == "tls" else "nats"
    url = server.url.replace("nats://", f"{scheme}://")
    settings = NatsSettings(url=url, **rights(tmp_path)[way])
    async with connected(settings, "a test", waits=False) as connection:
        await connection.prepare()
        await connection.hosts.put("attic", b"beat")
    with pytest.raises(NatsError, match="can't be used"):
        async with connected(NatsSettings(url=url), "a test", waits=False):
            pass


async def test_an_account_s_credentials_file_is_enough(tmp_path: Path) -> None:
    file = tmp_path / "attic.creds"
    with running(tmp_path / "nats", accounts(file)) as server:
        settings = NatsSettings(url=server.url, credentials=file)
        async with connected(settings, "a test", waits=False) as connection:
            await connection.prepare()
            await connection.hosts.put("attic", b"beat")
        with pytest.raises(NatsError, match="can't be used"):
            async with connected(NatsSettings(url=server.url), "a test", waits=False):
                pass


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("-m", "generation.runtime", "--nats", "10.0.0.5"), "no address of NATS"),
        (("-m", "generation.runtime", "--nats", "nats://a:1", "--name", "the attic"), "`name`"),
        (("-m", "bot", "worker"), "--nats nats://HOST:4222"),
        (("-m", "bot", "worker", "--nats", "nats://a:1", "--name", "a.b"), "`name`"),
    ],
)
def test_a_wrong_command_is_told_in_a_sentence(arguments: tuple[str, ...], said: str) -> None:
    ended = subprocess.run(
        [sys.executable, *arguments], cwd=PROJECT, capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 2
    assert said in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


async def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    settings = NatsSettings(url="nats://127.0.0.1:1", tls_ca=tmp_path / "none.pem")
    with pytest.raises(NatsError, match=r"none\.pem"):
        async with connected(settings, "a test"):
            pass


async def test_a_missing_library_is_named_with_what_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "nats", None)
    with pytest.raises(NatsError, match=r"pip install"):
        async with connected(NatsSettings(url="nats://127.0.0.1:1"), "a test"):
            pass


@pytest.mark.parametrize(
    ("settings", "wrong"),
    [
        (NatsSettings(url="10.0.0.5:4222"), "url"),
        (NatsSettings(url="nats://a:4222, http://b"), "url"),
        (NatsSettings(url="nats://a:4222", name="the attic"), "name"),
        (NatsSettings(url="nats://a:4222", tls_key=Path("key.pem")), "tls_cert"),
        (NatsSettings(url="nats://me:secret@a:4222,tls://b:4222", name="attic-1"), ""),
    ],
)
def test_settings_that_can_t_hold(settings: NatsSettings, wrong: str) -> None:
    assert (f"`{wrong}`" in settings.problem()) if wrong else not settings.problem()
    assert "secret" not in settings.shown


async def test_doctor_says_what_it_finds(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connecting, "CONNECT_SECONDS", 1.0)
    config = Config(file=tmp_path / "config.toml", nats=stage.settings)
    said = [str(finding) for finding in [one async for one in check_hosts(config)]]
    assert any("answers, with JetStream" in line for line in said)
    assert any("none" in line for line in said)
    await stage.bot()
    stage.host("attic")
    await stage.there("attic")
    said = [str(finding) for finding in [one async for one in check_hosts(config)]]
    assert any("attic on " in line and "no device" in line for line in said)
    stage.server.stop()
    [line] = [str(finding) for finding in [one async for one in check_hosts(config)]]
    assert line.startswith("note")
    assert "can't be used" in line
