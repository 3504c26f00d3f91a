"""The studio: a page on this machine, and the JSON over HTTP that it uses; start at `api.py`."""
