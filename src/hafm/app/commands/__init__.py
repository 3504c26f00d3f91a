"""The commands: a file each, with its options beside it.

A command only parses, and returns a `Job`; `hafm.app.cli` lists the commands and runs the jobs:

    hafm generate ...  ->  commands/generate.py (words to a `Request`)  ->  app/generate.py (the work)
"""
