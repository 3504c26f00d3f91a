"""Training of the stages: data order, schedule and loop (section 3.5)."""
