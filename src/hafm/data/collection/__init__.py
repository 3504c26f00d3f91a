"""Music collections: their tracks, what is the same in them, splits by song, and reading stems strictly."""
