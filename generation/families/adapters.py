"""LoRAs and their kin: by which algorithm they change layers, and of which family those are."""

import re
from typing import Final

import msgspec

_DOWN: Final = r"\.(?:lora_down|lora_A(?:\.default)?|lora\.down)\.weight"
_UP: Final = r"\.(?:lora_up|lora_B(?:\.default)?|lora\.up)\.weight"
"""A change of low rank: its second side is what the layer takes, or its first what it gives."""


class Sign(msgspec.Struct, frozen=True):
    """Layers that tell a family by their names, and where those are several's by a side."""

    family: str
    layers: re.Pattern[str]
    axis: int = 0
    side: int = 0
    """0 where the names tell enough."""


def _takes(family: str, layers: str, side: int) -> Sign:
    return Sign(family, re.compile(layers + _DOWN), 1, side)


def _gives(family: str, layers: str, side: int) -> Sign:
    return Sign(family, re.compile(layers + _UP), 0, side)


class Algorithm(msgspec.Struct, frozen=True):
    """How a file changes the layers that it names. The first whose mark is there is it."""

    variant: str
    marks: tuple[str, ...]


ALGORITHMS: Final = (
    Algorithm("dora", (".dora_scale$",)),
    Algorithm("loha", (".hada_w1_a$",)),
    Algorithm("lokr", (".lokr_w1$", ".lokr_w1_a$")),
    Algorithm("oft", (".oft_blocks$", ".oft_diag$", ".oft_R.weight$")),
    Algorithm("glora", (".a1.weight$",)),
    Algorithm("ia3", (".on_input$",)),
    Algorithm(
        "",
        (
            *(".lora_down.weight$", ".lora_A.weight$", "_lora.down.weight$"),
            *(".lora_A.default.weight$", ".lora.down.weight$", ".lora_linear_layer.down.weight$"),
            # XLabs' of Flux.1
            *("_lora1.down.weight$", "_lora2.down.weight$"),
        ),
    ),
    Algorithm("full", (".diff$",)),
)
"""Of LyCORIS, kohya, peft and diffusers; DoRA has a LoRA's tensors beside its own."""

NEEDS: Final = ("lora_", "lycoris_", "unet.", "text_encoder", "_blocks", "mid_block", "lora.")
"""One of these stands in a name of each."""

SD_LAYERS: Final = re.compile(
    r"(?:down|up)_blocks[._]\d|mid_block[._]|(?:in|out)put_blocks[._]\d|middle_block[._]\d"
    r"|text_model[._]encoder[._]layers[._]\d|\n(?:lora_unet|lycoris|unet)[._](?:conv_in|conv_out"
    r"|time_emb|label_emb|add_emb|out[._]\d)|\nlora_te[12]?_|\ntext_encoder(?:_2)?\."
    r"|\n(?:conv_in|conv_out)\."
)
"""Layers of Stable Diffusion's UNet or of its text encoders."""

XL_NAMES: Final = re.compile(
    r"\nlora_te[12]_|\ntext_encoder_2\."
    # kohya's trainer names SDXL's blocks, and no others, as CompVis does
    r"|\n(?:lora_unet|lycoris)_(?:input_blocks|output_blocks|middle_block|label_emb)_"
    # of Stable Diffusion 1 and 2 each transformer is one block deep
    r"|(?:down_blocks|up_blocks|mid_block|input_blocks|output_blocks|middle_block)[._]"
    r"(?:\d+[._])?(?:\d+[._])?(?:attentions[._]\d+[._])?transformer_blocks[._][1-9]"
    r"|[._]add_embedding[._]"
)
FOUR_LEVELS: Final = re.compile(
    r"(?:down_blocks|up_blocks)[._]3[._]|down_blocks[._]0[._]attentions|input_blocks[._](?:9|1\d)[._]"
)
"""Of Stable Diffusion 1 or 2: SDXL has three levels, and no attention on the first."""

CONTEXT: Final = re.compile(
    r"attn2[._](?:processor\.)?to_[kv](?:_lora\.down|\.lora_down|\.lora_A(?:\.default)?|\.lora\.down"
    r"|\.lora_linear_layer\.down|\.hada_w1_b|\.diff|\.lokr_w2)\b"
)
"""What reads the text: its second side has the width of the text embedding."""
CONTEXT_KRON: Final = re.compile(r"(attn2[._]to_[kv])\.lokr_w[12]")
TEXT: Final = re.compile(
    r"(?:\nlora_te_|\ntext_encoder\.)\S*?k_proj(?:\.lora_down|\.lora_A|\.hada_w1_b|_lora\.down"
    r"|\.lora_linear_layer\.down|\.diff)\b"
)
"""Of a text encoder that is the only one: its own width."""
LINEAR: Final = re.compile(r"attentions[._]\d+[._]proj_in\.(?:lora_down|lora_A|hada_w1_b)\b")
"""A projection that is a matrix in Stable Diffusion 2, and a convolution in 1."""

BASES: Final = {
    "sdxl-refiner": ("stable-diffusion-xl-v1-refiner",),
    "sdxl": ("sdxl", "stable-diffusion-xl", "pony", "illustrious", "noobai"),
    "sd1": ("sd_v1", "sd_1", "stable-diffusion-v1", "sd 1", "stable-diffusion-1"),
    "sd2": ("sd_v2", "sd_2", "stable-diffusion-v2", "sd 2", "stable-diffusion-2"),
    "sd3.5": ("sd3.5", "stable-diffusion-v3.5", "stable-diffusion-3.5", "sd 3.5"),
    "sd3": ("sd3", "stable-diffusion-v3", "stable-diffusion-3", "sd 3"),
    "flux2-klein-4b": ("flux2_klein_4b", "flux2-klein-4b", "flux.2 klein 4b", "flux.2-klein-4b"),
    "flux2-klein-9b": ("flux2_klein_9b", "flux2-klein-9b", "flux.2 klein 9b", "flux.2-klein-9b"),
    "flux2-dev": ("flux2_dev", "flux2-dev", "flux.2 d", "flux.2-d"),
    "flux2": ("flux2", "flux.2", "flux-2"),
    "flux3": ("flux3", "flux.3", "flux-3"),
    "flux": ("flux",),
    "qwen-image-2.1": ("qwen-image-2.1", "qwen image 2.1", "qwen_image_21"),
    "qwen-image": ("qwen",),
    "z-image": ("zimage", "z-image", "z_image"),
    "chroma": ("chroma",),
    "lumina2": ("lumina",),
    "hidream": ("hidream",),
    "krea2": ("krea2", "krea-2"),
    "anima": ("anima",),
    "ideogram4": ("ideogram4", "ideogram 4", "ideogram-4"),
    "ernie-image": ("ernie-image", "ernie image", "ernie_image"),
    "hunyuan-image": ("hunyuanimage", "hunyuan-image", "hunyuan image"),
}
"""How trainers begin the name of what they trained on: kohya's `ss_base_model_version` and
`modelspec.architecture` of Stability AI's ModelSpec. The first that fits is it."""

SAME_LAYERS: Final = {"flux": ("chroma",)}
"""Families whose layers others have too: what was noted beside a LoRA's tensors tells those."""

_FLUX_IN: Final = r"(?:double_blocks[._]\d+[._]\w+?_attn[._]qkv|single_blocks[._]\d+[._]linear1)"
_FLUX_MLP: Final = r"double_blocks[._]\d+[._](?:img|txt)_mlp[._]0"
_LAYERS: Final = r"layers[._]\d+[._]attention[._](?:qkv|to_[qkv])"
_JOINT: Final = r"transformer_blocks[._]\d+[._]attn[._]add_q_proj"
UNET: Final = ("down_blocks", "up_blocks", "mid_block", "put_blocks", "middle_block")
"""One of these is in each name of a layer of a UNet, and in none of a transformer alone."""
SIGNS: Final = (
    _takes("flux2-klein-9b", _FLUX_IN, 4096),
    _takes("flux2-dev", _FLUX_IN, 6144),
    # as wide as Flux.1, with another MLP and fewer blocks
    _gives("flux2-klein-4b", r"single_blocks[._]\d+[._]linear1", 27648),
    _gives("flux2-klein-4b", _FLUX_MLP, 18432),
    Sign("flux", re.compile(r"double_blocks[._](?:[5-9]|1\d)[._]|single_blocks[._][23]\d[._]")),
    _gives("flux", r"single_blocks[._]\d+[._]linear1", 21504),
    _gives("flux", _FLUX_MLP, 12288),
    _takes("z-image", _LAYERS, 3840),
    _takes("lumina2", _LAYERS, 2304),
    _takes("ideogram4", _LAYERS, 4608),
    Sign("ernie-image", re.compile(r"layers[._]\d+[._]self_attention[._]to_[qkv]")),
    Sign("qwen-image-2.1", re.compile(r"img_mlp[._]gate_layer")),
    # more blocks than Flux.1 has, in diffusers' names
    _takes("qwen-image", r"transformer_blocks[._][2-5]\d[._]attn[._](?:add_q_proj|to_q)", 3072),
    _takes("sd3", _JOINT, 1536),
    _takes("sd3", _JOINT, 2432),
    Sign("krea2", re.compile(r"blocks[._]\d+[._]attn[._](?:wq|to_gate)\.")),
    Sign("anima", re.compile(r"blocks[._]\d+[._]cross_attn[._]q_proj\.")),
    Sign("flux3", re.compile(r"mode_blocks[._]|early_stream_modulations[._]")),
    Sign("sana", re.compile(r"ff[._]conv_inverted|mlp[._]inverted_conv")),
)
"""The first that is there is it."""
WIDENED: Final = _takes("flux", r"(?:img_in|x_embedder)", 128)
"""Of Flux.1 what is shown a control picture's latents beside its own: the LoRAs that Black Forest
Labs made of its Depth and Canny."""
OTHERS: Final = (
    ("flux2", ("double_stream_modulation", "single_stream_modulation", "to_qkv_mlp_proj")),
    ("chroma", ("distilled_guidance_layer",)),
    ("hidream", ("double_stream_blocks", "single_stream_blocks")),
    ("anima", ("llm_adapter",)),
    ("krea2", ("txtfusion",)),
    ("flux", ("double_blocks", "single_transformer_blocks")),
    ("sd3", ("joint_blocks", "ff_context")),
    ("qwen-image", ("img_mlp", "txt_mlp")),
    ("auraflow", ("joint_transformer_blocks", "double_layers")),
    ("z-image", ("cap_embedder", "noise_refiner", "context_refiner")),
)
"""Families beside Stable Diffusion by what is in the names of their layers."""
NOT_FOR_PICTURES: Final = (
    # the file does not say how its rotations are scaled
    ("a LoRA of a method that can't be used here (peft's OFT)", (".oft_R.weight$",)),
    ("a LoRA of a method that can't be used here (LyCORIS' first OFT)", (".oft_diag$",)),
    ("a LoRA for a language model", ("^base_model.model.model.layers.", "^model.layers.")),
    ("a LoRA for videos (AnimateDiff)", ("motion_modules",)),
    (
        "a LoRA for videos (Wan)",
        (
            *(f".cross_attn.{layer}." for layer in "qkvo"),
            *(f"_cross_attn_{layer}." for layer in "qkvo"),
            *(".ffn.net.0.", "_img_emb_", "vace_blocks"),
        ),
    ),
    ("a LoRA for videos (LTX)", ("patchify_proj", "scale_shift_table", "audio_attn1")),
    # it has a block more than Flux.1, of the same make
    (
        "a LoRA for Hunyuan Video or HunyuanImage",
        ("individual_token_refiner", "double_blocks.19.", "double_blocks_19_"),
    ),
    ("a LoRA for audio", ("lyric_", "genre_embedder")),
)
EMBEDDINGS: Final = "bundle_emb."
"""Words that OneTrainer lays into a LoRA's file."""
