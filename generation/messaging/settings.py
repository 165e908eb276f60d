"""`[nats]`: where the server is that the bot and its workers on other hosts meet at."""

import re
import ssl
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

NO_FILE: Final = Path()
HOST_NAME: Final = re.compile(r"[\w-]{1,40}", re.ASCII)
"""What a worker on another host may be called: it is a part of NATS' subjects."""
SCHEMES: Final = ("nats", "tls", "ws", "wss")


class NatsSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """See config.toml for what each does; who may connect is told by NATS' own means."""

    url: str = ""
    """One address or several with commas; empty for no workers on other hosts."""
    name: str = ""
    """What this machine is called where it draws for a bot elsewhere."""
    draw_here: bool = True
    """Whether the bot's own machine draws too."""
    credentials: Path = NO_FILE
    nkey: Path = NO_FILE
    user: str = ""
    password: str = ""
    token: str = ""
    tls_ca: Path = NO_FILE
    tls_cert: Path = NO_FILE
    tls_key: Path = NO_FILE
    away_after: Annotated[float, Meta(ge=5, le=3600)] = 15.0
    """Seconds of silence after which a worker on another host counts as gone."""

    @property
    def servers(self) -> list[str]:
        """The addresses."""
        return [part.strip() for part in self.url.split(",") if part.strip()]

    @property
    def shown(self) -> str:
        """The addresses without the passwords that may stand in them."""
        return ", ".join(re.sub(r"//.*@", "//", server) for server in self.servers)

    def problem(self) -> str:
        """What is wrong with them, as a sentence's end; "" where nothing is."""
        if self.url and not self.servers:
            return "`url` has no address in it: write nats://HOST:4222, or nothing"
        for server in self.servers:
            if not re.fullmatch(rf"({'|'.join(SCHEMES)})://[^\s/]+", server) or not _port(server):
                return "`url` is no address of NATS: write nats://HOST:4222"
        if self.name and not HOST_NAME.fullmatch(self.name):
            return "`name` is of up to 40 letters, digits, - and _"
        if bool(self.tls_cert != NO_FILE) != bool(self.tls_key != NO_FILE):
            return "`tls_cert` and `tls_key` belong together"
        return ""

    def options(self) -> dict[str, Any]:
        """What nats.connect is told of them. Raises OSError and ssl.SSLError for files that can't
        be read.
        """
        found: dict[str, Any] = {"servers": self.servers}
        if self.credentials != NO_FILE:
            found["user_credentials"] = str(_there(self.credentials))
        if self.nkey != NO_FILE:
            found["nkeys_seed"] = str(_there(self.nkey))
        for name in ("user", "password", "token"):
            if getattr(self, name):
                found[name] = getattr(self, name)
        if self.tls_ca != NO_FILE or self.tls_cert != NO_FILE:
            ca = None if self.tls_ca == NO_FILE else str(_there(self.tls_ca))
            context = ssl.create_default_context(cafile=ca)
            if self.tls_cert != NO_FILE:
                context.load_cert_chain(_there(self.tls_cert), _there(self.tls_key))
            found["tls"] = context
        return found


def _port(server: str) -> bool:
    """Whether the port is one, if an address names any."""
    try:
        return urlsplit(server).port != 0
    except ValueError:
        return False


def _there(file: Path) -> Path:
    """The file. Raises OSError, which names it, where it can't be read."""
    with file.open("rb"):
        return file
