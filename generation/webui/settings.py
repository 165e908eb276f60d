"""A1111's settings that change what is drawn, as the project's own engine draws it.

They hold for one picture and are what its person had set again once that is drawn.
"""

from collections.abc import Mapping
from typing import Final

SAME: Final[Mapping[str, object]] = {
    "randn_source": "CPU",
    "CLIP_stop_at_last_layers": 1,
    "sdxl_clip_l_skip": False,
    "emphasis": "Original",
    "enable_prompt_comments": False,
    "comma_padding_backtrack": 20,
    "enable_quantization": False,
    "tiling": False,
    "face_restoration": False,
    "sd_unet": "Automatic",
    "sd_hypernetwork": "None",
    "sd_lora": "None",
    "lora_add_hashes_to_infotext": True,
    "hires_fix_refiner_pass": "second pass",
    "refiner_switch_by_sample_steps": True,
    "sdxl_crop_top": 0,
    "sdxl_crop_left": 0,
    "sdxl_refiner_low_aesthetic_score": 2.5,
    "sdxl_refiner_high_aesthetic_score": 6.0,
    "sd_vae_overrides_per_model_preferences": True,
    "sd_vae_encode_method": "Full",
    "sd_vae_decode_method": "Full",
    "inpainting_mask_weight": 1.0,
    "initial_noise_multiplier": 1.0,
    "img2img_extra_noise": 0.0,
    "img2img_color_correction": False,
    "img2img_fix_steps": False,
    "overlay_inpaint": True,
    "s_min_uncond": 0.0,
    "token_merging_ratio": 0.0,
    "token_merging_ratio_img2img": 0.0,
    "token_merging_ratio_hr": 0.0,
    "pad_cond_uncond": False,
    "pad_cond_uncond_v0": False,
    "use_old_emphasis_implementation": False,
    "use_old_karras_scheduler_sigmas": False,
    "no_dpmpp_sde_batch_determinism": False,
    "use_old_hires_fix_width_height": False,
    "hires_fix_use_firstpass_conds": False,
    "use_old_scheduling": False,
    "use_downcasted_alpha_bar": False,
    "eta_ddim": 0.0,
    "eta_ancestral": 1.0,
    "ddim_discretize": "uniform",
    "s_churn": 0.0,
    "s_tmin": 0.0,
    "s_tmax": 0.0,
    "s_noise": 1.0,
    "sigma_min": 0.0,
    "sigma_max": 0.0,
    "rho": 0.0,
    "eta_noise_seed_delta": 0,
    "always_discard_next_to_last_sigma": False,
    "sgm_noise_multiplier": False,
    "uni_pc_variant": "bh1",
    "uni_pc_skip_type": "time_uniform",
    "uni_pc_order": 3,
    "uni_pc_lower_order_final": True,
    "sd_noise_schedule": "Default",
    "skip_early_cond": 0.0,
    "beta_dist_alpha": 0.6,
    "beta_dist_beta": 0.6,
    "forge_try_reproduce": "None",
}
"""A1111's own defaults, but for the noise, which is drawn on the processor, and `#`, which is text.

Source: modules/shared_options.py of A1111's webui 1.10.1 and of Forge.
"""
CLIP_SKIP: Final = "CLIP_stop_at_last_layers"
VAE: Final = "sd_vae"
MODULES: Final = "forge_additional_modules"
"""Forge's, which takes VAEs and text encoders so."""
FACES: Final = "face_restoration_model"
FIDELITY: Final = "code_former_weight"
CHECKPOINT: Final = "sd_model_checkpoint"
FORMAT: Final = "samples_format"
"""Of the files that pictures are handed out as, too; it can't be set for one picture."""
