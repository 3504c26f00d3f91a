"""Token shards on disk or in an object store: their files, their index, and how training reads them."""
