"""Whether an accompaniment fits its vocal: one measure a file, all of them in one table (`measures`)."""
