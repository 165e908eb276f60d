"""What every feature needs of an interaction: who calls, how they are answered."""
