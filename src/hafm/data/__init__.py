"""Training data: aligned crops of token pairs (section 3.2)."""
