"""The browser that tests of the page drive: found, and on Debian installed when there is none.

`make test` runs this as a script before the tests. It never fails: without a browser the tests
marked `browser` are skipped, with `MISSING` as their reason.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

NAMES = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "microsoft-edge",
    "msedge",
)
WINDOWS = (
    r"Google\Chrome\Application\chrome.exe",
    r"Chromium\Application\chrome.exe",
    r"Microsoft\Edge\Application\msedge.exe",
)
MACOS = (
    "Google Chrome.app/Contents/MacOS/Google Chrome",
    "Chromium.app/Contents/MacOS/Chromium",
    "Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
)
PLAYWRIGHT = (
    "chromium-*/chrome-linux*/chrome",
    "chromium-*/chrome-mac*/*.app/Contents/MacOS/*",
    "chromium-*/chrome-win*/chrome.exe",
)
MISSING = (
    "no Chromium-family browser: install Chromium, Chrome or Edge, or name one in DARKROOM_CHROMIUM"
)

PACKAGES = ("chromium", "fonts-noto-color-emoji")
APT_GET = ("apt-get", "-qq", "-o", "DPkg::Lock::Timeout=120")
INSTALL_WITHIN = 600
"""Seconds."""


def find() -> str | None:
    """The browser's path: DARKROOM_CHROMIUM, else the first of the usual ones."""
    if named := os.environ.get("DARKROOM_CHROMIUM"):
        return shutil.which(named)
    return next(_candidates(), None)


def _candidates() -> Iterator[str]:
    for name in NAMES:
        if found := shutil.which(name):
            yield found
    for folder, patterns in _places():
        for pattern in patterns:
            yield from (str(path) for path in sorted(folder.glob(pattern)) if path.is_file())


def _places() -> Iterator[tuple[Path, tuple[str, ...]]]:
    """Folders, and what a browser is called in them."""
    for variable in ("ProgramFiles", "ProgramFiles(x86)", "LocalAppData"):
        if folder := os.environ.get(variable):
            yield Path(folder), tuple(place.replace("\\", "/") for place in WINDOWS)
            yield Path(folder) / "ms-playwright", PLAYWRIGHT
    home = Path.home()
    yield Path("/Applications"), MACOS
    yield home / "Applications", MACOS
    if folder := os.environ.get("PLAYWRIGHT_BROWSERS_PATH"):
        yield Path(folder), PLAYWRIGHT
    yield home / ".cache/ms-playwright", PLAYWRIGHT
    yield home / "Library/Caches/ms-playwright", PLAYWRIGHT


def can_install() -> bool:
    """Debian or like it, as root, with apt-get."""
    root = getattr(os, "geteuid", lambda: -1)() == 0
    return root and Path("/etc/debian_version").exists() and shutil.which("apt-get") is not None


def install() -> str | None:
    """Install Chromium with apt-get; why it did not work, or None."""
    quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    steps = (
        (*APT_GET, "update"),
        (*APT_GET, "install", "-y", "--no-install-recommends", *PACKAGES),
    )
    for step in steps:
        try:
            done = subprocess.run(
                step,
                env=quiet,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=INSTALL_WITHIN,
                text=True,
                errors="replace",
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
        if done.returncode != 0:
            last = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
            return f"{' '.join(step)}: {last[0]}"
    return None


def main() -> int:
    try:
        found = find()
        if found is None and "DARKROOM_CHROMIUM" not in os.environ and can_install():
            say("No browser for the tests of the page: installing chromium with apt-get.")
            if problem := install():
                say(f"That did not work: {problem}")
            found = find()
    except OSError as error:  # a folder that can't be read
        say(f"Looking for a browser did not work: {error}")
        found = None
    if found is None:
        say(f"Tests of the page will be skipped: {MISSING}.")
    else:
        say(f"Browser for the tests of the page: {found}")
    return 0


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
