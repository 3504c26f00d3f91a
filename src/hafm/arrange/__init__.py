"""From a lead sheet to a band: parts, a MIDI file, and the sound of a soundfont in stems."""
