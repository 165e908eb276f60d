"""What a running A1111 webui, or a fork of it, is told, and how it is spoken to."""
