"""Machines that say what is no message, or what is not theirs to say: the others draw on."""

import asyncio
import base64
from typing import Any

import msgspec
import pytest

from generation.job import JobState
from generation.messaging import connection, wire
from generation.messaging.wire import Beat, HostReply
from tests.integration.nats.conftest import Stage
from tests.patience import PATIENCE

DEEP = b"\x82\xa5order\xa1x\xa1z" + b"\x91" * 200_000 + b"\xc0"
"""A message that is nested beyond measure where nobody reads it."""
GARBAGE = (b"", b"\xff" * 100, b"null", DEEP, msgspec.msgpack.encode({"order": 3}))


async def bound(stage: Stage) -> Any:
    """The bot's connection."""
    async with asyncio.timeout(PATIENCE):
        while (found := stage.fleet._exchange.connection) is None:
            await asyncio.sleep(0.05)
    return found


@pytest.mark.parametrize("said", GARBAGE)
async def test_a_host_that_says_what_is_no_message_keeps_nobody_from_drawing(
    stage: Stage, said: bytes
) -> None:
    await stage.bot()
    nats = await bound(stage)
    await nats.hosts.put("aaa", said)
    await nats.drivers.put("attic", said)
    stage.host("attic")
    await stage.there("attic")
    for subject in (wire.results_of, wire.progress_of):
        await nats.client.publish(subject(nats_session := stage.fleet._exchange.session, "x"), said)
    await nats.client.publish(wire.wanted_of(nats_session), said)
    await nats.client.publish(wire.control_of("attic"), said)
    await nats.stream.publish(wire.jobs_of("attic"), said)
    job = await stage.finished(await stage.ask())
    assert job.attempts == 1


async def test_a_host_speaks_for_itself_alone(stage: Stage) -> None:
    """Its name becomes a part of subjects, and of the name of a file at the bot's."""
    await stage.bot()
    stage.host("attic")
    await stage.there("attic")
    nats = await bound(stage)
    key = "$KV.darkroom_hosts.attic"
    beat: Beat = wire.unpack((await nats.hosts.get("attic")).value, Beat)
    for number, name in enumerate(("../../escaped", "attic", ">", "cellar\n")):
        lying = msgspec.structs.replace(beat, name=name, run="x", schema="another")
        await nats.stream.publish(key.replace("attic", f"liar-{number}"), wire.pack(lying))
    nats_heard = stage.fleet._told
    async with asyncio.timeout(PATIENCE):
        while len([name for name in nats_heard if name.startswith("liar")]) < 4:
            await asyncio.sleep(0.05)
    assert set(stage.fleet._states) == {"attic"}
    assert (await stage.finished(await stage.ask())).state is JobState.FINISHED
    assert not [*stage.folder.rglob("*escaped*")]


async def test_what_lies_in_the_object_store_is_not_believed(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stage.bot()
    nats = await bound(stage)
    store, name = nats.pictures, base64.urlsafe_b64encode(b"x").decode()
    for key in (name, "not-base64", base64.urlsafe_b64encode(b"\xff").decode()):
        await nats.stream.publish(f"$O.{wire.PICTURES}.M.{key}", b'{"name": "x", "nuid": "y"}')
    names = await nats.picture_names()
    assert "x" in names
    for body in (b"", b"null", b'{"name": "x"}', b'{"name": "x", "nuid": "y", "size": "z"}'):
        await nats.stream.publish(f"$O.{wire.PICTURES}.M.{name}", body)
        monkeypatch.setattr(connection, "CHUNKS_SECONDS", 0.3)
        with pytest.raises((connection.GoneError, *connection.errors())):
            await nats.get(store, "x", "0" * 64)
    monkeypatch.setattr(connection, "CHUNKS_SECONDS", 30.0)
    monkeypatch.setattr(connection, "OBJECT_BYTES", 2**20)
    await store.put("large", b"\0" * (2**20 + 1))
    with pytest.raises(connection.GoneError, match="more than 1 MiB"):
        await nats.get(store, "large", "0" * 64)


async def test_a_reply_that_is_none_of_the_order_ends_that_job_alone(stage: Stage) -> None:
    await stage.bot()
    engine = stage.host("attic")
    await stage.there("attic")
    nats, exchange = await bound(stage), stage.fleet._exchange
    engine.gate = asyncio.Event()
    number = await stage.ask()
    async with asyncio.timeout(PATIENCE):
        while not engine.began:
            await asyncio.sleep(0.05)
    [order] = exchange._heard
    beat: Beat = wire.unpack((await nats.hosts.get("attic")).value, Beat)
    reply = HostReply(order, beat.run, 99, DEEP)
    await nats.stream.publish(wire.results_of(exchange.session, order), wire.pack(reply))
    assert (await stage.ended(number)).state is JobState.FAILED
    engine.gate.set()
    await stage.finished(await stage.ask())
