"""A PostgreSQL server for tests: `python -m tests.postgres COMMAND …` runs a command beside one.

The command finds the server's URL in DARKROOM_TEST_DATABASE. The server listens on loopback alone,
keeps its data in a temporary folder and ends with the command.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

VARIABLE: Final = "DARKROOM_TEST_DATABASE"
USERS: Final = ("postgres", "nobody")
"""The server refuses to run as root; then it runs as one of these."""
START_SECONDS: Final = 60.0
SETTINGS: Final = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    # nothing here must outlive a power cut
    "fsync": "off",
    "full_page_writes": "off",
    "max_connections": "200",
}


class PostgresMissingError(Exception):
    """There is no server to start on this machine."""


def program(name: str) -> str:
    """The path of one of the server's programs. Raises PostgresMissingError."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for folder in (None, *folders):
        found = shutil.which(name, path=None if folder is None else str(folder))
        if found is not None:
            return found
    raise PostgresMissingError(f"{name} is not installed (Debian's package is postgresql)")


@contextlib.contextmanager
def running() -> Iterator[str]:
    """A server with an empty cluster; yields the SQLAlchemy URL of its first database."""
    with tempfile.TemporaryDirectory(prefix="darkroom-postgres-") as root:
        folder = Path(root)
        options = _as_user(folder)
        data = folder / "data"
        subprocess.run(
            [
                *(program("initdb"), "--pgdata", str(data), "--username", "darkroom"),
                *("--auth", "trust", "--encoding", "UTF8", "--locale", "C", "--no-sync"),
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=folder,
            **options,
        )
        port = _free_port()
        settings = [f"-c{name}={value}" for name, value in SETTINGS.items()]
        with (folder / "log.txt").open("wb") as log:
            server = subprocess.Popen(
                [program("postgres"), "-D", str(data), "-p", str(port), *settings],
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=folder,
                **options,
            )
        try:
            _wait(server, port, folder / "log.txt")
            yield f"postgresql+asyncpg://darkroom@127.0.0.1:{port}/postgres"
        finally:
            # at once, without waiting for clients that went away
            server.send_signal(signal.SIGTERM if os.name == "nt" else signal.SIGQUIT)
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def _as_user(folder: Path) -> dict[str, Any]:
    """Options of a process that may run the server; the folder becomes its own."""
    if os.name == "nt" or os.geteuid() != 0:
        return {}
    import pwd

    for name in USERS:
        with contextlib.suppress(KeyError):
            user = pwd.getpwnam(name)
            os.chown(folder, user.pw_uid, user.pw_gid)
            return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    raise PostgresMissingError(f"none of the users {', '.join(USERS)} is there to run it")


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _wait(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        # it answers "starting up" on an open port, so the log tells
        if b"database system is ready" in log.read_bytes():
            return
        time.sleep(0.05)
    raise RuntimeError(f"the server did not start on port {port}:\n{log.read_text()}")


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def main(command: list[str]) -> int:
    """Run the command; returns its exit status."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with running() as url:
            return subprocess.run(command, env=os.environ | {VARIABLE: url}, check=False).returncode
    except KeyboardInterrupt:
        return 130
    except PostgresMissingError as error:
        sys.stderr.write(f"{error}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
