"""What people do in this Discord, and what tests do to it: everything under /control."""
