"""The lead sheet between the vocal and the band, and the guide that a stage hears of it."""
