"""What stands where a ComfyUI or a webui should: proxies with login pages, answers without end."""

import asyncio
import io
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from PIL import Image

from generation.comfyui.server import ComfyUIServer
from generation.programs import pictures
from generation.programs import web as answers
from generation.programs.faults import EndedError, ServerError
from generation.webui.server import WebuiServer

Server = ComfyUIServer | WebuiServer
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def answering(answer: Answer) -> AsyncIterator[str]:
    """Something that answers all requests alike, at this address."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://ada:s3cret@127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def said_of(kind: type[Server], address: str) -> str:
    """The sentence of whoever asks it what it is."""
    server = kind(address)
    try:
        with pytest.raises(ServerError) as caught:
            async with asyncio.timeout(20):
                await server.about()
    finally:
        await server.close()
    assert "s3cret" not in str(caught.value)
    return str(caught.value)


KINDS = pytest.mark.parametrize("kind", [ComfyUIServer, WebuiServer])


@KINDS
async def test_a_login_page_is_no_answer(kind: type[Server]) -> None:
    async def page(_: web.Request) -> web.Response:
        return web.Response(text="<!doctype html><form>Sign in", content_type="text/html")

    async with answering(page) as address:
        assert "answered by a page for people" in await said_of(kind, address)


@KINDS
async def test_nothing_is_asked_where_it_leads_to(kind: type[Server]) -> None:
    """Prompts, pictures and passwords are for the address that its owner named."""
    led = []

    async def elsewhere(request: web.Request) -> web.Response:
        led.append(request.path)
        return web.json_response({})

    async with answering(elsewhere) as other:

        async def leads(_: web.Request) -> web.Response:
            raise web.HTTPTemporaryRedirect(f"{other}/login?next=/")

        async with answering(leads) as address:
            assert "leads to http://127.0.0.1: name the address" in await said_of(kind, address)
    assert led == []


@KINDS
async def test_an_answer_without_end_is_left(
    kind: type[Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "ANSWER_BYTES", 2**20)

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        while True:
            await response.write(b'["' + b"x" * 2**16)
            await asyncio.sleep(0)

    async with answering(endless) as address:
        assert "an answer has more than 1 MiB" in await said_of(kind, address)


@KINDS
@pytest.mark.parametrize("text", ['{"system": {"comfyui_ver', "[" * 100_000, "\0", "null", "[]"])
async def test_half_an_answer_is_none(kind: type[Server], text: str) -> None:
    async def half(_: web.Request) -> web.Response:
        return web.Response(text=text, content_type="application/json")

    async with answering(half) as address:
        assert await said_of(kind, address)


@KINDS
async def test_the_password_in_an_address_is_said_to_it_alone(kind: type[Server]) -> None:
    heard = []

    async def hears(request: web.Request) -> web.Response:
        heard.append(request.headers.get("Authorization"))
        return web.json_response({})

    async with answering(hears) as address:
        await said_of(kind, address)
        assert kind(f"{address}/").address == address.replace("ada:s3cret@", "")
    assert heard == ["Basic YWRhOnMzY3JldA=="]


def bomb(side: int) -> bytes:
    """A PNG of few bytes and many pixels."""
    file = io.BytesIO()
    Image.new("1", (8, 8)).save(file, "PNG")
    content = bytearray(file.getvalue())
    content[16:24] = side.to_bytes(4) * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4)
    return bytes(content)


@pytest.mark.parametrize("content", [bomb(2**13 + 1), b"", b"<html>", b"%!PS-Adobe-3.0 EPSF-3.0\n"])
def test_what_is_no_picture_or_too_large_a_one_is_not_opened(content: bytes) -> None:
    with pytest.raises(EndedError) as caught:
        pictures.drawn(content)
    assert "no picture came" in caught.value.detail
