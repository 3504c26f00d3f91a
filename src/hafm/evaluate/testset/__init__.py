"""What systems are tested on: clips of held-out songs, the same for every system, written into a manifest."""
