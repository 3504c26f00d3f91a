"""From a collection to the clips of a test set, on disk: the first step of an evaluation.

In: a `Source` of tracks with stems, a `Protocol`, perhaps a separator. Out: RUN/sounds/vocal and
RUN/sounds/truth (with lead sheets where the collection has them), and RUN/manifest.json, which is written
last.

    track --read_stems--> vocal, instrumental --resample--> clips --filter--> isolated/CLIP, truth/CLIP
      `---mix (or their sum) --separator--> vocal --the same cuts-----------> separated/CLIP

The filter sees the isolated vocal alone, so both arms have the same clips. A clip stays if the voice is heard
in enough of it and its instrumental is audible (RMS above -60 dBFS). A track that cannot be read, and a clip
that does not pass, are in the manifest with the reason: nothing is dropped silently.

Source: paper 4.1 (MUSDB18-test, isolated and separated vocals).
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from hafm.audio.io import read_audio
from hafm.audio.loudness import level_db
from hafm.audio.resample import resample
from hafm.audio.sound import to_mono
from hafm.data.collection.intake import MAX_SECONDS, Stems, read_lead_sheet, read_stems
from hafm.data.collection.track import Source, Track
from hafm.errors import AudioError, LeadSheetError, UsageError
from hafm.evaluate.fit.levels import activity_share, sings
from hafm.evaluate.fit.truth import read_truth, write_truth
from hafm.evaluate.run.changes import remember
from hafm.evaluate.run.folder import MANIFEST_FILE, RunFolder, true_sound
from hafm.evaluate.testset import TRUTH, Clip, LeftOut, Manifest, Protocol, clip_id
from hafm.guide.lead_sheet import LeadSheet
from hafm.progress import OnProgress, Progress
from hafm.separate.separator import Separator

__all__ = ["build_test_set", "truth_path"]

_AUDIBLE_DBFS = -60.0

_Stretch: TypeAlias = tuple[int, int, int, float]
"""Its number in the track, first and last sample, and the share of it that is sung."""


def build_test_set(
    run: RunFolder,
    source: Source,
    protocol: Protocol,
    *,
    separator: Separator | None = None,
    on_progress: OnProgress | None = None,
) -> Manifest:
    """The test set of a run: found there, or made of tracks with stems; a separator makes the second arm.

    Raises:
        UsageError: the folder has clips by other rules; no track is of that split, or no clip passes.
    """
    fingerprint = None if separator is None else separator.fingerprint()
    collection = {key: value for key, value in source.describe().items() if key != "root"}
    if (run.path / MANIFEST_FILE).is_file():
        _require_same(run, collection, protocol, fingerprint)
        return run.manifest
    tracks = _of_split(source, protocol)
    clips: list[Clip] = []
    left_out: list[LeftOut] = []
    songs: set[str] = set()
    for number, track in enumerate(tracks):
        if on_progress is not None:
            on_progress(Progress(step="reading songs", done=number, total=len(tracks)))
        if protocol.songs is not None and len(songs) == protocol.songs and track.song_id not in songs:
            continue
        found, dropped = _cut(run, track, protocol, separator)
        kept = found
        if protocol.clips_per_song is not None:  # a song can have several tracks
            kept = found[: protocol.clips_per_song - sum(clip.song == track.song_id for clip in clips)]
        clips += kept
        left_out += dropped + [_spare(track, clip.start_seconds, protocol) for clip in found[len(kept) :]]
        if found:
            songs.add(track.song_id)
    if not clips:
        reasons = "; ".join(f"{each.track}: {each.reason}" for each in left_out[:3])
        raise UsageError(
            f"no clip of the {len(tracks)} tracks passed ({reasons}); loosen --min-activity or --clip-seconds"
        )
    manifest = Manifest(
        collection=collection,
        protocol=protocol,
        clips=tuple(clips),
        left_out=tuple(left_out),
        separator=fingerprint,
    )
    remember(run, source)
    run.write(MANIFEST_FILE, manifest.to_json())
    return manifest


def truth_path(run: RunFolder, clip: str) -> Path:
    """Where the score's truth of a clip lies, if the collection has one."""
    return run.path / "sounds" / TRUTH / "score" / f"{clip}.json"


def _of_split(source: Source, protocol: Protocol) -> list[Track]:
    tracks = list(source.tracks())
    chosen = tracks
    if protocol.split != "all" and any(track.split is not None for track in tracks):
        chosen = [track for track in tracks if track.split == protocol.split]
    if not chosen:
        raise UsageError(
            f"none of the {len(tracks)} tracks is of the {protocol.split} split; choose another --split, or "
            "all"
        )
    mixes = sum(track.needs_separation for track in chosen)
    if mixes:
        raise UsageError(
            f"{mixes} of {len(chosen)} tracks are mixes without stems, and without true stems there is "
            "nothing to compare with; give a collection of pairs, MUSDB18 or rendered pairs"
        )
    return chosen


def _cut(
    run: RunFolder, track: Track, protocol: Protocol, separator: Separator | None
) -> tuple[list[Clip], list[LeftOut]]:
    """The clips of a track, their sounds written; and what did not pass."""
    try:
        stems = _at_rate(read_stems(track, separator=None), protocol.sample_rate)
        seconds = len(stems.vocal) / protocol.sample_rate
        sheet = read_lead_sheet(track, seconds=seconds)
        separated = None if separator is None else _separated(track, stems, separator, protocol.sample_rate)
    except (AudioError, LeadSheetError, OSError) as error:
        return [], [LeftOut(track=track.id, start_seconds=None, reason=str(error))]
    if seconds < protocol.min_clip_seconds:
        short = f"it lasts {seconds:.1f} s, and a clip {protocol.min_clip_seconds:g} s or more"
        return [], [LeftOut(track=track.id, start_seconds=None, reason=short)]
    active = sings(stems.vocal, protocol.sample_rate)
    passed: list[_Stretch] = []
    left_out = []
    for index, (start, stop) in enumerate(_stretches(len(stems.vocal), protocol)):
        seconds = start / protocol.sample_rate
        share = activity_share(active, start_seconds=seconds, seconds=(stop - start) / protocol.sample_rate)
        reason = _fault(stems.instrumental[start:stop], share, protocol)
        if reason is None:
            passed.append((index, start, stop, share))
        else:
            left_out.append(LeftOut(track=track.id, start_seconds=seconds, reason=reason))
    chosen = _spread(passed, protocol.clips_per_song)
    left_out += [
        _spare(track, stretch[1] / protocol.sample_rate, protocol)
        for stretch in passed
        if stretch not in chosen
    ]
    return [_write(run, track, stems, separated, sheet, stretch) for stretch in chosen], left_out


def _write(
    run: RunFolder,
    track: Track,
    stems: Stems,
    separated: Tensor | None,
    sheet: LeadSheet | None,
    stretch: _Stretch,
) -> Clip:
    index, start, stop, share = stretch
    id, rate, seconds = clip_id(track.id, index), stems.sample_rate, start / stems.sample_rate
    vocal, instrumental = stems.vocal[start:stop], stems.instrumental[start:stop]
    run.put(run.vocal_path("isolated", id), vocal, rate)
    run.put(run.sound_path(true_sound(id)), instrumental, rate)
    if separated is not None:
        run.put(run.vocal_path("separated", id), separated[start:stop], rate)
    if sheet is not None:
        part = sheet.cropped(seconds, min(stop / rate, sheet.duration_seconds))  # it may end before its sound
        run.put_sheet(true_sound(id), replace(part, duration_seconds=stop / rate - seconds))
    score = Path(track.vocal[0].path.removesuffix(".vocal.wav") + ".json")
    has_truth = "style" in track.known and score.is_file()  # a rendered pair: its score lies beside it
    if has_truth:
        truth = read_truth(score).part(start_seconds=seconds, seconds=(stop - start) / rate)
        write_truth(truth_path(run, id), truth)
    return Clip(
        id=id,
        track=track.id,
        song=track.song_id,
        start_seconds=seconds,
        num_samples=stop - start,
        activity=round(share, 3),
        sha256={"vocal": _hash(vocal), "instrumental": _hash(instrumental)},
        truth=has_truth,
    )


def _stretches(num_samples: int, protocol: Protocol) -> Iterator[tuple[int, int]]:
    """Beginning and end of each clip."""
    length = round(protocol.clip_seconds * protocol.sample_rate)
    least = round(protocol.min_clip_seconds * protocol.sample_rate)
    for start in range(0, num_samples, length):
        stop = min(start + length, num_samples)
        if stop - start >= least:
            yield start, stop


def _fault(instrumental: Float[Tensor, " T"], share: float, protocol: Protocol) -> str | None:
    if share < protocol.min_activity:
        return f"the voice is heard in {100 * share:.0f} % of it, under {100 * protocol.min_activity:.0f} %"
    if not instrumental.any() or level_db(instrumental[None]) < _AUDIBLE_DBFS:
        return f"its instrumental is under {_AUDIBLE_DBFS:.0f} dBFS"
    return None


def _spare(track: Track, start_seconds: float, protocol: Protocol) -> LeftOut:
    reason = f"it passed, but at most {protocol.clips_per_song} clips per song were asked for"
    return LeftOut(track=track.id, start_seconds=start_seconds, reason=reason)


def _spread(passed: Sequence[_Stretch], most: int | None) -> list[_Stretch]:
    """Up to `most`, evenly over the song: the middles of as many equal parts of the list.

    >>> [index for index, *_ in _spread([(n, 0, 0, 1.0) for n in range(10)], 2)]
    [2, 7]
    """
    if most is None or len(passed) <= most:
        return list(passed)
    return [passed[(2 * part + 1) * len(passed) // (2 * most)] for part in range(most)]


def _at_rate(stems: Stems, sample_rate: int) -> Stems:
    sounds = torch.stack([stems.vocal, stems.instrumental])
    vocal, instrumental = _within_full_scale(resample(sounds, stems.sample_rate, sample_rate))
    return replace(stems, vocal=vocal, instrumental=instrumental, sample_rate=sample_rate)


def _within_full_scale(sounds: Float[Tensor, "C T"]) -> Float[Tensor, "C T"]:
    """Both stems by one factor, so that they keep their balance, where one of them would clip in the file."""
    peak = float(sounds.abs().max())
    return sounds if peak <= 1.0 else sounds / peak


def _separated(track: Track, stems: Stems, separator: Separator, sample_rate: int) -> Float[Tensor, " T"]:
    """The vocal that a separator finds in the mix, as long as the stems."""
    if track.mix is not None:
        stream = 0 if track.mix.stream is None else track.mix.stream
        audio = read_audio(track.mix.path, audio_stream=stream, max_seconds=MAX_SECONDS)
        mix, rate = audio.waveform, audio.sample_rate
    else:
        mix, rate = (stems.vocal + stems.instrumental)[None], stems.sample_rate
    vocal, _ = separator.separate(mix, sample_rate=rate)
    found = resample(to_mono(vocal)[None], rate, sample_rate)
    found = torch.nn.functional.pad(found, (0, max(0, len(stems.vocal) - found.shape[1])))
    return _within_full_scale(found[:, : len(stems.vocal)])[0]


def _hash(sound: Float[Tensor, " T"]) -> str:
    return sha256(sound.contiguous().numpy().astype("<f4").tobytes()).hexdigest()


def _require_same(
    run: RunFolder, collection: dict[str, object], protocol: Protocol, separator: str | None
) -> None:
    there = run.manifest
    for what, then, now in (
        ("collection", dict(there.collection), collection),
        ("protocol", there.protocol, protocol),
        ("separator", there.separator, separator),
    ):
        if then != now:
            if isinstance(then, Protocol) and isinstance(now, Protocol):
                then, now = (
                    {name: value for name, value in asdict(each).items() if value != getattr(other, name)}
                    for each, other in ((then, now), (now, then))
                )
            raise UsageError(
                f"'{run.path}' holds an evaluation with another {what} ({then}, now {now}); give another "
                "folder with -o, or the same options"
            )
