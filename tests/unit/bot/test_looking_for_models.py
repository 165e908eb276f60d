"""When the bot looks for models, and what waits for it."""

import asyncio
import gc
from types import SimpleNamespace
from typing import Any

import pytest

from bot import app
from generation.catalog import Catalog
from tests.unit.generation.catalogs import a_catalog


class Workers:
    """Notes when they begin and end."""

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.stopped = False

    async def run(self) -> None:
        self.began.set()

    async def stop(self) -> None:
        self.stopped = True


def a_studio(catalog: Catalog) -> Any:
    return SimpleNamespace(catalog=catalog, workers=Workers())


async def test_drawing_begins_when_the_models_are_known() -> None:
    studio = a_studio(Catalog(()))
    prepared = asyncio.Event()
    preparing = asyncio.ensure_future(prepared.wait())
    working = asyncio.create_task(app._work(studio, preparing))
    await asyncio.sleep(0.1)
    assert not studio.workers.began.is_set()
    await studio.catalog.scan()
    await asyncio.sleep(0.1)
    assert not studio.workers.began.is_set()
    prepared.set()
    await working
    assert studio.workers.began.is_set()
    assert studio.workers.stopped


async def test_drawing_does_not_wait_for_a_drive_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "MODELS_WAIT", 0.05)
    studio = a_studio(Catalog(()))
    await app._work(studio, asyncio.ensure_future(asyncio.sleep(0)))
    assert studio.workers.began.is_set()


async def test_a_scan_that_fails_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "RESCAN_SECONDS", 0.01)
    monkeypatch.setattr(app, "RESCAN_SHARE", 0.0)
    scans: list[int] = []

    async def scan() -> None:
        scans.append(len(scans))
        if len(scans) < 3:
            raise OSError("the drive is away")

    studio = a_studio(a_catalog())
    studio.catalog.scan = scan
    looking = asyncio.create_task(app._scan(studio))
    while len(scans) < 5:
        await asyncio.sleep(0.01)
    looking.cancel()


async def test_what_start_up_has_left_is_kept_out_of_collections() -> None:
    client: Any = SimpleNamespace(registered=asyncio.Event())
    catalog = Catalog(())
    keeping = asyncio.create_task(app._keep_out_of_collections(client, catalog))
    before = gc.get_freeze_count()
    try:
        client.registered.set()
        await asyncio.sleep(0.05)
        assert gc.get_freeze_count() == before, "the models are not known yet"
        await catalog.scan()
        await keeping
        assert gc.get_freeze_count() > before
    finally:
        gc.unfreeze()
