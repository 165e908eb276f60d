"""What is fetched of repositories as they lie on the hub: each part once, and nothing that runs."""

from collections.abc import Mapping

import pytest

from generation.hub_files import HubFile, NotNeededError, needed

INDEX = {
    "_class_name": "StableDiffusionPipeline",
    "_diffusers_version": "0.42.0",
    "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
    "feature_extractor": ["transformers", "CLIPImageProcessor"],
    "image_encoder": [None, None],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
}
PIPELINE = """
model_index.json README.md .gitattributes v1-5-pruned.safetensors v1-5-pruned.ckpt
unet/config.json unet/diffusion_pytorch_model.bin unet/diffusion_pytorch_model.fp16.bin
unet/diffusion_pytorch_model.safetensors unet/diffusion_pytorch_model.fp16.safetensors
unet/diffusion_pytorch_model.non_ema.safetensors unet/model.onnx unet/flax_model.msgpack
text_encoder/config.json text_encoder/model.safetensors text_encoder/pytorch_model.bin
tokenizer/vocab.json tokenizer/merges.txt tokenizer/tokenizer.py
safety_checker/config.json safety_checker/model.safetensors
feature_extractor/preprocessor_config.json image_encoder/model.safetensors
vae_1_0/config.json vae_1_0/diffusion_pytorch_model.safetensors
"""
SHARDED = """
model_index.json
unet/config.json unet/diffusion_pytorch_model.safetensors.index.json
unet/diffusion_pytorch_model-00001-of-00002.safetensors
unet/diffusion_pytorch_model-00002-of-00002.safetensors
text_encoder/config.json text_encoder/model.safetensors.index.json
text_encoder/model.safetensors.index.fp16.json text_encoder/model.fp16.safetensors.index.json
text_encoder/model.fp16-00001-of-00002.safetensors
text_encoder/model.fp16-00002-of-00002.safetensors
text_encoder/model-00001-of-00001.safetensors
"""


def files(text: str) -> list[HubFile]:
    return [HubFile(name) for name in text.split()]


def names(text: str, wanted: str = "", index: Mapping[str, object] | None = None) -> set[str]:
    found = [file.name for file in needed(files(text), wanted, index)]
    assert len(found) == len(set(found))
    return set(found)


def test_a_pipeline_with_all_that_people_lay_beside_it() -> None:
    assert names(PIPELINE, index=INDEX) == {
        "model_index.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "text_encoder/config.json",
        "text_encoder/model.safetensors",
        "tokenizer/vocab.json",
        "tokenizer/merges.txt",
    }


def test_weights_in_pieces_come_with_their_own_list() -> None:
    assert names(SHARDED, index=INDEX) == {
        "model_index.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors.index.json",
        "unet/diffusion_pytorch_model-00001-of-00002.safetensors",
        "unet/diffusion_pytorch_model-00002-of-00002.safetensors",
        "text_encoder/config.json",
        "text_encoder/model.safetensors.index.fp16.json",
        "text_encoder/model.fp16.safetensors.index.json",
        "text_encoder/model.fp16-00001-of-00002.safetensors",
        "text_encoder/model.fp16-00002-of-00002.safetensors",
    }


def test_a_part_alone() -> None:
    text = """README.md config.json diffusion_pytorch_model.bin images/a.png train.py data.json
        diffusion_pytorch_model.safetensors diffusion_pytorch_model.fp16.safetensors"""
    assert names(text) == {"config.json", "diffusion_pytorch_model.fp16.safetensors"}


def test_one_file() -> None:
    assert names("README.md dream.safetensors dream.ckpt") == {"dream.safetensors"}
    collection = "a-Q4_0.gguf a-Q8_0.gguf sub/b.safetensors run.py"
    assert names(collection, wanted="a-Q8_0.gguf") == {"a-Q8_0.gguf"}
    assert names(PIPELINE, wanted="v1-5-pruned.safetensors") == {"v1-5-pruned.safetensors"}


@pytest.mark.parametrize(
    ("text", "wanted", "said"),
    [
        ("a.gguf b.gguf", "", "several models. Name one behind a colon: a.gguf, b.gguf"),
        ("a.ckpt README.md", "", "holds pickles alone"),
        ("README.md run.py", "", "holds no model"),
        ("a.gguf", "b.gguf", "has no file b.gguf. Nearest: a.gguf"),
        ("a.gguf run.py", "run.py", "only .safetensors and .gguf"),
        ("a.ckpt", "a.ckpt", "only .safetensors and .gguf"),
    ],
)
def test_what_is_not_fetched(text: str, wanted: str, said: str) -> None:
    with pytest.raises(NotNeededError) as raised:
        needed(files(text), wanted, None)
    assert said in str(raised.value)


def test_a_part_whose_weights_are_a_pickle() -> None:
    text = "model_index.json unet/config.json unet/diffusion_pytorch_model.bin"
    with pytest.raises(NotNeededError, match=r"weights of unet as a pickle \(.bin\) alone"):
        needed(files(text), "", INDEX)
