"""A NATS server with JetStream for tests, on loopback, with its files in a folder."""

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

START_SECONDS: Final = 30.0


class NatsMissingError(Exception):
    """There is no server to start on this machine."""


def program() -> str:
    """The path of the server. Raises NatsMissingError."""
    found = shutil.which("nats-server", path=None) or shutil.which("nats-server", path="/usr/sbin")
    if found is None:
        raise NatsMissingError("nats-server is not installed (Debian's package is nats-server)")
    return found


class NatsServer:
    """Started, killed and started again on the same port and folder."""

    def __init__(self, folder: Path, configuration: str = "", scheme: str = "nats") -> None:
        self.folder = folder
        self.port = _free_port()
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        self._configuration = configuration
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Wait until it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / "nats.conf"
        store = (self.folder / "store").as_posix()
        file.write_text(
            f'listen: "127.0.0.1:{self.port}"\njetstream {{ store_dir: "{store}" }}\n'
            f"{self._configuration}\n"
        )
        log = self.folder / "log.txt"
        with log.open("ab") as out:
            self._process = subprocess.Popen([program(), "-c", str(file)], stdout=out, stderr=out)
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            time.sleep(0.02)
        raise RuntimeError(f"nats-server did not start:\n{log.read_text()}")

    def forget(self) -> None:
        """Lose everything that it has kept."""
        shutil.rmtree(self.folder / "store", ignore_errors=True)

    def stop(self) -> None:
        """End it at once."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait(20)


@contextlib.contextmanager
def running(folder: Path, configuration: str = "", scheme: str = "nats") -> Iterator[NatsServer]:
    """A server for as long as the block runs. Raises NatsMissingError."""
    server = NatsServer(folder, configuration, scheme)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
