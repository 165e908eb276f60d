"""The commands beside `run`: without any chat."""
