"""Listening tests: raters hear two mixes with the same vocal, and choose which accompaniment fits better."""
