"""Reading the control protocol's requests."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web

from playground.errors import Refused
from playground.objects import Objects
from playground.permissions import Permission
from playground.rest.requests import Body, read_body
from playground.world import Channel, Json, User, World


async def read_object(request: web.Request) -> tuple[Json, Body]:
    body = await read_body(request)
    if body.json is not None and not isinstance(body.json, dict):
        raise Refused(message="The body must be a JSON object.")
    return body.json or {}, body


def the_user(world: World, given: Any) -> User:
    """The person who acts, by id or name; the bot acts through its own API."""
    if not given:
        raise Refused(message="Say who acts: `user` is missing.")
    user = world.user(str(given))
    if user.bot:
        raise Refused(message="The bot acts through its own API.")
    return user


def the_channel(
    world: World,
    objects: Objects,
    channel_id: str,
    user: User,
    needed: Permission = Permission.VIEW_CHANNEL,
) -> Channel:
    """A channel that the person sees and may do something in."""
    channel = world.channel(channel_id)
    granted = objects.permissions(channel, user.id)
    if Permission.VIEW_CHANNEL not in granted:
        raise Refused(message=f"{user.name} can't see this channel.")
    if needed & ~granted:
        missing = needed & ~granted
        raise Refused(message=f"{user.name} may not do this here: {missing.name} is missing.")
    return channel


def number(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Refused(message=f"`{name}` must be a number.")
    return value


def whole_number(value: Any, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise Refused(message=f"`{name}` must be a whole number from 1.")
    return value


def names(value: Any) -> list[str]:
    if not isinstance(value, list):
        raise Refused(message="A list is expected.")
    return [str(item) for item in value]


def objects(value: Any, name: str) -> list[Json]:
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise Refused(message=f"`{name}` must be a list of objects.")
    return value


def dumps(data: object) -> str:
    return json.dumps(data, ensure_ascii=False)
