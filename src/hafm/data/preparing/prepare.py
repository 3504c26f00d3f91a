"""From a music collection to token shards: the run behind `hafm prepare`.

In: a source, an opener of preparers, an engine. Out: a folder of shards with its index, and a ledger in
which every item has one row.

    scan --new items--> ledger --pending--> engine --results--> ledger --resolved--> shards --> index

Conventions: what was committed is never done again, so a run that was stopped anywhere (SIGKILL included)
goes on when it is called again, and the files come out the same, byte for byte. Settings that decide the
tokens must be the same in all runs on one folder; the filter may differ, since it decides the index only.
"""

import contextlib
from collections import Counter
from dataclasses import asdict, replace

from hafm.data.collection.track import Source
from hafm.data.preparing.assemble import TABLE_FILE, drop_reason, track_entries, write_ripe_shard, write_table
from hafm.data.preparing.before import (
    PrepareConfig,
    forecast,
    require_room,
    require_same_settings,
    run_settings,
    with_room_needed,
)
from hafm.data.preparing.ledger import Counts, Ledger
from hafm.data.preparing.prepare_report import PrepareSummary, summarise
from hafm.data.preparing.scan import scan
from hafm.data.preparing.track_preparer import Opener, TrackEngine, TrackPreparer
from hafm.data.result import Quarantined, TrackResult
from hafm.data.shards.file import shard_name
from hafm.data.shards.index import PARTS_FOLDER, write_index
from hafm.errors import QuarantineLimit, UsageError
from hafm.locks import remove_leftovers, require_no_readers
from hafm.progress import OnProgress, Progress
from hafm.workers import in_batches

__all__ = ["prepare"]

_JUDGED_FROM = 50


def prepare(
    config: PrepareConfig,
    source: Source,
    opener: Opener,
    *,
    engine: TrackEngine,
    on_progress: OnProgress | None = None,
) -> PrepareSummary:
    """Prepares what is not prepared yet, then writes the index.

    Args:
        source: the collection; always the same one for one folder.
        opener: of preparers; called here once, to see what they are made of, and once in each worker.
        on_progress: called after each item.

    Returns:
        What the folder holds now.

    Raises:
        UsageError: the folder was prepared with other settings, or another process works on it.
        QuarantineLimit: too many tracks cannot be used. All that was done is kept.
        OutputError: the disk is too small or full, or the ledger is damaged. All that was done is kept.
    """
    preparer = opener()
    with Ledger(config.out) as ledger:
        run = _Run(config, source, preparer, ledger, on_progress or (lambda progress: None))
        del preparer  # its models leave the memory: each worker has its own
        run.take_in()
        run.work(engine, opener)
        return run.finish()


class _Run:
    """A run, step by step."""

    def __init__(
        self,
        config: PrepareConfig,
        source: Source,
        preparer: TrackPreparer,
        ledger: Ledger,
        on_progress: OnProgress,
    ) -> None:
        self._config = config
        self._source = source
        self._ledger = ledger
        self._report = on_progress
        self._separates = preparer.separates
        self._clip_seconds = preparer.clip_seconds
        self._bytes_per_second = preparer.bytes_per_second
        self._counts = Counts()
        made_by = preparer.made_by()
        require_no_readers(config.out)
        self._settings = run_settings(config, source, made_by)
        require_same_settings(ledger.fact("settings"), self._settings, folder=config.out)
        remove_leftovers(config.out)
        preparer.save_parts(config.out / PARTS_FOLDER)

    def take_in(self) -> None:
        """Items that are new in the source, and the filter of this run."""
        config, ledger = self._config, self._ledger
        if config.retry:
            ledger.forget_quarantined()
        items = scan(
            self._source,
            known=ledger.scanned(),
            next_shards=ledger.next_shards(),
            rule=config.split_rule,
            tracks_per_shard=config.tracks_per_shard,
            limit=config.limit,
            on_progress=self._report,
        )
        ledger.add(items, facts={"settings": self._settings})
        if not ledger.counts().items:
            raise UsageError(f"there are no tracks in {self._source.describe()}; give another folder or kind")
        thresholds = asdict(config.clip_filter)
        if ledger.fact("filter") != thresholds:
            prepared = (row for row in ledger.rows() if row.seconds is not None)
            reasons = ((row.track.id, drop_reason(config.clip_filter, row.levels)) for row in prepared)
            ledger.redrop(reasons, facts={"filter": thresholds})

    def work(self, engine: TrackEngine, opener: Opener) -> None:
        """All that is pending."""
        config, ledger = self._config, self._ledger
        rows = ledger.rows("pending")
        # A worker must know the split: held-out tracks are augmented less.
        tracks = [replace(row.track, split=row.split) for row in rows]
        mix = next((track for track in tracks if track.needs_separation), None)
        if mix is not None and not self._separates:
            raise UsageError(
                f"track {mix.id!r} is a mix, and there is no separator; give one with --separator MODEL.onnx"
            )
        expected = forecast(
            tracks, bytes_per_second=self._bytes_per_second, tracks_per_shard=config.tracks_per_shard
        )
        require_room(config.out, needed_bytes=expected.num_bytes)
        self._counts = ledger.counts()
        self._report_counts()
        shard_of = {row.track.id: (row.split, row.shard) for row in rows}
        pending = Counter(shard_of.values())
        with with_room_needed(lambda: expected.for_rest(ledger.counts().pending)):
            for key in ledger.ripe_shards():  # of a run that was stopped in between
                write_ripe_shard(config.out, ledger, key)
            results = engine.run(in_batches(tracks, config.batch_size), opener)
            with contextlib.closing(results):
                for result in (result for batch in results for result in batch):
                    self._commit(result)
                    key = shard_of[result.track_id]
                    pending[key] -= 1
                    if not pending[key]:
                        write_ripe_shard(config.out, ledger, key)

    def _commit(self, result: TrackResult) -> None:
        dropped = None
        if not isinstance(result, Quarantined):
            dropped = drop_reason(self._config.clip_filter, result.levels)
        status = self._ledger.commit(result, dropped=dropped)
        counts = self._counts
        self._counts = replace(counts, pending=counts.pending - 1, **{status: getattr(counts, status) + 1})
        self._report_counts()
        if self._counts.resolved >= _JUDGED_FROM:
            self._judge(self._counts)

    def _report_counts(self) -> None:
        self._report(Progress(step="tokens", done=self._counts.resolved, total=self._counts.items))

    def _judge(self, counts: Counts) -> None:
        config = self._config
        if counts.share_quarantined() <= config.quarantine_limit:
            return
        summary = self._summary()
        causes = "; ".join(f"{number} × {kind}" for kind, number in list(summary.quarantined.items())[:3])
        raise QuarantineLimit(
            f"{counts.quarantined} of {counts.resolved} tracks ({counts.share_quarantined():.1%}) cannot be "
            f"used, more than {config.quarantine_limit:.1%}: {causes}. See '{config.out / TABLE_FILE}'; then "
            "go on with a higher --quarantine-limit, or mend the files and add --retry"
        )

    def finish(self) -> PrepareSummary:
        """Index and table, now that nothing is pending."""
        config, ledger = self._config, self._ledger
        counts = ledger.counts()
        assert counts.pending == 0, f"{counts.pending} items had no result"
        settings = dict(self._settings)
        made_by = settings.pop("made_by")
        # Not the place where the collection lies.
        source = {name: value for name, value in settings.pop("source").items() if name != "root"}
        with with_room_needed(lambda: 0):
            self._judge(counts)
            write_index(
                config.out,
                tracks=track_entries(ledger.rows(), config.clip_filter),
                made_by={**made_by, **settings, "source": source},
                filter=config.clip_filter,
                clip_seconds=self._clip_seconds,
                shards={shard_name(*key): sha256 for key, (sha256, _) in ledger.shards().items()},
            )
            return self._summary()

    def _summary(self) -> PrepareSummary:
        """The summary; its longer form goes to `ledger.tsv`."""
        rows = self._ledger.rows()
        write_table(self._config.out, rows)
        return summarise(
            rows,
            clip_filter=self._config.clip_filter,
            shard_bytes=[size for _, size in self._ledger.shards().values()],
        )
