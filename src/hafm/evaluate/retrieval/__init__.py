"""The retrieval baseline: for a vocal, the instrumental of a collection that fits it best, made to fit.

In: an index of instrumentals, and a vocal `[T]`. Out: an accompaniment of exactly T samples, and why it is
that one. Start to read at `retrieve.py`, which does all of it for one vocal; `building.py` makes an index.

Source: the paper's section 4.1 names "a key/tempo-matched retrieval system similar to Songsmith" as a
baseline and says no more. Songsmith is Simon, Morris and Basu, "MySong: automatic accompaniment generation
for vocal melodies" (2008). How it is done here is ours.
"""
