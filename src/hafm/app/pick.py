"""The best of several takes in the output folder itself, with what ranked them: `--pick best`.

In: a `Ranking`, and takes that lie in `take-1/`, `take-2/`, ... of a delivery. Out: copies of the best one's
files beside those folders, and `ranking.json`:

    {"format": 1, "order": [3, 1, 2],
     "takes": [{"take", "score", "terms", "values", "silent", "why", "accompaniment_sha256"}],   best first
     "measures": {name: {"what", "unit", "words", "worst", "best", "mean", "deviation", "weight"}},
     "num_windows", "environment": {...}}                                        as in generation.json

Conventions: takes count from 1, as their folders do. The copied `generation.json` names files beside it and
can be replayed as it is. `accompaniment_sha256` tells whether `take-N/` still holds what was ranked.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hafm.app.delivery import Delivery
from hafm.app.outcome import Take

if TYPE_CHECKING:
    from hafm.evaluate.ranking import Ranking

__all__ = ["RANKING_FILE", "Picked", "put_best"]

RANKING_FILE = "ranking.json"

_FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Picked:
    """The best take, as it was delivered.

    Args:
        ranking: of all takes.
        paths: of the copies, by what they hold, as those of a `Take`; and `ranking`.
        content: of `ranking.json`.
    """

    ranking: "Ranking"
    paths: Mapping[str, Path]
    content: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """What `hafm generate --json` adds."""
        paths = {name: str(path) for name, path in self.paths.items()}
        best, ranking = self.ranking.best, paths.pop("ranking")
        return {
            "best": {"take": best.number, "why": best.why, **paths},
            "ranking": {"path": ranking, **self.content},
        }


def put_best(ranking: "Ranking", takes: Sequence[Take], parcel: Delivery) -> Picked:
    """Copies the best take to the top of a delivery, and writes how the takes were ranked.

    Args:
        ranking: of the takes.
        takes: saved in `parcel`, in order.
        parcel: not yet delivered.

    Raises:
        OutputError: the disk is full.
    """
    from hafm.files import atomic_file
    from hafm.generate.record import GenerationRecord

    staged = [
        {name: parcel.staging / path.relative_to(parcel.target) for name, path in take.paths.items()}
        for take in takes
    ]
    records = [GenerationRecord.read(paths["record"]) for paths in staged]
    content = {"format": _FORMAT, **ranking.to_json(), "environment": asdict(records[0].environment)}
    for row in content["takes"]:
        index = row["take"] - 1
        output = records[index].output
        assert output is not None, "a record that was saved says how"
        row["accompaniment_sha256"] = output.files[staged[index]["accompaniment"].name]
    paths = {}
    for name, path in staged[ranking.best.index].items():
        paths[name] = parcel.staging / path.name
        with open(path, "rb") as source, atomic_file(paths[name]) as file:
            shutil.copyfileobj(source, file)
    paths["ranking"] = parcel.staging / RANKING_FILE
    with atomic_file(paths["ranking"]) as file:
        file.write((json.dumps(content, indent=2, allow_nan=False) + "\n").encode())
    return Picked(
        ranking=ranking,
        paths={name: parcel.final(path) for name, path in paths.items()},
        content=content,
    )
