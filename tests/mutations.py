"""Breaks rules on purpose, one at a time, and says which go unnoticed: rules of who may do what, of
the queue, and of how pictures are drawn.

    python -m tests.mutations [WORD]

Each breakage of mutations.toml is a change of the code that a test must fail for. Run it in a clean
working tree: a file is changed while its tests run, and put back. With a word, only those that have
it in their name.
"""

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Final

PROJECT: Final = Path(__file__).resolve().parent.parent
RUNTIME: Final = "tests/unit/generation/runtime"
TESTS: Final = {
    "table": "tests/unit/bot/access/test_permissions.py",
    "doors": "tests/acceptance/test_permissions.py",
    "privacy": "tests/acceptance/test_privacy.py",
    "limits": "tests/acceptance/test_limits.py",
    "schedule": "tests/unit/generation/test_schedule.py",
    "solvers": f"{RUNTIME}/test_solvers.py",
    "schedules": f"{RUNTIME}/test_schedules.py",
    "noise": f"{RUNTIME}/test_noise.py",
    "recipe": f"{RUNTIME}/test_recipe.py",
    "networks": f"{RUNTIME}/test_unet.py",
    "refiner": f"{RUNTIME}/test_refiner.py",
    "flux": f"{RUNTIME}/test_flux.py",
    "sd3": f"{RUNTIME}/test_sd3.py",
    "z-image": f"{RUNTIME}/test_z_image.py",
    "qwen-image": f"{RUNTIME}/test_qwen_image.py",
    "abilities": "tests/unit/generation/test_abilities.py",
    "few steps": f"{RUNTIME}/test_few_steps.py",
    "enlarging": "tests/unit/generation/test_enlarging.py",
    "upscaling": f"{RUNTIME}/test_upscaling.py",
    "quantised": f"{RUNTIME}/test_quantised.py",
    "headers": "tests/unit/generation/test_gguf_header.py",
    "scales": "tests/unit/generation/test_quantisation.py",
    "parts": "tests/unit/generation/test_assembly.py",
    "files": "tests/unit/generation/test_known_headers.py",
    "missing": "tests/acceptance/test_missing_parts.py",
}
"""Which tests are to notice the breakages of a section."""


def main() -> int:
    """Try them, and print which no test noticed."""
    word = sys.argv[1] if len(sys.argv) > 1 else ""
    sections = tomllib.loads((PROJECT / "tests/mutations.toml").read_text(encoding="utf-8"))
    survived = 0
    for section, mutations in sections.items():
        for mutation in mutations:
            if word in mutation["name"]:
                verdict = _try(mutation, TESTS[section])
                survived += verdict != "killed"
                sys.stdout.write(f"{verdict:<10} {mutation['name']}\n")
                sys.stdout.flush()
    return 1 if survived else 0


def broken(mutation: dict[str, str]) -> str:
    """The text of a mutation's file, broken."""
    text = (PROJECT / mutation["file"]).read_text(encoding="utf-8")
    if text.count(mutation["old"]) != 1:
        raise ValueError(f"{mutation['file']} has not once: {mutation['old']}")
    return text.replace(mutation["old"], mutation["new"])


def _try(mutation: dict[str, str], tests: str) -> str:
    """Whether a test fails for a breakage: "killed", "UNNOTICED", or "NO VERDICT"."""
    file = PROJECT / mutation["file"]
    text = file.read_text(encoding="utf-8")
    file.write_text(broken(mutation), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", tests]
    try:
        ran = subprocess.run(command, cwd=PROJECT, capture_output=True, check=False)
    finally:
        file.write_text(text, encoding="utf-8")
    # 1: tests failed; anything but that and 0 says nothing about the tests
    if ran.returncode not in (0, 1):
        sys.stdout.write(ran.stdout.decode() + ran.stderr.decode())
    return {0: "UNNOTICED", 1: "killed"}.get(ran.returncode, "NO VERDICT")


if __name__ == "__main__":
    sys.exit(main())
