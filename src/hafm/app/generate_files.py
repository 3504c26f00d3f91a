"""The files of `hafm generate`: which there will be, whether there is room, and how they are written.

    OUT/accompaniment.wav  mix.wav  vocal.wav?  plot.png?  generation.json      of one take
    OUT/stems/drums.wav  bass.wav  harmony.wav  melody.wav                      with --stems
    OUT/take-1/ ...  OUT/take-2/ ...                                            of several, each like that
    OUT/...  OUT/ranking.json                                                   `--pick best`: the best again
    OUT/lead-sheet.json  lead-sheet.mid                                         what all takes follow

In: takes. Out: files in a staged folder (`files.py`), which has its place when all are there.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hafm.app import options
from hafm.app.generate_result import Picked, Take

if TYPE_CHECKING:
    from hafm.audio.sound import Audio
    from hafm.evaluate.ranking import Ranking
    from hafm.files import StagedFolder
    from hafm.generate.accompany import Accompaniment
    from hafm.guide.lead_sheet import LeadSheet

__all__ = ["Delivery", "put_best", "save_sheet"]

_RANKING_FILE = "ranking.json"
_OF_A_TAKE = ("accompaniment.*", "mix.*", "plot.png", "generation.json", "stems", "stems/*.*")
_TAKE = "take-[0-9]*"
_RESULTS = ("lead-sheet.*", _RANKING_FILE, _TAKE, *_OF_A_TAKE, *(f"{_TAKE}/{name}" for name in _OF_A_TAKE))
_FORMAT = 1
_BYTES_PER_SAMPLE = 3
_BYTES_BESIDE = 2 << 20  # the record and the picture of a take, generously


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """What will be written, and where.

    Args:
        takes: how many; one alone has no folder of its own.
        best: whether the best one is written twice.
        separated: whether the vocal is written, too.
        save_options: for `Accompaniment.write`.
    """

    output: Path
    overwrite: bool
    takes: int
    best: bool
    separated: bool
    plot: bool
    save_options: Mapping[str, Any]

    @property
    def _format(self) -> str:
        return str(self.save_options.get("format", "wav"))

    @property
    def _stems(self) -> tuple[str, ...]:
        """Of each take."""
        from hafm.guide.lead_sheet import PLAYERS

        return PLAYERS if self.save_options.get("stems") else ()

    def _names(self) -> list[str]:
        """Of all files, below the output folder."""
        from hafm.generate.accompaniment import RECORD_FILE
        from hafm.guide.sheet_files import SHEET_FILES

        sounds = ["accompaniment", "mix", *(["vocal"] if self.separated else [])]
        sounds += [f"stems/{name}" for name in self._stems]
        names = [*(f"{sound}.{self._format}" for sound in sounds), RECORD_FILE]
        names += ["plot.png"] if self.plot else []
        top = [*names, _RANKING_FILE] if self.best or self.takes == 1 else []
        top += [SHEET_FILES["lead_sheet"], SHEET_FILES["midi"]]
        folders = options.take_folders(Path(), self.takes)[1:]
        return [*top, *((folder / name).as_posix() for folder in folders for name in names)]

    def check(self, held: Mapping[str, Path | None], *, record: Path | None) -> None:
        """Refuses an output folder that cannot take results, or in which one would replace what came in.

        Args:
            held: the files that came in, by what they are.
            record: of an earlier take, whose sounds may lie beside it.

        Raises:
            OutputError: it cannot, or one would.
        """
        from hafm.files import check_output_folder

        check_output_folder(self.output, overwrite=self.overwrite, files=self._names())
        options.require_elsewhere(self.output, held, results=self._names())
        options.require_elsewhere(self.output, {"record": record})

    def check_room(self, vocal: "Audio", *, longer_seconds: int) -> None:
        """Refuses a disk without room for the takes.

        Args:
            longer_seconds: of an intro and an ending, at most.

        Raises:
            OutputError: it has none, or the process has a limit.
        """
        from hafm.files import check_output_folder

        channels = 1 + vocal.num_channels  # the accompaniment is mono, the mix has the vocal's channels
        if self.separated:
            channels += 2 * vocal.num_channels  # the vocal, which may need floats
        channels += 2 * len(self._stems)
        samples = vocal.num_samples + longer_seconds * vocal.sample_rate
        each = channels * samples * _BYTES_PER_SAMPLE + _BYTES_BESIDE
        largest = _BYTES_PER_SAMPLE * vocal.waveform.numel() if self._format == "wav" else 0
        needed = (self.takes + self.best) * each
        check_output_folder(self.output, overwrite=True, needed_bytes=needed, largest_bytes=largest)

    def left_over(self, staging: Path, *, vocal: Path) -> list[str]:
        """A note of what an earlier run left in the output folder, and this one does not replace."""
        found = {path for pattern in _RESULTS for path in self.output.glob(pattern)}
        old = {path for path in found if not (staging / path.relative_to(self.output)).exists()}
        names = sorted(
            path.relative_to(self.output).as_posix() + ("/" if path.is_dir() else "")
            for path in old
            if old.isdisjoint(path.parents) and path.resolve() != vocal.resolve()
        )
        if not names:
            return []
        return [
            f"'{self.output}' holds results that are not of this run: {', '.join(names)}; do not take them "
            "for its own, or give another folder with -o"
        ]

    def write(
        self, accompaniments: "Sequence[Accompaniment]", folder: "StagedFolder"
    ) -> tuple[list[Take], list[str]]:
        """Writes the takes.

        Returns:
            Where they are, and notes on pictures that could not be drawn.
        """
        takes, notes, of = [], [], len(accompaniments)
        for number, accompaniment in enumerate(accompaniments, start=1):
            staging = folder.staging / f"take-{number}" if of > 1 else folder.staging
            paths, output = accompaniment.write(staging, **self.save_options)
            for path in paths.values():
                folder.finish(path)
            if self.plot:
                try:
                    paths["plot"] = _plot(accompaniment, staging, f"take {number} of {of}")
                except Exception as error:  # whatever it is, the sound is worth more than its picture
                    notes.append(f"no plot of take {number} could be made ({type(error).__name__}: {error})")
            final = {name: folder.final(path) for name, path in paths.items()}
            takes.append(Take(number=number, paths=final, levels=output.levels))
        return takes, notes


def _plot(accompaniment: "Accompaniment", folder: Path, take: str) -> Path:
    from hafm.app.plot import draw
    from hafm.files import write_whole

    record = accompaniment.record
    png = draw(
        vocal=accompaniment.vocal.waveform,
        accompaniment=accompaniment.waveform,
        sample_rate=accompaniment.sample_rate,
        title=Path(accompaniment.vocal.path or "vocal").name,
        subtitle=f"{take}, seed {record.settings.seed}, bundle {record.bundle.name} {record.bundle.version}",
        start_seconds=accompaniment.vocal.start_seconds,
    )
    path = folder / "plot.png"
    write_whole(path, png)
    return path


def save_sheet(sheet: "LeadSheet | None", folder: "StagedFolder") -> dict[str, Path]:
    """The lead sheet that all takes follow, beside them; nothing if they follow none."""
    from hafm.guide.lead_sheet import LeadSheet
    from hafm.guide.sheet_files import write_sheet_files

    if sheet is None or sheet == LeadSheet(duration_seconds=sheet.duration_seconds):
        return {}
    paths = write_sheet_files(sheet, folder.staging, names=("lead_sheet", "midi"))
    return {name: folder.final(path) for name, path in paths.items()}


def put_best(ranking: "Ranking", takes: Sequence[Take], folder: "StagedFolder") -> Picked:
    """Copies the best take to the top of the output folder, and writes how the takes were ranked.

    Args:
        takes: saved in `folder`, in order.
    """
    from hafm.files import atomic_file, write_whole
    from hafm.generate.record import GenerationRecord

    staged = [
        {name: folder.staging / path.relative_to(folder.target) for name, path in take.paths.items()}
        for take in takes
    ]
    records = [GenerationRecord.read(paths["record"]) for paths in staged]
    content = {"format": _FORMAT, **ranking.to_json(), "environment": records[0].environment.to_json()}
    for row in content["takes"]:
        index = row["take"] - 1
        output = records[index].output
        assert output is not None, "a record that was saved says how"
        row["accompaniment_sha256"] = output.files[staged[index]["accompaniment"].name]
    paths = {}
    take_folder = staged[ranking.best.index]["record"].parent
    for name, path in staged[ranking.best.index].items():
        paths[name] = folder.staging / path.relative_to(take_folder)
        paths[name].parent.mkdir(exist_ok=True)
        with open(path, "rb") as source, atomic_file(paths[name]) as file:
            shutil.copyfileobj(source, file)
    paths["ranking"] = folder.staging / _RANKING_FILE
    write_whole(paths["ranking"], json.dumps(content, indent=2, allow_nan=False) + "\n")
    return Picked(
        ranking=ranking, paths={name: folder.final(path) for name, path in paths.items()}, content=content
    )
