"""Layouts that are told so that nobody takes them for something else: they can't be drawn with."""

from typing import Final

import msgspec

from generation.families.layout import Layout, ShapeSide
from generation.models import ModelKind

DIT: Final = ModelKind.CHECKPOINT


def _family(family: str, *needs: str, lacks: tuple[str, ...] = ()) -> Layout:
    return Layout(kind=DIT, family=family, needs=needs, lacks=lacks)


def _what(what: str, *needs: str, lacks: tuple[str, ...] = ()) -> Layout:
    return Layout(kind=None, what=what, needs=needs, lacks=lacks)


_UNET: Final = ("^input_blocks.", ".attn2.to_k.weight$")

STABLE_DIFFUSION: Final = (
    _what("a model for videos (text2video)", *_UNET, ".temopral_conv."),
    _what("a model for videos (Stable Video Diffusion)", *_UNET, ".time_stack."),
    _what("a motion module of AnimateDiff, for videos", "motion_modules.0."),
    _what("an unCLIP model, which draws variations of a picture", *_UNET, "^embedder.model.visual"),
    _what("an unCLIP model, which draws variations of a picture", *_UNET, "^noise_augmentor."),
    _what("Stable Diffusion's x4 upscaler, a diffusion model", *_UNET, "^label_emb.weight$"),
    Layout(kind=DIT, family="playground-2.5", needs=("^edm_mean$", "^input_blocks.")),
    _what("Zero123, a model for views of an object", *_UNET, "^cc_projection."),
    _what("Kolors", *_UNET, "^encoder_hid_proj."),
)
"""Of Stable Diffusion's make, with parts that its pipelines have no place for."""


def _sided(layout: Layout, pattern: str, axis: int, *sides: int) -> Layout:
    """The same, where that side of a tensor is one of these."""
    return msgspec.structs.replace(layout, sides=(ShapeSide(pattern, axis, frozenset(sides)),))


_VIDEO: Final = "a model for videos"
_FLUX_2_NAMES: Final = (
    ("^single_stream_modulation.lin.weight$", "^txt_in.weight$"),
    ("^double_stream_modulation_img.linear.weight$", "^context_embedder.weight$"),
)
"""In its authors' names and in diffusers': by what Flux.2 is told, and what reads the text."""
_HUNYUAN: Final = tuple(
    layout
    for needs, first in (
        (("^double_blocks.0.", "^txt_in.individual_token_refiner."), "^img_in.proj.weight$"),
        (("^context_embedder.time_text_embed.",), "^x_embedder.proj.weight$"),
    )
    for layout in (
        _sided(_family("hunyuan-image", *needs), first, 0, 3584),
        _what(f"{_VIDEO} (Hunyuan Video)", *needs),
    )
)

_Z_IMAGE: Final = ("^cap_pad_token$", "^layers.0.adaLN_modulation.0.weight$")
"""What Z-Image has beside Lumina 2's names."""

PIXELS: Final = "a ControlNet of Flux.1 that reads pixels in another way than XLabs'"
MASKED: Final = "a ControlNet of Flux.1 for inpainting, which is shown a mask"
MASKED_SD3: Final = "a ControlNet of Stable Diffusion 3 for inpainting, which is shown a mask"

FAMILIES_TO_COME: Final = (
    # ControlNets first: they have the names of what they steer beside their own
    _what("a ControlNet of Flux.2", "^control_img_in.weight$"),
    _what("a ControlNet of Flux.2", "^control_transformer_blocks.0.", "^control_x_embedder."),
    _what(PIXELS, "^controlnet_blocks.0.", "^double_blocks.0."),
    _what("a ControlNet of Qwen-Image", "^controlnet_x_embedder.", "^txt_norm.weight$"),
    _what("a ControlNet of Qwen-Image", "^controlnet_blocks.0.y_rms."),
    _what(PIXELS, "^controlnet_x_embedder.", "^input_hint_block."),
    _what(MASKED, "^controlnet_x_embedder."),
    _what(MASKED_SD3, "^pos_embed_input."),
    _what("a ControlNet of Sana", "^controlnet_blocks.0.", ".ff.conv_inverted."),
    _what("a ControlNet of Hunyuan-DiT", "^controlnet_blocks.0.", "^blocks.0.", "^time_extra_emb."),
    _what("a ControlNet of Stable Diffusion 3", "^controlnet_blocks.0.", "transformer_blocks.0."),
    _what("half a ControlNet of Z-Image", "^control_all_x_embedder."),
    _what("half a ControlNet of Z-Image", "^control_layers.0."),
    _what("a ControlNet of Cosmos", "^control_blocks.0.after_proj."),
    _what("a ControlNet of a video model (VACE)", "^vace_blocks.0."),
    *(_sided(_family("flux2-dev", mark), text, 1, 15360) for mark, text in _FLUX_2_NAMES),
    _family("flux3", "^early_stream_modulations.image."),
    _what("Chroma Radiance, which draws pixels without a VAE", "^nerf_blocks.0."),
    *_HUNYUAN,
    _what("a model for shapes (Hunyuan3D)", "^latent_in.weight$", "^double_blocks.0."),
    _what("a model that edits pictures (JoyImage)", "^double_blocks.0.img_mod.modulate_table$"),
    # Flux.1's layers in diffusers' names, with another text encoder
    _what("Ovis-Image", "^single_transformer_blocks.0.", "^context_embedder_norm.weight$"),
    _what("Bria Fibo", "^single_transformer_blocks.0.", "^caption_projection.0.linear.weight$"),
    _what("LongCat-Image or Bria", "^single_transformer_blocks.0.", "^time_embed."),
    _family("auraflow", "^joint_transformer_blocks.0.", "^register_tokens$"),
    _what("OmniGen2", "^time_caption_embed.", "^ref_image_refiner.0."),
    _family("lumina2", "^cap_embedder.0.weight$", lacks=_Z_IMAGE),
    _family("lumina2", "^time_caption_embed.caption_embedder.1.weight$"),
    _family("qwen-image-2.1", "^txt_in.text_norm.weight$"),
    _what("Nucleus-Image", "^txt_norm.weight$", "^transformer_blocks.0.encoder_proj."),
    _family("krea2", "^txtfusion.projector.weight$"),
    _family("krea2", "^text_fusion.", "^time_mod_proj.weight$"),
    _family("anima", "^llm_adapter."),
    _family("ideogram4", "^llm_cond_proj.weight$"),
    _family("ernie-image", "^layers.0.adaLN_sa_ln.weight$"),
    _family("hidream", "^double_stream_blocks.0.block."),
    _family("hidream", "^caption_projection.0.linear.weight$", "^double_stream_blocks."),
    _family("sana", "^blocks.0.cross_attn.q_linear.weight$", "^blocks.0.mlp.inverted_conv."),
    _family("sana", "^transformer_blocks.0.ff.conv_inverted.weight$"),
    _family("pixart", "^blocks.0.cross_attn.q_linear.weight$"),
    _sided(
        _family("pixart", "^adaln_single.emb.timestep_embedder.", "^pos_embed.proj.weight$"),
        "^pos_embed.proj.weight$",
        0,
        1152,
    ),
    _family("auraflow", "^double_layers.0.attn.w1q.weight$"),
    _family("cascade", "^clip_txt_mapper.weight$"),
    _family("cascade", "^down_blocks.1.0.channelwise.0.weight$"),
    _family("hunyuan-dit", "^mlp_t5.0.weight$"),
    _family("hunyuan-dit", "^time_extra_emb.", "^blocks.0.attn1."),
    _what("GLM-Image", "^glyph_projector."),
    _what("CogView", "^patch_embed.text_proj.weight$", "^time_condition_embed."),
    _what("PRX", "^blocks.0.attention.img_qkv_proj.weight$"),
    _what("OmniGen", "^input_x_embedder."),
    _what("Kandinsky 5 or 6, a model for videos and pictures", "^visual_transformer_blocks.0."),
    _what(f"{_VIDEO} (CogVideoX)", "^patch_embed.text_proj.weight$"),
    _what(f"{_VIDEO} (Mochi)", "^blocks.0.attn.qkv_x.weight$"),
    _what(f"{_VIDEO} (Mochi)", "^time_embed.pooler.to_kv."),
    _what(f"{_VIDEO} (Wan)", "^head.modulation$", "^blocks.0.cross_attn."),
    _what(f"{_VIDEO} (Wan)", "^condition_embedder.time_embedder.", "^blocks.0.ffn.net.0.proj."),
    _what(f"{_VIDEO} with sound (LTX 2)", "^audio_patchify_proj."),
    _what(f"{_VIDEO} with sound (LTX 2)", "^audio_proj_in.", "^proj_in.", "transformer_blocks.0."),
    _what(f"{_VIDEO} (LTX)", "^patchify_proj.weight$"),
    _what(f"{_VIDEO} (LTX)", "^proj_in.weight$", "^transformer_blocks.0.scale_shift_table$"),
    _what(f"{_VIDEO} (Allegro)", "^adaln_single.", "^pos_embed.proj.", "^transformer_blocks.0."),
    _what(f"{_VIDEO} (Cosmos)", "^x_embedder.proj.1.weight$"),
    _what(f"{_VIDEO} (Cosmos)", "^transformer_blocks.0.norm1.linear_2.weight$", "^patch_embed."),
    _what("a model that restores pictures and videos (SeedVR2)", "blocks.0.attn.proj_qkv."),
    _what("a model for audio (Stable Audio)", "^timestep_proj.0.", "^preprocess_conv.weight$"),
    _what("a model for audio (ACE-Step)", "^genre_embedder.weight$"),
    _what("a model for audio (ACE-Step)", "^layers.0.cross_attn_norm.", "^proj_out_conv."),
)
"""The first sign that fits is it: Flux.2 and Chroma have Flux.1's names beside their own."""

CONTROL: Final = (
    _what("a ControlNet-LLLite", "lllite_"),
    _what("a Control-LoRA", "^lora_controlnet$"),
    _what("an IP-Adapter", "^ip_adapter."),
    _what("an IP-Adapter", "^image_proj."),
    _what("a style adapter (T2I)", "^transformer_layes.0.", "^proj$"),
    _what("a PhotoMaker", "^id_encoder."),
    _what("a PuLID, which keeps a face", "^pulid_"),
    _what("Flux.1 Redux, a style model", "^redux_up.weight$"),
)

OTHERS: Final = (
    # of no size that is known
    *(_family("flux2", mark) for mark, _ in _FLUX_2_NAMES),
    _what("an approximate VAE for previews (TAESD)", "^decoder.layers.0.weight$"),
    _what("an approximate VAE for previews (TAESD)", "^taesd_decoder."),
    _what("an approximate VAE for previews (TAESD)", "^1.weight$", "^3.conv.0.weight$"),
    _what("a VAE of Wan, for videos", "decoder.middle.0.residual.0.gamma$"),
    _what("a VAE of Wan, for videos", "^decoder.up_blocks.0.resnets.0.norm1.gamma$", ".time_conv."),
    _what("a VAE of another family", "^decoder.norm_out.gamma$"),
    _what("a VAE of a video model (Stable Video Diffusion)", "^decoder.", ".time_stack."),
    _what("a VAE of a video model", "decoder.conv_in.conv.weight$"),
    _what("a VAE of a video model (LTX)", "decoder.up_blocks.0.res_blocks.0.conv1.conv.weight$"),
    _what("a VAE of a video model (Mochi)", "blocks.2.blocks.3.stack.5.weight$"),
    _what("a VAE of a video model (Cosmos)", "decoder.unpatcher3d.wavelets$"),
    _what("a VAE for audio", "decoder.layers.1.layers.0.beta$"),
    _what("a VAE for audio (ACE-Step)", "^vocoder."),
    _what("a VAE of Sana (DC-AE)", "^decoder.project_in."),
    _what("a VAE of Sana (DC-AE)", "^decoder.up_blocks.0.0.", "^encoder.down_blocks.0.0."),
    _what("a part of Stable Cascade", "^vquantizer.codebook.weight$"),
    _what("a part of Stable Cascade", "backbone.1.0.block.0.1.num_batches_tracked$"),
    Layout(
        kind=None,
        what="a VAE of HunyuanImage",
        needs=("^decoder.conv_in.weight$",),
        sides=(ShapeSide("^decoder.conv_in.weight$", 1, frozenset((64,))),),
    ),
    _what("a hypernetwork", "^hypernetwork."),
    _what("a model that restores faces (CodeFormer)", "^quantize.embedding.weight$", "^idx_pred_"),
    _what("a model that restores faces (RestoreFormer)", "^quantize.embedding.weight$"),
    _what(
        "a RestoreFormer++, or a RestoreFormer as it was trained, which nothing here reads: take"
        " RestoreFormer.pth of GFPGAN's releases",
        "^vqvae.quantize.embedding.weight$",
    ),
    _what("a model that restores faces (GFPGAN)", "^stylegan_decoder."),
    _what("facexlib's face detector, in whose place YuNet is", "^BboxHead.0.conv1x1.weight$"),
    _what("a model that cleans pictures (SCUNet)", "^m_head.0.weight$", "^m_tail.0.weight$"),
    _what("a model that cleans pictures (NAFNet)", "^intro.weight$", "^middle_blks.0.beta$"),
    _what("a model that fills gaps (LaMa)", "model.1.bn_l.running_mean$"),
    _what("a text encoder alone (T5)", "encoder.block.0.layer.0.SelfAttention.q.weight$"),
    _what("a safety checker", "^concept_embeds$"),
    _what("a speech recogniser (Whisper)", "encoder.layers.0.", "decoder.layers.0.encoder_attn."),
    _what("CLIP's eye, an image encoder", "vision_model.encoder.layers.0.", lacks=("text_model.",)),
    _what("CLIP with its image encoder", "vision_model.encoder.layers.0."),
    _what("CLIP's eye, an image encoder", "visual.transformer.resblocks.0."),
    _what("a text encoder alone (CLIP)", "text_model.encoder.layers.0."),
    _what("a text encoder alone (CLIP)", "^transformer.resblocks.0.", "^token_embedding.weight$"),
    _what("a language model", "model.layers.0.self_attn.q_proj.weight$"),
    _what("a language model", "layers.0.self_attn.q_proj.weight$", "embed_tokens.weight$"),
    _what("a language model", "^transformer.h.0.attn."),
    _what("a model for audio (ACE-Step)", "lyric_embs."),
    _what("a model for audio (Stable Audio)", "^pretransform.model.", "^model.model.transformer."),
    _what("a denoiser alone, in diffusers' names", "^down_blocks.0.", ".attn2.to_k.weight$"),
    _what("a model that cuts out what is shown (SAM)", "mask_decoder.", "image_encoder."),
    _what("a model that cuts out what is shown", "^bb.layers.0.blocks.0."),
    _what("a model that sees depth", "depth_head.", "pretrained.blocks.0."),
    _what("a model that sees depth", "^head.", "^backbone.encoder.layer.0."),
    _what("an image encoder (DINOv2)", "encoder.layer.0.layer_scale1."),
    _what("a picture classifier", "^classifier.weight$", ".attention."),
    _what("a picture classifier", "^blocks.0.attn.qkv.weight$", "^patch_embed.proj.weight$"),
)
