"""The tensors of the networks that several families share, by their names in single files."""

from typing import Final

from generation.families.layout import Part, ShapeSide

BOTH: Final = "{weight,bias}"


def resnets(where: str) -> tuple[str, ...]:
    """Of residual blocks of a UNet."""
    layers = "{in_layers.0,in_layers.2,emb_layers.1,out_layers.0,out_layers.3}"
    return (f"{where}.{layers}.{BOTH}",)


def attention(where: str, depth: int) -> tuple[str, ...]:
    """Of transformers of a UNet, each of so many blocks."""
    block = f"{where}.transformer_blocks.{{0..{depth - 1}}}"
    return (
        f"{where}.{{norm,proj_in,proj_out}}.{BOTH}",
        f"{block}.{{norm1,norm2,norm3,attn1.to_out.0,attn2.to_out.0,ff.net.0.proj,ff.net.2}}.{BOTH}",
        f"{block}.{{attn1,attn2}}.{{to_q,to_k,to_v}}.weight",
    )


UNET_SECTIONS: Final = ("time_embed.", "input_blocks.", "middle_block.", "output_blocks.", "out.")
"""Of every UNet of Stable Diffusion."""
UNET_ENDS: Final = (f"{{time_embed.0,time_embed.2,input_blocks.0.0,out.0,out.2}}.{BOTH}",)
"""Of every UNet of Stable Diffusion."""
SIZE_EMBEDDING: Final = (f"label_emb.0.{{0,2}}.{BOTH}",)
"""What tells SDXL's of sizes and of the prompt as a whole."""

AUTOENCODER: Final = (
    f"{{encoder,decoder}}.{{conv_in,conv_out,norm_out}}.{BOTH}",
    f"{{encoder,decoder}}.mid.block_{{1,2}}.{{norm1,conv1,norm2,conv2}}.{BOTH}",
    f"{{encoder,decoder}}.mid.attn_1.{{norm,q,k,v,proj_out}}.{BOTH}",
    f"encoder.down.{{0..3}}.block.{{0,1}}.{{norm1,conv1,norm2,conv2}}.{BOTH}",
    f"encoder.down.{{1,2}}.block.0.nin_shortcut.{BOTH}",
    f"encoder.down.{{0..2}}.downsample.conv.{BOTH}",
    f"decoder.up.{{0..3}}.block.{{0..2}}.{{norm1,conv1,norm2,conv2}}.{BOTH}",
    f"decoder.up.{{0,1}}.block.0.nin_shortcut.{BOTH}",
    f"decoder.up.{{1..3}}.upsample.conv.{BOTH}",
)
QUANTISED: Final = (f"{{quant_conv,post_quant_conv}}.{BOTH}",)
"""Between the encoder and the decoder of a VAE."""


def clip_text(begins: str, title: str = "text encoder") -> Part:
    """OpenAI's CLIP, as transformers names it."""
    return Part(
        title=title,
        begins=begins,
        published=ShapeSide(f"^{begins}embeddings.token_embedding.weight$", 1, frozenset((768,))),
        sections=("embeddings.", "encoder.layers.0.", "final_layer_norm."),
        tensors=(
            "embeddings.{token,position}_embedding.weight",
            "encoder.layers.{0..11}.{layer_norm1,layer_norm2,mlp.fc1,mlp.fc2}." + BOTH,
            "encoder.layers.{0..11}.self_attn.{q,k,v,out}_proj." + BOTH,
            f"final_layer_norm.{BOTH}",
        ),
    )


def open_clip_text(
    begins: str, layers: int, width: int, *, projection: bool, title: str = "text encoder"
) -> Part:
    """OpenCLIP's, as it names them itself."""
    block = f"transformer.resblocks.{{0..{layers - 1}}}"
    return Part(
        title=title,
        begins=begins,
        published=ShapeSide(f"^{begins}token_embedding.weight$", 1, frozenset((width,))),
        sections=("token_embedding.", "transformer.resblocks.0.", "ln_final."),
        tensors=(
            "token_embedding.weight",
            "positional_embedding",
            f"{block}.{{ln_1,ln_2,attn.out_proj,mlp.c_fc,mlp.c_proj}}.{BOTH}",
            f"{block}.attn.in_proj_{BOTH}",
            f"ln_final.{BOTH}",
            *(("text_projection",) if projection else ()),
        ),
    )


def autoencoder(begins: str, *, quantised: bool = True) -> Part:
    """That of Stable Diffusion 1, 2 and XL, in CompVis' names; without `quantised`, that of SD3 and
    Flux.1.
    """
    quant = ("quant_conv.", "post_quant_conv.") if quantised else ()
    return Part(
        title="VAE",
        begins=begins,
        published=ShapeSide(f"^{begins}decoder.conv_in.weight$", 0, frozenset((512,))),
        sections=("encoder.", "decoder.", *quant),
        tensors=(*AUTOENCODER, *(QUANTISED if quantised else ())),
    )


HARMLESS: Final = (
    # what training and its schedule leave behind, and can be computed anew
    *("model_ema.", "betas", "alphas_cumprod", "sqrt_", "log_one_minus", "posterior_"),
    *("first_stage_model.loss.", "loss.", "scale_factor", "denoiser.sigmas", "logvar"),
    *("model_ema_", "lvlb_weights", "embedding_manager."),
    # the marks of v-prediction, zero terminal SNR and of fp8
    *("v_pred", "ztsnr", "scaled_fp8"),
    # of CLIP what Stable Diffusion reads nothing of
    "cond_stage_model.model.transformer.resblocks.23.",
    *("cond_stage_model.model.text_projection", "cond_stage_model.model.logit_scale"),
    *("cond_stage_model.model.attn_mask", "cond_stage_model.logit_scale"),
    *("cond_stage_model.text_projection", "cond_stage_model.transformer.text_projection"),
    *("conditioner.embedders.0.logit_scale", "conditioner.embedders.0.text_projection"),
    "conditioner.embedders.0.model.transformer.resblocks.23.",
    "conditioner.embedders.0.model.text_projection",
    *("conditioner.embedders.0.model.logit_scale", "conditioner.embedders.1.model.logit_scale"),
    *("conditioner.embedders.0.model.attn_mask", "conditioner.embedders.1.model.attn_mask"),
    "conditioner.embedders.0.transformer.text_projection",
)
"""How tensors begin that are in many checkpoints and that no picture is made of."""
HARMLESS_ENDS: Final = (
    *(".position_ids", ".num_batches_tracked"),
    # beside weights of 8 bits, which are told by them
    *(".scale_weight", ".scale_input", ".weight_scale", ".input_scale", ".comfy_quant"),
)
