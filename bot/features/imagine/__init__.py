"""`/imagine`: a request from its options."""
