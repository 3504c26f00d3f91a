"""How well an accompaniment fits its vocal, measured on the sound."""
