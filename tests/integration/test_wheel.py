"""The wheel: everything that is needed is in it and nothing else; installed, it starts in an empty
folder, draws with the demo model in the local Discord, and writes where it was started alone.
"""

import asyncio
import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from playground.control import Control
from tests.acceptance.test_processes import delivered, online

PROJECT = Path(__file__).resolve().parents[2]
PACKAGES = ("bot", "generation", "storage", "playground")
PORT = 8100
"""Of the settings that are written."""
PATIENCE = 120

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.xdist_group("wheel")]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with an sdist, and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("built")
    command = (sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder))
    subprocess.run((*command, str(PROJECT)), check=True, capture_output=True, timeout=300)
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    [file] = built.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def scripts(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of an environment that has the wheel, and what it needs from ours."""
    environment = tmp_path_factory.mktemp("environment")
    subprocess.run((sys.executable, "-m", "venv", "--without-pip", environment), check=True)
    windows = sys.platform == "win32"
    programs = environment / ("Scripts" if windows else "bin")
    python = programs / ("python.exe" if windows else "python")
    command = (sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps")
    subprocess.run((*command, "--no-index", "--quiet", str(wheel)), check=True)
    asked = (python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))")
    [folder] = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.split("\n")[
        :1
    ]
    ours = [path for path in sys.path if path.endswith("site-packages")]
    # a line of a .pth file is put behind what lies in the folder itself
    (Path(folder) / "beside.pth").write_text("\n".join(ours), encoding="utf-8")
    return programs


def of_the_packages() -> set[str]:
    """What lies in the packages' folders."""
    return {
        file.relative_to(PROJECT).as_posix()
        for package in PACKAGES
        for file in (PROJECT / package).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }


def shipped() -> set[str]:
    """What a checkout has beside them, where the wheel has it."""
    demo = [file for file in (PROJECT / "models").rglob("*") if "demo" in str(file)]
    files = [PROJECT / "config.toml", PROJECT / "LICENSE", *filter(Path.is_file, demo)]
    return {f"bot/packed/{file.relative_to(PROJECT).as_posix()}" for file in files}


def test_the_wheel_has_all_that_is_needed_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == of_the_packages() | shipped()
    for package in PACKAGES:
        assert f"{package}/py.typed" in names
    assert len(shipped()) > 20


def test_an_editable_installation_has_the_checkout_and_no_copies(tmp_path: Path) -> None:
    asked = (
        "import os, sys; from hatchling.build import build_editable;"
        "os.chdir(sys.argv[1]); print(build_editable(sys.argv[2]))"
    )
    command = (sys.executable, "-c", asked, str(PROJECT), str(tmp_path))
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    [file] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(file) as archive:
        names = [name for name in archive.namelist() if ".dist-info/" not in name]
        assert [archive.read(name).decode().strip() for name in names] == [str(PROJECT)]


def test_the_sdist_has_what_the_tests_need_and_no_leavings(built: Path) -> None:
    [file] = built.glob("*.tar.gz")
    with tarfile.open(file) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"tests/conftest.py", "constraints.txt", "Makefile", "docs/models.md"} <= names
    leavings = r"(\.venv|\.env|data|out|runs|build)(/|$)|.*__pycache__|models/(?!.*demo).*\."
    assert [name for name in names if re.match(leavings, name)] == []


class Started:
    """`darkroom` of the installed wheel, in a folder."""

    def __init__(self, scripts: Path, folder: Path) -> None:
        self.program = shutil.which("darkroom", path=str(scripts))
        self.folder = folder
        ours = {"PYTHONPATH", "DISCORD_TOKEN", "VIRTUAL_ENV"}
        self.environment = {key: value for key, value in os.environ.items() if key not in ours}

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        assert self.program
        return await asyncio.create_subprocess_exec(
            self.program,
            *arguments,
            cwd=self.folder,
            env=self.environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )

    async def said(self, *arguments: str) -> tuple[int | None, str]:
        """Run to the end: the status, and what was written."""
        process = await self.start(*arguments)
        out, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
        return process.returncode, out.decode()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """`darkroom run`, as long as the block lasts; the address of the local Discord."""
        process = await self.start("run")
        assert process.stdout
        try:
            async with asyncio.timeout(PATIENCE):
                async for line in process.stdout:
                    if found := re.search(r"Open (http://\S+) in a browser", line.decode()):
                        break
                else:
                    raise AssertionError("it ended")
            draining = asyncio.create_task(process.stdout.read())
            yield found[1]
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.wait()
        await draining


@pytest.fixture
def started(scripts: Path, tmp_path: Path) -> Started:
    return Started(scripts, tmp_path)


async def test_in_an_empty_folder_it_writes_its_settings_says_what_next_and_draws(
    started: Started,
) -> None:
    folder = started.folder
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as taken:
        # the port of the settings that are written is another program's, or will be
        with contextlib.suppress(OSError):
            taken = socket.create_server(("127.0.0.1", PORT))
        with contextlib.closing(taken):
            status, said = await started.said("run")
    assert (status, "Traceback" in said) == (2, False), said
    assert f"Is port {PORT} in use?" in said
    assert f"A new Darkroom in {folder}" in said
    for word in ("config.toml", "models/checkpoints", "DISCORD_TOKEN=", "darkroom doctor"):
        assert word in said
    settings = folder / "config.toml"
    assert settings.read_bytes() == (PROJECT / "config.toml").read_bytes()
    assert (folder / "models" / "checkpoints").is_dir()
    text = settings.read_text(encoding="utf-8").replace(f"port = {PORT}", "port = 0")
    settings.write_text(text, encoding="utf-8")
    async with started.running() as address, Control(address) as control:
        ada = await control.person("ada")
        await online(ada)
        channel = await ada.channel("general")
        act = await ada.command(channel, "imagine", prompt="a cat on green", seed=7)
        message = await act.deferred()
        await delivered(ada, channel, message)
        shown = await ada.message(channel, message["id"])
    assert {file["width"] for file in shown["attachments"]} == {128}
    assert settings.read_text(encoding="utf-8") == text, "written over"
    assert {file.name for file in folder.iterdir()} == {"config.toml", "models", "data"}


async def test_the_other_commands_need_no_settings_and_write_none(started: Started) -> None:
    status, said = await started.said("doctor")
    assert status == 0, said
    assert f"{started.folder / 'config.toml'} is not there" in said
    assert "model         demo (Stable Diffusion 1.x)" in said
    assert list(started.folder.iterdir()) == []
    _, said = await started.said("worker")
    assert "Traceback" not in said
    assert not (started.folder / "config.toml").exists()
    status, said = await started.said("--config", "other.toml", "models")
    assert (status, "other.toml: No such file" in said) == (2, True), said


async def test_a_picture_is_made_in_an_empty_folder(started: Started) -> None:
    status, said = await started.said("imagine", "a red fox", "--seed", "5")
    assert status == 0, said
    [picture] = (started.folder / "out").iterdir()
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert {file.name for file in started.folder.iterdir()} == {"data", "out"}


async def test_models_beside_the_settings_are_found_and_fetched_ones_are_kept_there(
    started: Started,
) -> None:
    checkpoints = started.folder / "models" / "checkpoints"
    checkpoints.mkdir(parents=True)
    demo = PROJECT / "models" / "diffusers" / "demo"
    await asyncio.to_thread(shutil.copytree, demo, checkpoints / "mine")
    status, said = await started.said("models")
    assert (status, "mine" in said, "demo" in said) == (0, True, True), said
    asked = (
        "import bot.config_file, pathlib, sys;"
        "config = bot.config_file.load_config(pathlib.Path('config.toml'), {}, needed=False);"
        "print(config.huggingface.folder); print(len(config.model_folders))"
    )
    python = Path(str(started.program)).with_stem("python")
    process = await asyncio.create_subprocess_exec(
        *(str(python), "-c", asked),
        cwd=started.folder,
        env=started.environment,
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    where, folders = out.decode().splitlines()
    assert where == str(started.folder / "models" / "huggingface")
    assert folders == "2"


async def test_a_folder_that_can_not_be_written_to_is_said(started: Started) -> None:
    (started.folder / "models").write_text("a file", encoding="utf-8")
    status, said = await started.said("run")
    assert (status, "Traceback" in said) == (2, False), said
    assert "Run darkroom in a folder of its own" in said
