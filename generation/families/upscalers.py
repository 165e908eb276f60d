"""Networks that enlarge pictures, by the tensors that spandrel knows them by."""

from typing import Final

from generation.families.layout import Layout
from generation.models import ModelKind


def _upscaler(variant: str, *needs: str, lacks: tuple[str, ...] = ()) -> Layout:
    return Layout(kind=ModelKind.UPSCALER, variant=variant, needs=needs, lacks=lacks)


_SWIN: Final = (
    "^layers.0.residual_group.blocks.0.norm1.weight$",
    "^layers.0.residual_group.blocks.0.attn.relative_position_index$",
)

UPSCALERS: Final = (
    _upscaler("ESRGAN", "^model.0.weight$", "^model.1.sub.0.RDB1.conv1.0.weight$"),
    _upscaler("ESRGAN", "^model.0.weight$", "^model.1.sub.0.RDB1.conv1x1.weight$"),
    _upscaler("MM-RealSR", "^conv_first.weight$", "^body.0.rdb1.conv1.weight$", "^am_list."),
    _upscaler("ESRGAN", "^conv_first.weight$", "^body.0.rdb1.conv1.weight$", "^conv_last.weight$"),
    _upscaler("ESRGAN", "^conv_first.weight$", "^RRDB_trunk.0.RDB1.conv1.weight$"),
    _upscaler("HAT", "^conv_first.weight$", "^layers.0.residual_group.blocks.0.conv_block.cab.0."),
    _upscaler("Swin2SR", *_SWIN, "^patch_embed.proj.weight$", "^conv_first."),
    _upscaler("SwinIR", *_SWIN, "^conv_first."),
    _upscaler("RGT", "^conv_first.weight$", "^before_RG.1.weight$", "^layers.0.blocks.0.gamma$"),
    _upscaler("DAT", "^conv_first.weight$", "^before_RG.1.weight$", "^layers.0.blocks.0.attn."),
    _upscaler("DRCT", "^conv_first.weight$", "^layers.0.swin1.norm1.weight$"),
    _upscaler("ATD", "^conv_first.weight$", "^layers.0.residual_group.td$"),
    _upscaler("CRAFT", "^conv_first.weight$", "^layers.0.residual_group.hf_blocks.0."),
    _upscaler("GRL", "conv_first.weight$", "layers.0.blocks.0.attn.window_attn.attn_transform."),
    _upscaler("FDAT", "^conv_first.", "^groups.0.blocks.0.attn.bias$", "^upsampler.MetaUpsample$"),
    _upscaler("OmniSR", "^residual_layer.0.residual_layer.0.layer.0.fn.0.weight$", "^up.0.weight$"),
    _upscaler("SPAN", "^block_1.c1_r.sk.weight$", "^conv_cat.weight$"),
    _upscaler("PLKSR", "^feats.0.weight$", "^feats.1.lk."),
    _upscaler("MoSR", "^gblocks.0.weight$", "^gblocks.1.fc1.weight$"),
    _upscaler("MoESR", "^in_to_dim.weight$", "^blocks.0.blocks.0.gamma$"),
    _upscaler("SAFMN", "^to_feat.", "^feats.0.", "safm.mfr.0.weight$"),
    _upscaler("RCAN", "^body.0.body.0.body.0.weight$", "^body.0.body.0.body.3.conv_du.0.weight$"),
    _upscaler("SeemoRe", "^conv_1.weight$", "^body.0.local_block.norm_1.weight$"),
    _upscaler("DITN", "^sft.weight$", "^UFONE.0.ITLs.0.attn.temperature$"),
    _upscaler("DCTLSA", "^fea_conv.weight$", "^B1.body.0.transformer_body.0.blocks.0."),
    _upscaler("RealCUGAN", "^unet1.conv1.conv.0.weight$", "^unet2.conv1.conv.0.weight$"),
    _upscaler("IPT", "^sub_mean.weight$", "^head.0.0.weight$"),
    _upscaler("AuraSR", "^mid_attn.layers.0.0.to_out.weight$", "^mid_block2.block1.proj.weights$"),
    _upscaler("SwiftSRGAN", "^initial.cnn.depthwise.weight$", "^final_conv.pointwise.weight$"),
    # a chain of convolutions, with names that others have, too
    _upscaler(
        "Compact",
        *("^body.0.weight$", "^body.0.bias$", "^body.1.weight$", "^body.2.weight$"),
        lacks=("^conv_in.", ".attn", "^down_blocks.", "^body.0.block1.weight$"),
    ),
)
