"""From a vocal to its accompaniment. Start to read here.

In: a sung vocal, any length from half a second to ten minutes, or a whole song and a separator that takes the
vocal out of it. Out: `Accompaniment`s of exactly that length.

    vocal [C, T] at its own rate
      |  one channel, the features' rate, one level, a little noise (3.2)
      |  features -> k-means
    vocal semantic tokens [F50]          lead sheet, if there is one -> guide [F50, G]
      |  semantic stage, which sees the guide
    instrumental semantic tokens [N, F50]            N takes, in one batch
      |  coarse stage, which sees the vocal's tokens and the guide too
    codes [N, 4, F75]
      |  fine stage (unless skipped)
    codes [N, 8, F75]
      |  codec, take by take
    waveform -> the vocal's rate and length -> one loudness, peaks under -1 dBTP

Conventions: `F50 = ceil(50 * seconds)`, `F75 = ceil(75 * seconds)` (`hafm.rates`). A stage is loaded, run and
let go before the next is loaded. The vocal is given the noise that vocals were given in training: the bundle
says how much. A take's tokens are a pure function of bundle, vocal, settings, seed and the take's number, so
take 3 alone is take 3 of many.

Source: paper 3 (Fig. 1), 3.5 "Inference".
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Self, Unpack

import numpy as np
import torch

from hafm.arguments import READ_SHEET, require_type, whole_number
from hafm.device import find_device, one_thread
from hafm.errors import UsageError
from hafm.generate.accompaniment import Accompaniment
from hafm.generate.again import Kept, regenerated, replayed, vocal_of
from hafm.generate.around import Around
from hafm.generate.engine import Engine, EngineChoice, checked_choice, open_engine
from hafm.generate.guidance import asked_by
from hafm.generate.pipeline import OnSheet, OpenBundle, accompany
from hafm.generate.record import BundleUsed, GenerationRecord, InputUsed, Settings
from hafm.generate.region import Region
from hafm.generate.sampling import Sampling, require_scale
from hafm.generate.steps import analyse
from hafm.generate.stream import Part, in_turns, stream
from hafm.generate.vocal import read_vocal
from hafm.guide.corrections import Corrections
from hafm.guide.lead_sheet import LeadSheet
from hafm.jsonfile import unknown_name
from hafm.progress import OnProgress
from hafm.separate.separator import Separator
from hafm.stages.bundle import Bundle
from hafm.stages.bundle_writer import copy_bundle
from hafm.stages.hub import BUILTIN, push_folder

__all__ = ["Accompaniment", "Accompanist", "Part"]

_MOST_SEED = 2**63 - 1


class Accompanist:
    """A bundle on a device, ready to accompany.

    Args:
        bundle: the model.
        device: what it runs on: `cpu`, `cuda`, `cuda:N` or `mps`.
        engine: what runs the stages, see `hafm.generate.engine`; None for what HAFM_ENGINE says, or `auto`.
        source, revision: where the bundle came from, for the record.

    Raises:
        DeviceError: the device is not there.
        UsageError: there is no such engine.

    >>> accompanist = Accompanist.from_pretrained("builtin")                        # doctest: +SKIP
    >>> accompanist.generate("vocal.wav", seed=1).save("out")                       # doctest: +SKIP
    """

    def __init__(
        self,
        *,
        bundle: Bundle,
        device: str | torch.device = "cpu",
        engine: EngineChoice | None = None,
        source: str | None = None,
        revision: str | None = None,
    ) -> None:
        self.bundle = bundle
        self.device = find_device(device)
        self.engine_choice = checked_choice(engine)
        self._engines: dict[EngineChoice, Engine] = {}
        self.source = str(bundle.folder) if source is None else source
        self.revision = revision

    @classmethod
    def from_pretrained(
        cls,
        source: str | os.PathLike[str] = "builtin",
        *,
        device: str | torch.device = "cpu",
        engine: EngineChoice | None = None,
        revision: str | None = None,
    ) -> Self:
        """Opens a bundle.

        Args:
            source: `"builtin"`, a folder, or a hub id `owner/name[@revision]`.
            device: `cpu`, `cuda`, `cuda:N` or `mps`.
            engine: `auto`, `torch` or `onnx`, see `hafm.generate.engine`; None for what HAFM_ENGINE says, or
                `auto`.
            revision: branch, tag or commit of a hub id.

        Raises:
            BundleNotFound: there is no bundle.
            BundleDamaged: a file is missing or was changed; it is named.
            BundleMismatch: its parts do not belong together; both fingerprints are named.
            DeviceError: the device is not there.
            UsageError: there is no such engine.
        """
        found, choice = find_device(device), checked_choice(engine)
        bundle, name = Bundle.open(source, revision=revision), os.fspath(source)
        if name != BUILTIN and os.path.exists(name):
            name = os.path.abspath(name)  # a record that names it is read from other places
        return cls(bundle=bundle, device=found, engine=choice, source=name, revision=revision)

    def open_engine(self, choice: EngineChoice | None = None) -> Engine:
        """What runs the stages. `generate` opens it by itself; the first time for a bundle takes seconds.

        Args:
            choice: None for the one that the accompanist was made with.

        Raises:
            UsageError: `onnx` cannot run here, or failed its test with this bundle.
            OutputError: the cache of engine `onnx` cannot be written.
        """
        chosen = self.engine_choice if choice is None else choice
        if chosen not in self._engines:
            self._engines[chosen] = open_engine(chosen, self.bundle, self.device)
        return self._engines[chosen]

    def save_pretrained(self, folder: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Writes the bundle to a folder, whole or not at all.

        Raises:
            OutputError: the folder is in use, or cannot be written.
        """
        return copy_bundle(self.bundle, folder, overwrite=overwrite).folder

    def push_to_hub(self, repo_id: str, *, private: bool = False, revision: str | None = None) -> str:
        """Uploads the bundle to the Hugging Face hub.

        Args:
            repo_id: `owner/name`; made if it is not there.
            private: whether a new repository is.
            revision: branch to commit to; None for the main one.

        Returns:
            The address of the commit.

        Raises:
            BundleError: the hub refused, or cannot be reached.
        """
        return push_folder(self.bundle.folder, repo_id, private=private, revision=revision)

    def analyse(
        self,
        vocal: Any,
        *,
        sample_rate: int | None = None,
        given: LeadSheet | None = None,
        tempo_bpm: float | None = None,
        corrections: Corrections | None = None,
        start_seconds: float | None = None,
        seconds: float | None = None,
    ) -> LeadSheet:
        """The lead sheet of a vocal: its beats, bars, key and chords, as far as singing alone tells them.

        Args:
            vocal, sample_rate, start_seconds, seconds: as for `generate`.
            given: what is known already: its key, chords, arrangement and style are kept; so are its beats,
                and others are found around them.
            tempo_bpm: about how fast it goes, if that is known and no beats are.
            corrections: what is known better, such as `Corrections(bpm=92, chords="| Am | F | C | G |")`;
                what is not given is found in accord with them.

        Returns:
            As long as the vocal, or the part of it. Where no beat is to be found, it has none.

        Raises:
            UsageError: an argument is out of range, or the bundle has no analyser.
            LeadSheetError: the given beats cannot be continued, or lie outside the vocal; or the corrections
                do not fit it.
            AudioError: the vocal cannot be read, or cannot be used.
        """
        _require_sheets([given], corrections, name="given")
        audio = read_vocal(vocal, sample_rate=sample_rate, start_seconds=start_seconds, seconds=seconds)
        with one_thread():
            return analyse(self.bundle, audio, given=given, tempo_bpm=tempo_bpm, corrections=corrections)

    def generate(
        self,
        vocal: Any,
        *,
        sample_rate: int | None = None,
        seed: int = 0,
        take: int = 0,
        guide: LeadSheet | None = None,
        corrections: Corrections | None = None,
        start_seconds: float | None = None,
        seconds: float | None = None,
        intro_bars: int = 0,
        ending: bool = False,
        skip_fine: bool = False,
        separator: Separator | None = None,
        on_sheet: OnSheet | None = None,
        on_progress: OnProgress | None = None,
        **sampling: Unpack[Sampling],
    ) -> Accompaniment:
        """One accompaniment.

        Args:
            vocal: a path or an open binary file; or a tensor or array of floats, `[T]` or `[C, T]`, with
                `sample_rate`.
            sample_rate: of an array, in hertz.
            seed: 0 to 2**63 - 1. The same seed, machine and versions give the same bytes.
            take: which of the seed's takes, from 0.
            guide: the lead sheet to keep to, of what is accompanied: as long as that, and beginning with it
                (`LeadSheet.cropped` cuts one). None for what `analyse` hears, if the bundle has an analyser,
                or else for none; a sheet that knows nothing for none.
            corrections: of the lead sheet that is heard, as for `analyse`; with a guide, of that, and what it
                leaves open is heard as well.
            start_seconds, seconds: the part of the vocal to accompany; None for all of it.
            intro_bars: bars that the band plays before the vocal begins, 0 or more.
            ending: whether it rings out after the vocal instead of a cut. Both need bars, and make what comes
                out that much longer than the vocal.
            skip_fine: a coarser and quicker preview.
            separator: takes the vocal out of what is given as `vocal`, which is a whole song then.
            on_sheet: gets the lead sheet that is followed, before the stages run; None without one.
            on_progress: called after every frame of every stage; what it raises stops the generation.
            temperature: 0 (the likeliest token always) or more. None or nothing, of this and of all below, is
                the bundle's default.
            top_k: tokens to choose from, 1 or more.
            guidance: how closely the vocal is followed; 1 is as trained.
            guide_guidance: how closely the lead sheet is followed, if not as closely as the vocal.
            coarse_guidance: the scale of the coarse stage, if not that of the semantic one.
            style_guidance, players_guidance: how closely the lead sheet's style, and who plays in it, are
                followed by both stages; by default as the sheet, and where corrections say one, by
                `hafm.generate.guidance.STYLE_GUIDANCE` and `PLAYERS_GUIDANCE`.

        Returns:
            The accompaniment, as long as the vocal (or the part of it) and at its sample rate.

        Raises:
            UsageError: an argument is out of range, or the bundle has no stage that follows a lead sheet.
            LeadSheetError: the lead sheet is not as long as what is accompanied, or corrections do not fit.
            AudioError: the vocal cannot be read, or cannot be used.
            BundleError: the model gave something that is not finite.
            DeviceError: the device ran out of memory.
        """
        settings = self._settings(seed, skip_fine, sampling, corrections, guides=[guide])
        take = whole_number("take", take)
        around = Around(intro_bars=intro_bars, ending=ending)
        audio = read_vocal(vocal, sample_rate=sample_rate, start_seconds=start_seconds, seconds=seconds)
        [[accompaniment]] = accompany(
            self._open(),
            [audio],
            [InputUsed.of(audio, start_seconds=start_seconds, seconds=seconds)],
            settings,
            guides=[guide],
            takes=[take],
            separator=separator,
            on_progress=on_progress,
            corrections=corrections,
            on_sheet=on_sheet,
            around=around,
        )
        return accompaniment

    def stream(
        self,
        vocal: Any,
        *,
        sample_rate: int | None = None,
        seed: int = 0,
        take: int = 0,
        guide: LeadSheet | None = None,
        corrections: Corrections | None = None,
        start_seconds: float | None = None,
        seconds: float | None = None,
        skip_fine: bool = False,
        preview: bool = False,
        on_sheet: OnSheet | None = None,
        on_progress: OnProgress | None = None,
        **sampling: Unpack[Sampling],
    ) -> Iterator[Part]:
        """One accompaniment, in parts that can be played while the rest is being made.

        Args:
            preview: parts sound without the fine stage, and so come earlier and are coarser. The last one is
                empty, and holds the accompaniment.
            vocal, ...: as for `generate`.

        Yields:
            Parts of the sound. The last one holds the accompaniment that `generate` gives, byte for byte; the
            parts differ from its sound in level, which only the whole decides.

        Raises:
            UsageError, LeadSheetError, AudioError, BundleError, DeviceError: as for `generate`.
        """
        settings = self._settings(seed, skip_fine, sampling, corrections, guides=[guide])
        settings = replace(settings, take=whole_number("take", take))
        audio = read_vocal(vocal, sample_rate=sample_rate, start_seconds=start_seconds, seconds=seconds)
        if corrections is not None:
            corrections.require_duration(audio.seconds)
        parts = stream(
            self._open(),
            audio,
            InputUsed.of(audio, start_seconds=start_seconds, seconds=seconds),
            settings,
            guide=guide,
            on_progress=on_progress,
            corrections=corrections,
            on_sheet=on_sheet,
            preview=preview,
        )
        return in_turns(parts, self.device)

    def generate_takes(
        self,
        vocal: Any,
        *,
        takes: int,
        sample_rate: int | None = None,
        seed: int = 0,
        guide: LeadSheet | None = None,
        corrections: Corrections | None = None,
        start_seconds: float | None = None,
        seconds: float | None = None,
        intro_bars: int = 0,
        ending: bool = False,
        skip_fine: bool = False,
        separator: Separator | None = None,
        on_sheet: OnSheet | None = None,
        on_progress: OnProgress | None = None,
        **sampling: Unpack[Sampling],
    ) -> list[Accompaniment]:
        """Several accompaniments to choose from, in one batched pass.

        Args:
            takes: how many, 1 or more. The others are as for `generate`.

        Returns:
            The takes; element i is what `generate(..., take=i)` gives, byte for byte.

        Raises:
            UsageError, LeadSheetError, AudioError, BundleError, DeviceError: as for `generate`.
        """
        settings = self._settings(seed, skip_fine, sampling, corrections, guides=[guide])
        takes = whole_number("takes", takes, least=1)
        around = Around(intro_bars=intro_bars, ending=ending)
        audio = read_vocal(vocal, sample_rate=sample_rate, start_seconds=start_seconds, seconds=seconds)
        [accompaniments] = accompany(
            self._open(),
            [audio],
            [InputUsed.of(audio, start_seconds=start_seconds, seconds=seconds)],
            settings,
            guides=[guide],
            takes=range(takes),
            separator=separator,
            on_progress=on_progress,
            corrections=corrections,
            on_sheet=on_sheet,
            around=around,
        )
        return accompaniments

    def generate_batch(
        self,
        vocals: Sequence[Any],
        *,
        takes: int = 1,
        sample_rate: int | None = None,
        seed: int = 0,
        guides: Sequence[LeadSheet] | None = None,
        skip_fine: bool = False,
        on_progress: OnProgress | None = None,
        **sampling: Unpack[Sampling],
    ) -> list[list[Accompaniment]]:
        """Accompaniments of several vocals of one length, in one batched pass.

        Args:
            vocals: one or more, each as for `generate`; all of one sample rate and length. Memory grows with
                their number times `takes`.
            takes: how many of each, 1 or more. The others are as for `generate`.
            guides: a lead sheet for each vocal; None for none.

        Returns:
            The takes of each vocal; element `[v][i]` is what `generate(vocals[v], take=i)` gives, byte for
            byte.

        Raises:
            UsageError: there is no vocal, they differ in length or rate, or there are more or fewer guides.
            LeadSheetError, AudioError, BundleError, DeviceError: as for `generate`.
        """
        settings = self._settings(seed, skip_fine, sampling, guides=guides or ())
        takes = whole_number("takes", takes, least=1)
        audios = [read_vocal(vocal, sample_rate=sample_rate) for vocal in vocals]
        lengths = sorted({(audio.num_samples, audio.sample_rate) for audio in audios})
        if len(lengths) != 1:
            found = ", ".join(f"{samples} samples at {rate} Hz" for samples, rate in lengths) or "none"
            raise UsageError(
                f"a batch needs vocals of one length and sample rate, and there are {found}; group them by "
                "length"
            )
        if guides is not None and len(guides) != len(audios):
            raise UsageError(
                f"there are {len(guides)} guides and {len(audios)} vocals; give a guide for each, or none"
            )
        return accompany(
            self._open(),
            audios,
            [InputUsed.of(audio, start_seconds=None, seconds=None) for audio in audios],
            settings,
            guides=[None] * len(audios) if guides is None else guides,
            takes=range(takes),
            separator=None,
            on_progress=on_progress,
        )

    def regenerate(
        self,
        kept: str | os.PathLike[str],
        *,
        start_seconds: float,
        end_seconds: float,
        vocal: Any = None,
        sample_rate: int | None = None,
        seed: int = 0,
        guide: LeadSheet | None = None,
        corrections: Corrections | None = None,
        skip_fine: bool = False,
        separator: Separator | None = None,
        on_progress: OnProgress | None = None,
        **sampling: Unpack[Sampling],
    ) -> Accompaniment:
        """A take with a stretch of it made again; everywhere else it is as it was, sample for sample.

        Args:
            kept: the `generation.json` of the take, which lies beside its accompaniment. That may have been
                edited since.
            start_seconds, end_seconds: the stretch, counted from the beginning of the accompaniment. Ends
                that lie on bars join best.
            vocal, sample_rate: where the vocal is now; None for where it was then.
            seed: another one than the take's, or the stretch may come out as it was.
            sampling: as for `generate`, by default as the take had it.
            guide: the lead sheet of the whole take, changed where the stretch is; None for the take's.
            corrections: of that, as for `generate`.
            skip_fine: a coarser and quicker stretch.
            separator: the one that took the vocal out of a song, if one did.
            on_progress: called after every frame of every stage; what it raises stops the work.

        Returns:
            The new take, as long as the old one. Its record can be replayed, from the file that was kept or,
            if that has gone, from its record.

        Raises:
            UsageError: the stretch is not in the take, or `kept` is no take that was saved.
            AudioContentError: the vocal is another.
            LeadSheetError, AudioError, BundleError, DeviceError: as for `generate`.

        >>> accompanist.generate("vocal.wav", seed=1).save("out")                   # doctest: +SKIP
        >>> again = accompanist.regenerate(                                         # doctest: +SKIP
        ...     "out/generation.json", start_seconds=8.0, end_seconds=16.0, seed=2
        ... )
        """
        require_type("kept", kept, str | os.PathLike, "give the path of a generation.json that was saved")
        found = Kept.read(kept)
        then = found.record.settings
        settings = self._settings(seed, skip_fine, sampling, corrections, guides=[guide], then=then)
        return regenerated(
            self._open(),
            found,
            vocal=vocal_of(found.record, vocal, sample_rate, separator),
            region=Region(start_seconds=start_seconds, end_seconds=end_seconds),
            settings=settings,
            guide=found.record.lead_sheet if guide is None else guide,
            corrections=corrections,
            separator=separator,
            on_progress=on_progress,
        )

    def replay(
        self,
        record: GenerationRecord,
        *,
        vocal: Any = None,
        sample_rate: int | None = None,
        separator: Separator | None = None,
        on_progress: OnProgress | None = None,
    ) -> Accompaniment:
        """The accompaniment of a record, again.

        Args:
            record: see `GenerationRecord.read`. Save the result with `record.save_options()` for the same
                bytes.
            vocal, sample_rate: where the vocal is now; None for where it was then.
            separator: the one that was used, if one was.
            on_progress: as for `generate`.

        Returns:
            The accompaniment; its `notes` tell what differs from then (versions, platform, device).

        Raises:
            BundleMismatch: this is another bundle.
            AudioContentError: the vocal is another.
            UsageError: the record was made from an array, and `vocal` was not given; `separator` is not
                what was used; or its engine cannot run here.
            AudioError, BundleError, DeviceError: as for `generate`.
        """
        fix = "give a GenerationRecord; GenerationRecord.read reads one from a generation.json"
        require_type("record", record, GenerationRecord, fix)
        record.require_bundle(self.bundle.fingerprint)
        audio = vocal_of(record, vocal, sample_rate, separator)
        return replayed(self._open, record, vocal=audio, separator=separator, on_progress=on_progress)

    def _open(self, choice: EngineChoice | None = None) -> OpenBundle:
        config = self.bundle.config
        used = BundleUsed(
            source=self.source,
            revision=self.revision,
            name=config.name,
            version=config.version,
            fingerprint=self.bundle.fingerprint,
        )
        engine = self.open_engine(choice)
        return OpenBundle(bundle=self.bundle, used=used, device=self.device, engine=engine)

    def _settings(
        self,
        seed: int,
        skip_fine: bool,
        sampling: Sampling,
        corrections: Corrections | None = None,
        *,
        guides: Sequence[LeadSheet | None],
        then: Settings | None = None,
    ) -> Settings:
        """What is given or asked for, and all else as it was then, or as the bundle has it.

        Raises:
            UsageError: what is asked for is out of range, or of another type.
        """
        _require_sheets(guides, corrections)
        seed = whole_number("seed", seed, most=_MOST_SEED)
        for name in sampling.keys() - Sampling.__optional_keys__:
            raise TypeError(f"there is no argument {name!r}{unknown_name(name, Sampling.__optional_keys__)}")
        if then is None:
            default = asdict(self.bundle.config.generation)
            then = Settings(seed=seed, take=0, skip_fine=skip_fine, **default)
        given: dict[str, Any] = {  # as a record can hold it
            name: value.item() if isinstance(value, np.generic) else value
            for name, value in sampling.items()
            if value is not None
        }
        settings = replace(then, seed=seed, take=0, skip_fine=skip_fine, **{**asked_by(corrections), **given})
        if settings.coarse_guidance is not None:
            require_scale("coarse_guidance", settings.coarse_guidance)
        _ = settings.sampling  # refuses what is out of range
        return settings


def _require_sheets(
    guides: Sequence[LeadSheet | None], corrections: Corrections | None, *, name: str = "guide"
) -> None:
    """Refuses what only looks like a lead sheet or corrections, such as the path of one.

    Raises:
        UsageError: it is of another type.
    """
    for guide in guides:
        require_type(name, guide, LeadSheet | None, READ_SHEET)
    require_type("corrections", corrections, Corrections | None, "give them as Corrections(bpm=92)")
