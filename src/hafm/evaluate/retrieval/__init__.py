"""The retrieval baseline: for a vocal, the instrumental of a collection that fits it best, made to fit.

In: an index of instrumentals, and a vocal `[T]`. Out: an accompaniment of exactly T samples, and why it is
that one.

| file | what it does |
|---|---|
| `pulse.py` | the steady pulse of a sound: period, phase, strength |
| `descriptors.py` | what is known of an instrumental and of a vocal |
| `tracks.py` | which instrumentals of a collection belong in an index |
| `index.py` | the index on disk: opened, verified, committed |
| `building.py` | makes it, and goes on where it was stopped |
| `match.py` | ranks candidates: key, tempo, chroma, pulse |
| `loop.py` | an instrumental as material without end, joined at bars |
| `transform.py` | transposes and stretches |
| `retrieve.py` | all of it for one vocal |

Source: the paper's section 4.1 names "a key/tempo-matched retrieval system similar to Songsmith" as a
baseline and says no more. Songsmith is Simon, Morris and Basu, "MySong: automatic accompaniment generation
for vocal melodies" (2008). How it is done here is ours.
"""
