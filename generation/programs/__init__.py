"""Programs of others that draw for the bot: what is the same of ComfyUI and A1111's webui."""
