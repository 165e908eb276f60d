"""Breaks rules on purpose, one at a time, and says which go unnoticed: rules of who may do what, of
the queue, and of how pictures are drawn.

    python -m tests.mutations [WORD] [--minutes 10]

Each breakage of mutations.toml is a change of the code that a test must fail for. It is made in a
copy of the project, one for each processor, so that the working tree stays as it is. With a word,
only those that have it in their name; with minutes, as many as are begun within them, each day from
another one on.
"""

import argparse
import contextlib
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from queue import SimpleQueue
from typing import Final

PROJECT: Final = Path(__file__).resolve().parent.parent
STRIDE: Final = 37
"""By how many the first of a day's is further than that of the day before."""
LEFT_OUT: Final = "left out"
RUNTIME: Final = "tests/unit/generation/runtime"
TESTS: Final = {
    "table": "tests/unit/bot/access/test_permissions.py",
    "moderation": "tests/acceptance/test_moderation.py",
    "grids": "tests/acceptance/test_grid.py",
    "what files say": "tests/acceptance/test_info.py",
    "files read": "tests/unit/generation/info/test_resolving.py",
    "approvals": "tests/acceptance/test_approvals.py",
    "doors": "tests/acceptance/test_permissions.py",
    "privacy": "tests/acceptance/test_privacy.py",
    "limits": "tests/acceptance/test_limits.py",
    "backup": "tests/unit/storage/test_backup.py",
    "pictures kept": "tests/unit/storage/test_pictures.py",
    "faults": "tests/acceptance/test_faults.py",
    "retention": "tests/unit/storage/test_retention.py",
    "quotas": "tests/unit/storage/test_quota_usage.py",
    "leases": "tests/unit/storage/test_leases.py",
    "taken over": "tests/acceptance/test_taken_over.py",
    "schedule": "tests/unit/generation/test_schedule.py",
    "hosts": "tests/integration/nats/test_hosts.py",
    "rights": "tests/integration/nats/test_rights.py",
    "hostile hosts": "tests/integration/nats/test_hostile_hosts.py",
    "hosting": "tests/unit/generation/test_hosting_models.py",
    "fleet": "tests/unit/generation/test_fleet_naming.py",
    "first start": "tests/unit/bot/cli/test_first_start.py",
    "comfyui": "tests/unit/generation/test_comfyui_engine.py",
    "comfyui graphs": "tests/unit/generation/test_comfyui_graphs.py",
    "helper": "tests/unit/generation/test_helper.py",
    "pool": "tests/unit/generation/test_worker_pool.py",
    "webui": "tests/unit/generation/test_webui_engine.py",
    "solvers": f"{RUNTIME}/test_solvers.py",
    "samplers": f"{RUNTIME}/test_samplers.py",
    "schedules": f"{RUNTIME}/test_schedules.py",
    "noise": f"{RUNTIME}/test_noise.py",
    "recipe": f"{RUNTIME}/test_recipe.py",
    "picture check": f"{RUNTIME}/test_picture_check.py",
    "picture files": "tests/unit/generation/test_picture_files.py",
    "faces": f"{RUNTIME}/test_faces.py",
    "cutout": f"{RUNTIME}/test_cutout.py",
    "tagger": f"{RUNTIME}/test_taggers.py",
    "networks": f"{RUNTIME}/test_unet.py",
    "preprocessing": f"{RUNTIME}/test_preprocessing.py",
    "blend": "tests/unit/generation/test_blending.py",
    "blends of members": "tests/acceptance/test_blend.py",
    "image prompts": f"{RUNTIME}/test_image_prompts.py",
    "image prompts of flux": f"{RUNTIME}/test_flux_image_prompts.py",
    "image prompts in texts": "tests/unit/generation/test_image_prompt_infotext.py",
    "image prompts of presets": "tests/unit/generation/test_preset.py",
    "annotators": f"{RUNTIME}/test_annotators.py",
    "refiner": f"{RUNTIME}/test_refiner.py",
    "flux": f"{RUNTIME}/test_flux.py",
    "flux control": f"{RUNTIME}/test_flux_control.py",
    "sd3 control": f"{RUNTIME}/test_sd3_control.py",
    "z-image control": f"{RUNTIME}/test_z_image_control.py",
    "control": "tests/unit/generation/test_control_uses.py",
    "kontext": f"{RUNTIME}/test_kontext.py",
    "inpainting": f"{RUNTIME}/test_inpainting.py",
    "masked content": f"{RUNTIME}/test_masked_content.py",
    "differential": f"{RUNTIME}/test_differential.py",
    "outpainting": "tests/unit/generation/test_outpainting.py",
    "canvas": f"{RUNTIME}/test_canvas.py",
    "masks": "tests/unit/bot/pictures/test_normalising.py",
    "custom ids": "tests/acceptance/test_custom_ids.py",
    "lighter copies": "tests/unit/bot/pictures/test_attachments.py",
    "pictures handed in": "tests/unit/bot/pictures/test_decoding.py",
    "masked requests": "tests/unit/generation/test_completion.py",
    "masks by words": f"{RUNTIME}/test_segmenter.py",
    "words for masks": "tests/unit/generation/test_mask_words.py",
    "words of members": "tests/acceptance/test_mask_words.py",
    "masks of members": "tests/acceptance/test_inpainting.py",
    "qwen edit": f"{RUNTIME}/test_qwen_edit.py",
    "references": "tests/unit/generation/test_references.py",
    "edit models": "tests/unit/generation/test_edit_models.py",
    "before": "tests/unit/bot/pictures/test_before.py",
    "pix2pix": f"{RUNTIME}/test_pix2pix.py",
    "sd3": f"{RUNTIME}/test_sd3.py",
    "chroma": f"{RUNTIME}/test_chroma.py",
    "flux2": f"{RUNTIME}/test_flux2.py",
    "z-image": f"{RUNTIME}/test_z_image.py",
    "qwen-image": f"{RUNTIME}/test_qwen_image.py",
    "abilities": "tests/unit/generation/test_abilities.py",
    "few steps": f"{RUNTIME}/test_few_steps.py",
    "enlarging": "tests/unit/generation/test_enlarging.py",
    "upscaling": f"{RUNTIME}/test_upscaling.py",
    "hires": f"{RUNTIME}/test_hires.py",
    "hires requests": "tests/unit/generation/test_hires.py",
    "drafts": "tests/unit/generation/test_drafting.py",
    "hires of members": "tests/acceptance/test_hires.py",
    "quantised": f"{RUNTIME}/test_quantised.py",
    "headers": "tests/unit/generation/test_gguf_header.py",
    "scales": "tests/unit/generation/test_quantisation.py",
    "four-bits": f"{RUNTIME}/test_four_bits.py",
    "quantised-flux": f"{RUNTIME}/test_quantised_flux.py",
    "memory-plan": "tests/unit/generation/test_memory_plan.py",
    "parts": "tests/unit/generation/test_assembly.py",
    "choosing": "tests/unit/bot/test_choosing_parts.py",
    "memory": "tests/unit/generation/test_memory_outlook.py",
    "action buttons": "tests/unit/bot/ui/test_action_buttons.py",
    "memory-helpers": "tests/unit/generation/test_memory_helpers.py",
    "control units": f"{RUNTIME}/test_control_units.py",
    "control dialogs": "tests/acceptance/test_control_pictures.py",
    "files": "tests/unit/generation/test_known_headers.py",
    "streaming": f"{RUNTIME}/test_memory.py",
    "folders": "tests/unit/generation/test_diffusers_folder.py",
    "missing": "tests/acceptance/test_missing_parts.py",
}
"""Which tests are to notice the breakages of a section."""


def main() -> int:
    """Try them, and print which no test noticed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("word", nargs="?", default="")
    parser.add_argument("--minutes", type=float, default=math.inf)
    arguments = parser.parse_args()
    ends = time.monotonic() + 60 * arguments.minutes
    sections = tomllib.loads((PROJECT / "tests/mutations.toml").read_text(encoding="utf-8"))
    wanted = [
        (mutation, TESTS[section])
        for section, mutations in sections.items()
        for mutation in mutations
        if arguments.word in mutation["name"]
    ]
    if wanted and math.isfinite(arguments.minutes):
        first = datetime.now(UTC).toordinal() * STRIDE % len(wanted)
        wanted = wanted[first:] + wanted[:first]
    processors = os.cpu_count() or 1
    verdicts: Counter[str] = Counter()
    with _copies(processors) as copies, ThreadPoolExecutor(processors) as threads:

        def tried(row: tuple[dict[str, str], str]) -> tuple[str, str]:
            if time.monotonic() > ends:
                return LEFT_OUT, ""
            copy = copies.get()
            try:
                return _try(copy, *row)
            finally:
                copies.put(copy)

        for (mutation, _), (verdict, printed) in zip(
            wanted, threads.map(tried, wanted), strict=True
        ):
            verdicts[verdict] += 1
            if verdict != LEFT_OUT:
                sys.stdout.write(f"{printed}{verdict:<10} {mutation['name']}\n")
                sys.stdout.flush()
    sys.stdout.write(f"{', '.join(f'{verdict}: {n}' for verdict, n in verdicts.items())}\n")
    return 0 if verdicts.keys() <= {"killed", LEFT_OUT} else 1


def broken(mutation: dict[str, str]) -> str:
    """The text of a mutation's file, broken."""
    text = (PROJECT / mutation["file"]).read_text(encoding="utf-8")
    if text.count(mutation["old"]) != 1:
        raise ValueError(f"{mutation['file']} has not once: {mutation['old']}")
    return text.replace(mutation["old"], mutation["new"])


@contextlib.contextmanager
def _copies(count: int) -> Iterator[SimpleQueue[Path]]:
    """Copies of the project to break, without what lies beside it: a virtual environment, runs."""

    def beside(folder: str, names: list[str]) -> set[str]:
        if Path(folder) != PROJECT:
            return set()
        return {name for name in names if name.startswith(".") or name == "runs"}

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        copies: SimpleQueue[Path] = SimpleQueue()
        for number in range(count):
            copy = Path(temporary) / str(number) / PROJECT.name
            shutil.copytree(PROJECT, copy, ignore=beside)
            copies.put(copy)
        yield copies


def _try(copy: Path, mutation: dict[str, str], tests: str) -> tuple[str, str]:
    """Whether a test fails for a breakage: "killed", "UNNOTICED", or "NO VERDICT" with what was
    printed.
    """
    file = copy / mutation["file"]
    text = file.read_text(encoding="utf-8")
    file.write_text(broken(mutation), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", tests]
    try:
        # they run side by side, one for each processor
        ran = subprocess.run(
            command,
            cwd=copy,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            check=False,
        )
    finally:
        file.write_text(text, encoding="utf-8")
    # 1: tests failed; anything but that and 0 says nothing about the tests
    printed = (ran.stdout + ran.stderr).decode(errors="replace")
    if ran.returncode not in (0, 1):
        return "NO VERDICT", printed
    return ("UNNOTICED", "") if ran.returncode == 0 else ("killed", "")


if __name__ == "__main__":
    sys.exit(main())
