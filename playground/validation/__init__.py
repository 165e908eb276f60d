"""What Discord refuses with 400 / 50035 "Invalid Form Body": lengths, counts, shapes."""
