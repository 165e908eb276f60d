"""A running ComfyUI as an engine."""
