"""How models of the hub are written, and what the process that fetches them is told."""

from pathlib import Path

import pytest

from generation.hub import (
    OWN_CACHE,
    HubModel,
    HuggingFaceSettings,
    in_cache,
    is_plain,
    read,
)

COMMIT = "39593d5650112b4cc580433f6b0435385882d819"


@pytest.mark.parametrize(
    ("text", "model"),
    [
        ("acme/tiny-sd", HubModel("acme/tiny-sd")),
        (" acme/tiny_sd.v1 ", HubModel("acme/tiny_sd.v1")),
        ("acme/tiny@main", HubModel("acme/tiny")),
        ("acme/tiny@refs/pr/1", HubModel("acme/tiny", "refs/pr/1")),
        ("a/b:unet/x y.safetensors", HubModel("a/b", "", "unet/x y.safetensors")),
        ("a/b@fp16:x.gguf", HubModel("a/b", "fp16", "x.gguf")),
        ("https://hub.example/acme/tiny", HubModel("acme/tiny")),
        ("https://hub.example/acme/tiny/tree/main?x=1", HubModel("acme/tiny")),
        ("http://h:8/a/b/blob/fp16/c/d.safetensors", HubModel("a/b", "fp16", "c/d.safetensors")),
    ],
)
def test_how_people_write_one(text: str, model: HubModel) -> None:
    assert read(text) == model
    assert read(str(model)) == model


@pytest.mark.parametrize(
    "text",
    [
        *("", "acme", "a/b/c", "../etc", "a/..", "a/b--c", "-a/b", "a b/c", "a/b:", "a/b@"),
        *("a/b:../x.gguf", "a/b:/etc/x", "a/b:x\\y", "a/b:c:d", "a/b@../main", "a/" + "b" * 99),
    ],
)
def test_what_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="it is no model of the hub: write OWNER/NAME"):
        read(text)


@pytest.mark.parametrize("name", ["..", "a/../b", "/a", "a//b", "C:/a", "a\\b", "a/b ", "a\n"])
def test_names_that_leave_their_folder(name: str) -> None:
    assert not is_plain(name)
    assert is_plain("unet/diffusion_pytorch_model.fp16-00001-of-00002.safetensors")


def test_what_lies_in_the_cache() -> None:
    snapshot = Path("/cache/models--acme--tiny/snapshots") / COMMIT
    assert in_cache(snapshot) == ("acme/tiny", "")
    assert in_cache(snapshot / "vae" / "x.safetensors") == ("acme/tiny", "vae/x.safetensors")
    assert in_cache(Path("/models/acme/tiny")) is None
    assert in_cache(snapshot.parent) is None


def test_the_token_is_not_shown() -> None:
    settings = HuggingFaceSettings(token="hf_secret", endpoint="https://mirror.example")
    assert "hf_secret" not in f"{settings!r} {settings}"
    assert "mirror.example" in repr(settings)


def test_what_the_process_is_told() -> None:
    own = {
        "PATH": "/bin",
        "HTTPS_PROXY": "http://proxy",
        "DISCORD_TOKEN": "discord",
        "HF_HUB_ENABLE_HF_TRANSFER": "1",
        "HF_ENDPOINT": "https://of-the-shell",
        "HF_HOME": "/home",
    }
    settings = HuggingFaceSettings(endpoint="https://mirror.example", token="hf_secret")
    told = settings.environment(own)
    assert told["HF_ENDPOINT"] == "https://mirror.example"
    assert told["HF_TOKEN"] == "hf_secret"
    assert told["HF_HUB_CACHE"] == str(OWN_CACHE)
    assert told["HF_HUB_DISABLE_TELEMETRY"] == told["HF_HUB_DISABLE_XET"] == "1"
    assert told["HTTPS_PROXY"] == "http://proxy"
    assert not {"DISCORD_TOKEN", "HF_HUB_ENABLE_HF_TRANSFER"} & told.keys()
    assert HuggingFaceSettings().environment(own)["HF_ENDPOINT"] == "https://of-the-shell"
