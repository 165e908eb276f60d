"""What people can do, a room each; none imports another."""
