"""The one command: from nothing to the weights, stopped in the middle and taken up again."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]


def losses(folder: Path) -> list[float]:
    """The mean losses that were logged, in order."""
    lines = (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return [line["loss"] for line in map(json.loads, lines)]


def test_from_nothing_to_weights(tmp_path: Path, emoji: Path) -> None:
    out, models = tmp_path / "run", tmp_path / "models"
    # steps and no minutes, so that a busy machine trains no less than an idle one
    command = [sys.executable, "-m", "training", "all", "--steps", "80", "--emoji", str(emoji)]
    command += ["--out", str(out), "--models", str(models), "--docs", str(tmp_path / "docs")]
    command += ["--pictures", "512", "--prompts", "2", "--batch", "4"]
    # killed while the autoencoder trains, as by a power cut
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as killed:
        while not (out / "vae" / "checkpoint.pt").is_file():
            assert killed.poll() is None
            time.sleep(0.1)
        killed.kill()
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=2000)
    printed = done.stdout.decode(errors="replace")
    assert done.returncode == 0, printed[-3000:]
    assert "vae: resumed at step" in printed
    # the autoencoder begins as one that makes thumbnails, and is at first no better for training
    found = losses(out / "unet")
    assert len(found) >= 2, printed[-3000:]
    assert found[-1] < 0.75 * found[0], found
    demo = models / "diffusers" / "demo"
    for file in ("model_index.json", "unet/diffusion_pytorch_model.safetensors", "README.md"):
        assert (demo / file).is_file()
    assert (models / "controlnet" / "demo-edges" / "config.json").is_file()
    assert (models / "upscale_models" / "demo-x4.safetensors").is_file()
    figures = json.loads((tmp_path / "docs" / "enlarged.json").read_text(encoding="utf-8"))
    assert set(figures) == {"bicubic", "lanczos", "upscaler"}
    assert figures["upscaler"]["psnr"] > figures["bicubic"]["psnr"] - 1
    assert len(list((models / "loras").glob("demo-*.safetensors"))) == 2
