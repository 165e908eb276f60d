"""A running A1111 webui as an engine."""
