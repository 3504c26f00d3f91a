"""The transformer of section 3.4, from position bias to the whole stack; it knows no tokens and no sound."""
