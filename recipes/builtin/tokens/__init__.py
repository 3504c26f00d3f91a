"""Pairs to tokens on disk: what `fit_kmeans` and `tokenise` are made of."""
