"""However malformed a request, it is refused with an answer, never with a crash."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from playground.control import Control, Person

from .conftest import Rest

Json = dict[str, Any]

ODD: list[Any] = [None, True, -1, 1.5, "", "odd", [], {}, [None], [5], {"id": {}}, "9" * 400]

MESSAGE: Json = {
    "content": "x",
    "flags": 0,
    "nonce": "n",
    "enforce_nonce": False,
    "tts": False,
    "message_reference": {"message_id": "1", "fail_if_not_exists": False},
    "allowed_mentions": {"parse": ["users"], "roles": ["1"], "replied_user": True},
    "attachments": [{"id": "123456789012345678", "filename": "x"}],
    "embeds": [
        {
            "title": "x",
            "timestamp": "2026-01-01T00:00:00+00:00",
            "color": 1,
            "footer": {"text": "x"},
            "image": {"url": "https://x.test/y.png"},
            "fields": [{"name": "x", "value": "y", "inline": True}],
        }
    ],
    "components": [
        {"type": 1, "components": [{"type": 2, "style": 1, "custom_id": "a", "label": "x"}]},
        {
            "type": 1,
            "components": [
                {"type": 3, "custom_id": "s", "options": [{"label": "x", "value": "y"}]}
            ],
        },
    ],
}
LAYOUT: Json = {
    "flags": 1 << 15,
    "components": [
        {
            "type": 17,
            "accent_color": 1,
            "components": [
                {"type": 10, "content": "x"},
                {
                    "type": 9,
                    "components": [{"type": 10, "content": "x"}],
                    "accessory": {"type": 11, "media": {"url": "https://x.test/y.png"}},
                },
                {"type": 12, "items": [{"media": {"url": "https://x.test/y.png"}}]},
                {"type": 14, "divider": True, "spacing": 1},
            ],
        }
    ],
}
COMMAND: Json = {
    "name": "draw",
    "description": "x",
    "type": 1,
    "name_localizations": {"de": "male"},
    "default_member_permissions": "8",
    "contexts": [0],
    "integration_types": [0],
    "nsfw": False,
    "options": [
        {
            "type": 3,
            "name": "a",
            "description": "x",
            "required": True,
            "choices": [{"name": "x", "value": "y"}],
        },
        {"type": 4, "name": "b", "description": "x", "min_value": 1, "max_value": 5},
        {"type": 3, "name": "c", "description": "x", "autocomplete": True, "max_length": 5},
    ],
}
MODAL: Json = {
    "type": 9,
    "data": {
        "custom_id": "m",
        "title": "M",
        "components": [
            {
                "type": 1,
                "components": [{"type": 4, "custom_id": "t", "style": 1, "label": "T"}],
            },
            {
                "type": 18,
                "label": "L",
                "component": {
                    "type": 3,
                    "custom_id": "s",
                    "min_values": 1,
                    "options": [{"label": "x", "value": "y"}],
                },
            },
            {"type": 10, "content": "x"},
        ],
    },
}


def mutations(body: Any) -> Iterator[Any]:
    """The body with one part at a time replaced by each odd value, or taken away."""
    for path in list(_paths(body)):
        for odd in ODD:
            changed = copy.deepcopy(body)
            place = changed
            for key in path[:-1]:
                place = place[key]
            place[path[-1]] = odd
            yield changed
        if isinstance(path[-1], str):
            changed = copy.deepcopy(body)
            place = changed
            for key in path[:-1]:
                place = place[key]
            del place[path[-1]]
            yield changed


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _paths(inner, (*path, key))


@pytest.fixture(autouse=True)
async def unlimited(control: Control) -> None:
    await control.limits(enabled=False)


async def check(rest: Rest, method: str, path: str, body: Any) -> int:
    answer = await rest.call(method, path, body)
    assert answer.status < 500, body
    if answer.status >= 400:
        assert {"message", "code"} <= answer.body.keys(), body
    return answer.status


@pytest.mark.parametrize("body", [MESSAGE, LAYOUT], ids=["message", "layout"])
async def test_messages(rest: Rest, general: str, body: Json, ada: Person) -> None:
    path = f"/channels/{general}/messages"
    made = await rest.call("POST", path, body)
    assert made.status == 200, made.body
    statuses = set()
    for odd in mutations(body):
        statuses.add(await check(rest, "POST", path, odd))
        statuses.add(await check(rest, "PATCH", f"{path}/{made.body['id']}", odd))
    assert statuses == {200, 400}
    # and whatever was taken can be shown
    assert await ada.messages("general")


async def test_commands(rest: Rest) -> None:
    path = f"/applications/{rest.addresses.application_id}/commands"
    assert await check(rest, "PUT", path, [COMMAND]) == 200
    for odd in mutations([COMMAND]):
        await check(rest, "PUT", path, odd)
    for odd in ODD:
        await check(rest, "PUT", path, odd)
        await check(rest, "POST", path, odd)


@pytest.mark.slow
async def test_callbacks(rest: Rest, ada: Person) -> None:
    path = f"/applications/{rest.addresses.application_id}/commands"
    await rest.call("PUT", path, [{"name": "go", "description": "x"}])
    for body in (MODAL, {"type": 4, "data": {"content": "x", "flags": 64}}):
        for odd in [body, *mutations(body)]:
            act = await ada.command("general", "go")
            path = f"/interactions/{act.id}/{act.token}/callback"
            status = await check(rest, "POST", path, odd)
            assert status == 204 or odd is not body


async def test_queries(rest: Rest, general: str, guild: str, ada: Person) -> None:
    said = await ada.say("general", "x")
    for odd in ("", "x", "-1", "1e3", "9" * 400, "٣"):
        for path in (
            f"/channels/{general}/messages?limit={odd}",
            f"/channels/{general}/messages?before={odd}",
            f"/channels/{general}/messages?around={odd}",
            f"/channels/{general}/messages/{said['id']}/reactions/👍?after={odd}",
            f"/guilds/{guild}/members/search?query=a&limit={odd}",
            f"/channels/{odd or 0}",
            f"/users/{odd or 0}",
        ):
            await check(rest, "GET", quote(path, safe="/?=&"), None)


async def test_text_that_is_no_json(rest: Rest, general: str) -> None:
    answer = await rest.call("POST", f"/channels/{general}/messages", None)
    assert answer.code == 50006
    assert (await rest.call("POST", "/users/@me/channels", [1])).code == 50035
