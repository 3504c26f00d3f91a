"""Embeddings: sounds as points whose clouds a Fréchet distance compares."""
