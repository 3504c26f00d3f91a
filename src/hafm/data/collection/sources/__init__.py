"""Collections of music: where tracks come from.

In: the name of a kind, and a folder. Out: a `Source`, which yields `Track`s and opens no audio.

| kind | file | what the folder holds |
|---|---|---|
| `mixes` | `mixes.py` | any audio files, each a mix |
| `pairs` | `pairs.py` | vocals beside their instrumentals |
| `fma` | `fma.py` | the Free Music Archive data set: mixes and their metadata |
| `musdb18` | `musdb.py` | `.stem.mp4` files of five streams |
| `musdb18hq` | `musdb.py` | folders of five WAV files |
| `rendered` | `rendered.py` | pairs of `recipes/builtin/render.py` |

Conventions: tracks come in an order that depends on nothing but the names, numbers in a name counting as
letters. A file that a collection should hold and does not is a track too: whoever reads it says that it is
missing. What begins with a dot is no part of a collection.
"""

from hafm.data.collection.sources.opening import KINDS, guess_kind, open_source

__all__ = ["KINDS", "guess_kind", "open_source"]
