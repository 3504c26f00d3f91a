"""The three stages of section 3.3: what each reads and writes, its model, its loss, and bundles on disk."""
