"""What a running ComfyUI is told, in its API format, and how it is spoken to."""
