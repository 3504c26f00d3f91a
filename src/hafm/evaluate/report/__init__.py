"""The report of an evaluation: one page that opens offline, and its tables in Markdown."""
