"""`hafm evaluate`: how good a bundle is, beside what its figures mean.

In: options. Out: an `EvaluateOutcome`, and the files of the run (`hafm.evaluate.run`). As JSON:

    {"run", "results", "report", "table", "comparison"?, "seconds", "systems": {NAME: {"ARM": {FIGURE: [value,
     low, high]}}}, "uninformative": [...], "notes": [...]}

Paths are as the user gave the output folder.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

from hafm.app import options
from hafm.app.command import Range, argument, flag, option
from hafm.app.interrupt import Interrupts
from hafm.errors import OutputError, UsageError
from hafm.evaluate.systems import ARRANGED, GUIDED, SYSTEMS, WITH_BUNDLE, require_systems
from hafm.words import columns as columns_of

if TYPE_CHECKING:
    from hafm.app.display import Display
    from hafm.data.collection.track import Source
    from hafm.evaluate.run.against import Comparison
    from hafm.evaluate.run.results import Figure, Results

__all__ = ["Evaluate", "EvaluateOutcome"]

Split: TypeAlias = Literal["test", "valid", "train", "all"]

_MEASURES = ("key_truth", "chord_tones", "beat_truth", "chroma_vocal", "beat_vocal")
_COMPARISON = ("comparison.json", "comparison.md")
_LOCK = ".lock"
_TESTED, _COMPARED, _MEASURED = "What is tested on", "What is compared", "What is measured"


@dataclass(frozen=True, kw_only=True)
class EvaluateOutcome:
    """What was done.

    Args:
        comparison: with the older run, if one was named.
        changed: what happened to the collection since the run began.
    """

    run: Path
    results: "Results"
    report: Path
    comparison: "Comparison | None"
    seconds: float
    changed: tuple[str, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know."""
        return self.changed + self.results.notes

    def summary(self) -> str:
        """For people: one line a system, and where the rest is."""
        lines = [line for arm in self.results.arms for line in [*self._table(arm), ""]]
        silent = [row.name for row in self.results.measures if row.informative is False]
        if silent:
            names = ", ".join(silent)
            lines.append(
                f"say nothing here (the truth was not shown to do better than a random pairing): {names}"
            )
        if self.comparison is not None:
            changes = self.comparison.changes
            changed = [each for each in changes if each.verdict != "no difference seen"]
            lines.append(f"against the older run: {len(changed)} of {len(changes)} figures changed")
            lines += [
                f"  {each.arm} {each.system} {each.figure}: {each.then} -> {each.now}, {each.verdict}"
                for each in changed
            ]
        lines.append(f"report  {self.report}")
        return "\n".join(lines)

    def _table(self, arm: str) -> list[str]:
        """An arm's figures, in columns."""
        figures = self._figures()
        columns = list(dict.fromkeys(name for arms in figures.values() for name in arms.get(arm, {})))
        rows = [[f"{arm} vocals", *columns]]
        for system, arms in figures.items():
            of = arms.get(arm, {})
            rows.append([system, *(str(of[name]) if name in of else "" for name in columns)])
        return columns_of(rows, left=len(columns) + 1)

    def to_json(self) -> dict[str, Any]:
        from hafm.evaluate.run.folder import RESULTS_FILE, TABLE_FILE

        return {
            "run": str(self.run),
            "results": str(self.run / RESULTS_FILE),
            "report": str(self.report),
            "table": str(self.run / TABLE_FILE),
            **({} if self.comparison is None else {"comparison": str(self.run / _COMPARISON[0])}),
            "seconds": self.seconds,
            "systems": {
                system: {
                    arm: {name: [figure.value, figure.low, figure.high] for name, figure in of.items()}
                    for arm, of in arms.items()
                }
                for system, arms in self._figures().items()
            },
            "uninformative": [row.name for row in self.results.measures if row.informative is False],
            "notes": list(self.notes),
        }

    def _figures(self) -> "dict[str, dict[str, dict[str, Figure]]]":
        """By system, arm and name: distances, and the measures that people read first."""
        found: dict[str, dict[str, dict[str, Figure]]] = {row.name: {} for row in self.results.systems}
        many = len({row.embedding for row in self.results.fad}) > 1
        for fad in self.results.fad:
            if fad.fad.value is None:  # of too few songs; a note says so
                continue
            name = f"FAD {fad.on}" + (f" {fad.embedding}" if many else "")
            found[fad.system].setdefault(fad.arm, {})[name] = fad.fad
        for fit in self.results.fit:
            if fit.measure in _MEASURES and any(
                row.figure.value is not None for row in self.results.fit if row.measure == fit.measure
            ):
                found[fit.system].setdefault(fit.arm, {})[fit.measure] = fit.figure
        return found


@dataclass(frozen=True, kw_only=True)
class Evaluate(options.DrawingCommand):
    """Measure a bundle on a test set, beside ceilings, baselines and controls.

    Distances (FAD), fit to the vocal (key, chords, beats), adherence, and what the vocal is worth; a report
    with players, report.html, and results.json. Stopped anywhere, the same command goes on where it was.
    """

    collection: Path = argument("A folder of vocals and their instrumentals.", "COLLECTION")
    output: Path = options.output(
        "Where sounds, scores and the report go; the same folder again goes on.", example="run/", panel=None
    )
    kind: options.Kind | None = option(
        "Of the collection: pairs, musdb18, musdb18hq, rendered.",
        "KIND",
        _TESTED,
        shown="guessed from what lies there",
    )
    song_from: str | None = option(
        "What tracks of one song share: folder (of pairs).", "WHAT", _TESTED, shown="every track is a song"
    )
    split: Split = option(
        "test, valid, train or all. A collection without splits is taken whole.",
        "NAME",
        _TESTED,
        default="test",
    )
    clip_seconds: float = option("Length of a clip; clips do not overlap.", "SECONDS", _TESTED, default=10.0)
    min_clip_seconds: float | None = option(
        "Also take what is left at a song's end, if it is at least this long.",
        "SECONDS",
        _TESTED,
        shown="as long as a clip",
    )
    min_activity: float = option(
        "Share of a clip in which somebody must sing, 0 to 1.", "X", _TESTED, default=0.4
    )
    songs: int | None = option("The first N songs.", "N", _TESTED, shown="all")
    clips_per_song: int | None = option(
        "At most N clips per song, spread evenly over it.", "N", _TESTED, shown="all"
    )
    separator: Path | None = option(
        "Add the separated arm (FADs): vocals that this MDX-Net takes out of the mixes.",
        "MODEL.onnx",
        _TESTED,
        shown="isolated vocals alone",
    )
    bundle: str = options.bundle()
    systems: str | None = option(
        f"Some of {','.join(SYSTEMS)}.",
        "LIST",
        _COMPARED,
        shown="all that need no lead sheet; retrieval with --index",
    )
    takes: int = option(
        f"Takes of the model, 1 to {options.MAX_TAKES}; 4 and 8 add rows for the best of as many.",
        "N",
        _COMPARED,
        default=1,
        within=Range(1, options.MAX_TAKES),
    )
    seed: int = option(
        "Of takes, pairings and intervals; 0 or more.", "N", _COMPARED, default=0, within=Range(0, 2**31 - 1)
    )
    index: Path | None = option(
        "Index of training songs, for retrieval.", "FOLDER", _COMPARED, shown="no retrieval"
    )
    skip_fine: bool = options.skip_fine()
    embedding: list[str] | None = option(
        "For distances, also several times: builtin, vggish:FILE, clap:MODEL, mert:MODEL.",
        "NAME",
        _MEASURED,
        shown="builtin",
    )
    no_worth: bool = flag("Leave out the held-out loss with right and wrong vocals.", _MEASURED)
    against: Path | None = option("Compare with an older run.", "RESULTS.json", _MEASURED, shown=False)
    report_clips: int = option(
        "Clips to listen to in the report, about 1 MB each.", "N", _MEASURED, default=8, within=Range(0, 1000)
    )
    batch_size: int = option(
        "Takes that are made together; changes no sound.", "N", options.RUN, default=16, within=Range(1, 4096)
    )
    device: str = options.device()

    examples: ClassVar = (
        "hafm evaluate work/pairs -o run/ --songs 40 --clips-per-song 1 --takes 8",
        "hafm evaluate musdb18hq/ -o run/ --bundle mine/ --separator vocals.onnx --embedding "
        "vggish:vggish.pth",
        "hafm evaluate musdb18hq/ -o run2/ --bundle better/ --against run/results.json",
    )

    def check(self) -> None:
        if self.output.resolve() == self.collection.resolve():
            raise UsageError(f"'{self.output}' is the collection itself; give another folder with -o")
        chosen = self.chosen_systems
        if "retrieval" in chosen and self.index is None:
            raise UsageError(
                "retrieval needs an index of training songs; make one with hafm retrieve-index, and name it "
                "with --index"
            )
        if self.index is not None and "retrieval" not in chosen:
            raise UsageError(
                "--index is for retrieval, which is not among --systems; add it, or leave out --index"
            )

    @property
    def chosen_systems(self) -> tuple[str, ...]:
        """The systems to compare; without a choice those without lead sheets, and retrieval with an index."""
        if self.systems is not None:
            return require_systems(name.strip() for name in self.systems.split(",") if name.strip())
        wanted = (name for name in SYSTEMS if name not in (*GUIDED, *ARRANGED))
        return tuple(name for name in wanted if name != "retrieval" or self.index is not None)

    def run(self, shown: "Display", interrupts: Interrupts) -> EvaluateOutcome:
        began = time.monotonic()
        shown.step("looking at the collection")
        older = None if self.against is None else _older(self.against)
        from hafm.data.collection.sources import guess_kind, open_source
        from hafm.device import find_device
        from hafm.locks import locked_folder

        self._check_packages()
        find_device(self.device)
        root = self.collection.resolve()
        kind = self.kind if self.kind is not None else guess_kind(root)
        source = open_source(kind, root, subset=None, song_from=self.song_from)
        _check_folder(self.output, compares=older is not None)
        with locked_folder(self.output, name=_LOCK, stays=False):
            return self._evaluate(source, older, shown, interrupts, began)

    def _evaluate(
        self,
        source: "Source",
        older: "Results | None",
        shown: "Display",
        interrupts: Interrupts,
        began: float,
    ) -> EvaluateOutcome:
        """All that is done once the folder is ours."""
        from hafm.device import one_thread
        from hafm.evaluate.embeddings import open_embedding
        from hafm.evaluate.report.page import table_markdown, write_report
        from hafm.evaluate.run.against import compare
        from hafm.evaluate.run.changes import changes, forget_if_nothing_came
        from hafm.evaluate.run.clips import build_test_set
        from hafm.evaluate.run.evaluate import Settings, evaluate
        from hafm.evaluate.run.folder import TABLE_FILE, RunFolder
        from hafm.evaluate.systems import open_systems
        from hafm.evaluate.testset import Protocol
        from hafm.generate.accompany import Accompanist
        from hafm.locks import remove_leftovers
        from hafm.separate.separator import Separator

        embeddings = [open_embedding(name, device=self.device) for name in self.embedding or ["builtin"]]
        separator = accompanist = comparison = None
        if self.separator is not None:
            separator = Separator.open(self.separator, threads=options.separator_threads())
        shown.step("opening the bundle")
        if WITH_BUNDLE & set(self.chosen_systems):  # the model, or its codec
            # What is judged is the bundle, in what it was trained in.
            accompanist = Accompanist.from_pretrained(self.bundle, device=self.device, engine="torch")

        interrupts.left = "what is done is kept; run the same command to go on"
        remove_leftovers(self.output)
        run = RunFolder(self.output)
        forget_if_nothing_came(run, source)
        protocol = Protocol(
            split=self.split,
            clip_seconds=self.clip_seconds,
            min_clip_seconds=self.clip_seconds if self.min_clip_seconds is None else self.min_clip_seconds,
            min_activity=self.min_activity,
            songs=self.songs,
            clips_per_song=self.clips_per_song,
        )
        build_test_set(run, source, protocol, separator=separator, on_progress=shown.follow())
        with one_thread():
            results = evaluate(
                run,
                open_systems(
                    self.chosen_systems,
                    run,
                    accompanist=accompanist,
                    index=self.index,
                    seed=self.seed,
                    takes=self.takes,
                    batch_rows=self.batch_size,
                    skip_fine=self.skip_fine,
                    **self.drawing,
                ),
                embeddings=embeddings,
                settings=Settings(seed=self.seed, device=self.device),
                bundle=None if accompanist is None else accompanist.bundle,
                worth=not self.no_worth,
                on_progress=shown.follow(),
            )
        if older is not None:
            comparison = compare(older, results)
            for name, text in zip(_COMPARISON, (comparison.to_json(), comparison.to_markdown()), strict=True):
                run.write(name, text)
        run.write(TABLE_FILE, table_markdown(results))
        return EvaluateOutcome(
            run=run.path,
            results=results,
            report=write_report(run, results, clips=self.report_clips, on_progress=shown.follow()),
            comparison=comparison,
            changed=changes(run, source),
            seconds=time.monotonic() - began,
        )

    def _check_packages(self) -> None:
        """Refuses at once what would fail after hours of generation."""
        from hafm.evaluate.fit.beats import check_mir_eval

        check_mir_eval()
        if "retrieval" in self.chosen_systems:
            from hafm.evaluate.retrieval.transform import check_stretcher

            check_stretcher()


def _check_folder(output: Path, *, compares: bool) -> None:
    """Refuses a folder that holds something else, or has a folder where a file of a run should go."""
    from hafm.evaluate.run.changes import TRACKS_FILE
    from hafm.evaluate.run.folder import MANIFEST_FILE, REPORT_FILE, RESULTS_FILE, TABLE_FILE
    from hafm.files import check_output_folder

    names = [MANIFEST_FILE, TRACKS_FILE, RESULTS_FILE, REPORT_FILE, TABLE_FILE]
    check_output_folder(output, overwrite=True, files=[*names, *(_COMPARISON if compares else ())])
    held = any(not path.name.startswith(".") for path in output.iterdir()) if output.is_dir() else False
    if held and not (output / "sounds").is_dir():
        raise OutputError(
            f"'{output}' is in use by something else than an evaluation; give another folder with -o"
        )


def _older(path: Path) -> "Results":
    from hafm.evaluate.run.results import Results

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"--against '{path}' cannot be read ({error}); give the results.json of a run"
        ) from error
    return Results.from_json(text, where=f"'{path}'")
