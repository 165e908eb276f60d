"""What doctor says of settings that can't hold together, and of addresses that are none."""

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from bot.cli.doctor.finding import Finding
from bot.cli.doctor.machine import check_device
from bot.cli.doctor.models import check_models
from bot.cli.doctor.network import check_hugging_face
from bot.cli.doctor.settings import check_settings
from bot.cli.doctor.storage import check_database
from bot.config import (
    Config,
    DirectMessagesSettings,
    ModelsSettings,
    StorageSettings,
    WorkerSettings,
)
from generation.describing import DescribingSettings
from generation.engines.fake import READY, FakeEngine
from generation.hub import HuggingFaceSettings
from generation.messages import Ready
from generation.model_settings import ModelSettings
from generation.rules import Limits
from tests.fixtures.onnx_files import write_wd_tagger
from tests.fixtures.webui import running


async def findings(check: Any, **sections: Any) -> list[Finding]:
    config = Config(file=Path("config.toml"), **sections)
    return [finding async for finding in check(config) if finding.mend]


async def test_a_check_of_pictures_without_a_model() -> None:
    wanted = DirectMessagesSettings(picture_check="block")
    off = WorkerSettings(picture_check_model="off")
    [found] = await findings(check_settings, direct_messages=wanted, worker=off)
    assert found.fatal
    assert "picture_check_model" in found.mend
    assert await findings(check_settings) == []
    assert await findings(check_settings, worker=off) == []


async def test_a_program_that_is_away_is_said_and_doctor_goes_on() -> None:
    settings = WorkerSettings(engine="comfyui", address="http://127.0.0.1:1")
    async with asyncio.timeout(20):
        [found] = await findings(check_device, worker=settings)
    assert found.fatal
    assert "http://127.0.0.1:1" in found.mend


async def test_a_tagger_that_rates_pictures_checks_them(tmp_path: Path) -> None:
    wanted = DirectMessagesSettings(picture_check="block")
    [found] = await findings(check_models, direct_messages=wanted)
    assert found.fatal
    assert "models/wd14_tagger" in found.mend
    write_wd_tagger(tmp_path / "wd", side=8)
    models = ModelsSettings(folders=(tmp_path,))
    assert await findings(check_models, direct_messages=wanted, models=models) == []
    config = Config(file=Path("config.toml"), models=models)
    said = [finding.found async for finding in check_models(config)]
    assert "by wd" in said
    [check] = [line for line in said if "ratings of wd [" in line]
    digest = hashlib.sha256((tmp_path / "wd" / "model.onnx").read_bytes()).hexdigest()
    assert check == f"by the ratings of wd [{digest[:10]}]: explicit, questionable"
    off = WorkerSettings(picture_check_model="off")
    config = Config(file=Path("config.toml"), models=models, worker=off)
    said = [finding.found async for finding in check_models(config)]
    assert not any("ratings of" in line for line in said)


async def test_a_tagger_that_the_settings_name_in_vain() -> None:
    [found] = await findings(check_models, describing=DescribingSettings(tagger="nowhere"))
    assert "There is no tagger “nowhere”" in found.mend


async def test_a_check_of_pictures_whose_model_is_not_there(tmp_path: Path) -> None:
    worker = WorkerSettings(picture_check_model=str(tmp_path))
    [found] = await findings(check_settings, worker=worker)
    assert found.found == str(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_text("")
    assert await findings(check_settings, worker=worker) == []


@pytest.mark.parametrize("limits", [Limits(side=64), Limits(pixels=64 * 64)])
async def test_a_model_whose_own_size_is_more_than_the_limits_allow(limits: Limits) -> None:
    [found] = await findings(check_models, limits=limits)
    assert found.found.startswith("demo with a prompt alone: ")
    assert found.fatal
    assert await findings(check_models, limits=Limits()) == []


class Tuned(FakeEngine):
    """An engine that says how it computes."""

    async def start(self) -> Ready:
        return msgspec.structs.replace(
            READY, channels_last=True, remark="compile = true in [worker] does nothing: no compiler"
        )


async def test_what_is_done_to_draw_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.cli.doctor.machine.make_engines", lambda _config: {"main": Tuned()})
    found = {each.check: each for each in await findings(check_device)}
    assert found["speed"].found == "weights channels-last; denoisers not compiled"
    assert found["speed"].mend == "compile = true in [worker] does nothing: no compiler"
    assert not found["speed"].fatal
    monkeypatch.setattr(
        "bot.cli.doctor.machine.make_engines", lambda _config: {"main": FakeEngine()}
    )
    assert "speed" not in {each.check for each in await findings(check_device)}


async def test_an_address_that_is_none() -> None:
    endpoint = HuggingFaceSettings(endpoint="nonsense")
    [found] = await findings(check_hugging_face, huggingface=endpoint)
    assert found.mend.startswith("It is no address")


async def test_a_database_that_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "darkroom.sqlite3").mkdir()
    [found] = await findings(check_database, storage=StorageSettings(folder=tmp_path))
    assert "It is a folder: move it away" in found.mend


async def test_a_model_of_the_hub_that_is_not_there_yet() -> None:
    named = {"mine": ModelSettings(hub="acme/tiny")}
    models = ModelsSettings(settings=named, default="mine")
    found = await findings(check_models, models=models)
    [awaited] = [one for one in found if "hub = " in one.found]
    [default] = [one for one in found if "default = " in one.found]
    assert not awaited.fatal
    assert awaited.mend.endswith("at once: darkroom fetch acme/tiny")
    assert "It is not there yet" in default.mend
    offline = HuggingFaceSettings(offline=True)
    found = await findings(check_models, models=models, huggingface=offline)
    assert any("offline = true in [huggingface]" in one.mend for one in found)
    assert await findings(check_hugging_face, huggingface=offline) == []


async def test_a_token_that_the_hub_refuses() -> None:
    async def refuse(request: web.Request) -> web.Response:
        known = request.headers.get("Authorization") == "Bearer hf_known"
        return web.Response(status=200 if known or request.path == "/" else 401)

    app = web.Application()
    app.router.add_get("/{path:.*}", refuse)
    async with TestServer(app) as server:
        endpoint = str(server.make_url("/"))
        wrong = HuggingFaceSettings(endpoint=endpoint, token="hf_wrong")
        [found] = await findings(check_hugging_face, huggingface=wrong)
        assert (found.found, found.fatal) == ("wrong", False)
        assert "hf_wrong" not in str(found)
        right = HuggingFaceSettings(endpoint=endpoint, token="hf_known")
        assert await findings(check_hugging_face, huggingface=right) == []


async def test_a_webui_that_draws_here(tmp_path: Path) -> None:
    storage = StorageSettings(folder=tmp_path)
    async with running() as webui:
        worker = WorkerSettings(engine="webui", address=webui.address)
        settings = {"worker": worker, "storage": storage}
        assert await findings(check_device, **settings) == []
        webui.options["samples_format"] = "jpg"
        [found] = await findings(check_device, **settings)
        assert "File format for images" in found.mend
        webui.auth = "ada:secret"
        [found] = await findings(check_device, **settings)
        assert "WEBUI_AUTH=user:password" in found.mend
        webui.api = False
        [found] = await findings(check_device, **settings)
        assert "--api" in found.mend
    [found] = await findings(check_device, **settings)
    assert (found.check, found.fatal) == ("A1111's webui", True)
    assert found.mend.startswith(f"Start it at {webui.address}")
