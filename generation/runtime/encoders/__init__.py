"""Text encoders: what reads a prompt, one file an architecture."""
