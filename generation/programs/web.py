"""What programs of others are asked over HTTP: how they are addressed, and what of an answer is
believed. Between the bot and them may stand a proxy that answers for itself.
"""

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import unquote, urlsplit, urlunsplit

import aiohttp

from generation.programs.faults import ServerError

ANSWERS_WITHIN: Final = aiohttp.ClientTimeout(total=60, sock_connect=5)
"""Seconds; they list thousands of files, and take pictures of many megabytes."""
ANSWER_BYTES: Final = 512 * 2**20
"""Of one answer: the largest pictures, as text."""
CHUNK: Final = 2**16


def without_login(address: str, auth: str = "") -> tuple[str, dict[str, str]]:
    """An address without the user and the password in it, which people may see, and the headers
    that say these, or `auth`: `user:password`.
    """
    parts = urlsplit(address)
    if parts.username is not None:
        auth = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    host = parts.netloc.rpartition("@")[2]
    plain = urlunsplit((parts.scheme, host, parts.path, "", "")).rstrip("/")
    basic = base64.b64encode(auth.encode()).decode()
    return plain, {"Authorization": f"Basic {basic}"} if auth else {}


def check_whose(answer: aiohttp.ClientResponse, address: str) -> None:
    """Raise ServerError where what was asked is to be asked elsewhere: a login page's, or one that
    the owner of the address never named.
    """
    if 300 <= answer.status < 400:
        there = urlsplit(answer.headers.get("Location", ""))
        where = f"{there.scheme}://{there.hostname}" if there.hostname else "another page"
        raise ServerError(
            f"{address} leads to {where}: name the address that answers itself, without a login"
            " page before it"
        )


class Site:
    """A program's own page and API at an address, such as http://127.0.0.1:8188, with the user and
    the password that it asks for in it, or as `auth`: `user:password`.
    """

    def __init__(self, address: str, auth: str = "") -> None:
        self.address, self._headers = without_login(address, auth)
        """Without a password."""
        self._session: aiohttp.ClientSession | None = None

    @property
    def session(self) -> aiohttp.ClientSession:
        """What it is asked over, open until `close`."""
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=ANSWERS_WITHIN, headers=self._headers)
        return self._session

    async def close(self) -> None:
        """Leave it."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    @asynccontextmanager
    async def asked(
        self, method: str, path: str, **content: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Its own answer, of whatever status. Raises ServerError, also for what fails while it is
        read.
        """
        url = self.address + path
        try:
            asked = self.session.request(method, url, allow_redirects=False, **content)
            async with asked as answer:
                check_whose(answer, self.address)
                yield answer
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise ServerError(f"{self.address}: {error or type(error).__name__}") from error


async def whole(answer: aiohttp.ClientResponse) -> bytes:
    """The body of an answer, unless it has no end. Raises ServerError."""
    parts, size = [], 0
    async for part in answer.content.iter_chunked(CHUNK):
        size += len(part)
        if size > ANSWER_BYTES:
            answer.close()
            raise ServerError(f"an answer has more than {ANSWER_BYTES >> 20} MiB")
        parts.append(part)
    return b"".join(parts)


async def said(answer: aiohttp.ClientResponse) -> Any:
    """What JSON an answer is; None for an empty one. Raises ServerError."""
    text = (await whole(answer)).strip()
    try:
        return json.loads(text) if text else None
    except (ValueError, RecursionError) as error:
        page = "a page for people" if text.startswith(b"<") else "no JSON"
        raise ServerError(
            f"{answer.url.path} was answered by {page}: is that its address?"
        ) from error
