"""Who may ask for what: pure, without Discord."""
