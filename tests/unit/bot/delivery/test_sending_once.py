"""What is known of a message that was to go through a webhook when no answer came."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import discord
import pytest
from aiohttp import web

from bot.delivery.sending_once import OutcomeUnknownError, send_once

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
Serve = Callable[[Answer], Awaitable[list[str]]]


@pytest.fixture
async def serve(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Serve]:
    """Have a handler answer as Discord; returns what it was asked."""
    runners: list[web.AppRunner] = []

    async def begin(answer: Answer) -> list[str]:
        asked: list[str] = []

        async def handle(request: web.Request) -> web.StreamResponse:
            asked.append(request.path)
            return await answer(request)

        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handle)
        runner = web.AppRunner(app)
        await runner.setup()
        runners.append(runner)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        _, port = runner.addresses[0][:2]
        monkeypatch.setattr(discord.http.Route, "BASE", f"http://127.0.0.1:{port}")
        return asked

    yield begin
    for runner in runners:
        await runner.cleanup()


async def send() -> discord.WebhookMessage:
    async with aiohttp.ClientSession() as session:
        return await send_once(discord.Webhook.partial(1, "token", session=session), content="hi")


async def test_where_nothing_listens_nothing_was_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    monkeypatch.setattr(discord.http.Route, "BASE", f"http://127.0.0.1:{port}")
    with pytest.raises(aiohttp.ClientConnectorError) as raised:
        await send()
    assert not isinstance(raised.value, OutcomeUnknownError)


async def cut_off(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "999"})
    await response.prepare(request)
    await response.write(b'{"id": ')
    assert request.transport is not None
    await asyncio.sleep(0)
    request.transport.close()
    return response


async def no_answer(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.close()
    return web.Response()


async def gone_wrong(_request: web.Request) -> web.StreamResponse:
    return web.json_response({}, status=502)


@pytest.mark.parametrize("answer", [cut_off, no_answer, gone_wrong])
async def test_an_answer_that_is_lost_leaves_it_unknown_and_is_not_asked_for_again(
    serve: Serve, answer: Answer
) -> None:
    asked = await serve(answer)
    with pytest.raises(OutcomeUnknownError):
        await send()
    assert len(asked) == 1


async def test_a_refusal_is_known(serve: Serve) -> None:
    async def refuse(_request: web.Request) -> web.StreamResponse:
        return web.json_response({"code": 50013, "message": "no"}, status=403)

    await serve(refuse)
    with pytest.raises(discord.Forbidden):
        await send()
