"""A request's body and the record of it."""

from __future__ import annotations

import json
import re
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from aiohttp import BodyPartReader, web

from playground.errors import InvalidForm, InvalidJson
from playground.uploads import Upload
from playground.world import Json

KEPT = 10_000
"""Recorded requests; the oldest go first."""

FILE_FIELD = re.compile(r"^files?\[(\d+)\]$")


@dataclass
class Body:
    """The JSON of a request (of a multipart one: its payload_json) and its files."""

    json: Any = None
    files: list[Upload] = field(default_factory=list)
    multipart: bool = False

    @property
    def object(self) -> Json:
        """The JSON as an object; 50035 when it is something else."""
        if self.json is None:
            return {}
        if not isinstance(self.json, dict):
            message = "Only dictionaries may be used in a DictType"
            raise InvalidForm({"_errors": [{"code": "DICT_TYPE_CONVERT", "message": message}]})
        return self.json


async def read_body(request: web.Request) -> Body:
    """Read it whole: a refusal comes after the upload, as with Discord."""
    if request.content_type == "multipart/form-data":
        return await _read_multipart(request)
    text = await request.text()
    return Body(_parse(text) if text.strip() else None)


async def _read_multipart(request: web.Request) -> Body:
    body = Body(multipart=True)
    fields: Json = {}
    async for part in await request.multipart():
        if not isinstance(part, BodyPartReader):
            continue
        content = bytes(await part.read(decode=True))
        name = part.name or ""
        if part.filename is not None:
            found = FILE_FIELD.match(name)
            index = int(found[1]) if found else len(body.files)
            kind = part.headers.get("Content-Type")
            body.files.append(Upload(index, part.filename, content, kind))
        elif name == "payload_json":
            body.json = _parse(content.decode())
        else:
            fields[name] = content.decode()
    if body.json is None and fields:
        body.json = fields
    return body


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise InvalidJson from None


class RequestLog:
    """What the bot asked for, in order; `n` counts from 1."""

    def __init__(self) -> None:
        self._entries: deque[Json] = deque(maxlen=KEPT)
        self._count = 0

    def add(self, request: web.Request, path: str, body: Body, status: int, at: str) -> None:
        self._count += 1
        self._entries.append(
            {
                "n": self._count,
                "method": request.method,
                "path": path,
                "query": dict(request.query),
                "json": body.json,
                "files": [{"name": f.filename, "size": len(f.content)} for f in body.files],
                "multipart": body.multipart,
                "status": status,
                "at": at,
            }
        )

    def since(self, n: int) -> list[Json]:
        return [entry for entry in self._entries if entry["n"] > n]

    def clear(self) -> None:
        self._entries.clear()
