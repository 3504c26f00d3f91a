"""The lead sheet (beats, bars, key, chords, style, arrangement), its files, and its frames for the stages."""
