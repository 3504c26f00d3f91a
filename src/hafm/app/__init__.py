"""The command line. Heavy packages are imported inside the commands, never on start."""
