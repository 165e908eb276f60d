"""Denoisers: how each architecture is called, one file each."""
