"""A mix into vocal and instrumental. Start to read here.

In: a mix [C, T] at any rate, mono or stereo, whole or in blocks. Out: vocal and instrumental, each [C, T].

    mix --to the net's rate, stereo--> chunks -> spectrogram -> net -> spectrogram back -> overlap-add --+
     |                                                                     x compensate                  |
     |                                  primary stem <--to the mix's rate, the mix's channels------------+
     +-- minus the primary stem ------> the other stem

So the two stems always sum to the mix, also above the net's highest frequency. A mono mix goes through the
net on both sides, and its stem is the mean of the two.

Nothing is scaled: a mix at half the level goes through the net at half the level. (Other programs divide by
the mix's peak and do not undo it for the stems, so that levels of different songs no longer compare.) A chunk
of digital silence is silence, and never sees the net: a net with biases would make a hum of it.

Source: paper 3.6; Kim et al., "KUIELab-MDX-Net" (2021).
"""

import hashlib
import os
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Self, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from hafm.audio.resample import resample_blocks
from hafm.errors import UsageError
from hafm.separate.config import ZEROED_BINS, SeparatorConfig
from hafm.separate.network import Network
from hafm.separate.overlap import overlap_add
from hafm.separate.spectrogram import Spectrogram

__all__ = ["Separator"]

StemBlocks: TypeAlias = tuple[Tensor, Tensor]
"""The same stretch of vocal and of instrumental, each [C, n]."""

_BLOCK_SAMPLES = 1 << 16
_MAX_NET_BYTES = 2 << 30  # what an .onnx can be without further files
_MAX_JSON_BYTES = 1 << 16


class Separator:
    """An MDX-Net and what its numbers mean. Made by `Separator.open`.

    Args:
        network: the net.
        config: what the JSON beside it says.
        threads: chunks that go through the net at the same time, 1 or more. Results do not depend on it;
            memory does.

    >>> separator = Separator.open("vocals.onnx")                                   # doctest: +SKIP
    >>> vocal, instrumental = separator.separate(mix, sample_rate=48_000)           # doctest: +SKIP
    """

    def __init__(
        self, *, network: Network, config: SeparatorConfig, fingerprint: str, path: Path, threads: int = 1
    ) -> None:
        if threads < 1:
            raise UsageError(f"threads is {threads}; give 1 or more")
        self.config = config
        self.path = path
        self._network = network
        self._spectrogram = Spectrogram(config)
        self._fingerprint = fingerprint
        self._threads = threads

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, threads: int = 1) -> Self:
        """Opens an `.onnx` file and the JSON beside it, which has the same name and ends in `.json`.

        Args:
            path: of the `.onnx`.
            threads: see the class.

        Raises:
            UsageError: onnxruntime is not installed; a file is missing or cannot be read; the JSON is not
                what `SeparatorConfig` wants; or the net does not fit it.
        """
        path = Path(path)
        name = f"separator '{path}'"
        if path.suffix.lower() != ".onnx":
            raise UsageError(
                f"{name} does not end in .onnx; give an MDX-Net as .onnx, with a .json beside it"
            )
        content = _read(path, name, _MAX_NET_BYTES)
        beside = path.with_suffix(".json")
        description = _read(beside, f"'{beside}', which must lie beside the separator,", _MAX_JSON_BYTES)
        try:
            text = description.decode()
        except UnicodeDecodeError as error:
            raise UsageError(f"'{beside}' is no text; it must hold JSON") from error
        config = SeparatorConfig.from_json(text, where=f"'{beside}'")
        digests = (hashlib.sha256(part).digest() for part in (content, description))
        return cls(
            network=Network(content, config=config, name=name),
            config=config,
            fingerprint=hashlib.sha256(b"".join(digests)).hexdigest(),
            path=path,
            threads=threads,
        )

    @property
    def sample_rate(self) -> int:
        """The net's own rate. Mixes at others are resampled on the way in, and stems on the way out."""
        return self.config.sample_rate

    def fingerprint(self) -> str:
        """SHA-256 over the SHA-256 of the `.onnx` and that of the `.json`, as bytes; 64 hex digits."""
        return self._fingerprint

    def separate(
        self, mix: Float[Tensor, "C T"], *, sample_rate: int | None = None
    ) -> tuple[Float[Tensor, "C T"], Float[Tensor, "C T"]]:
        """Separate a whole mix.

        Args:
            mix: finite float32 samples on the CPU, one or two channels. Two sides of a mono mix stay the
                same only as far as the net treats its sides alike.
            sample_rate: of the mix, in hertz; None for the net's own.

        Shape:
            `[C, T] -> [C, T], [C, T]`

        Returns:
            Vocal and instrumental, at the mix's rate; their sum is the mix.

        Raises:
            UsageError: the net failed, or gave numbers that are not finite.
            ValueError: the mix has other channels, or is not finite.
        """
        stems = torch.empty(2, *mix.shape)
        done = 0
        # In blocks, so that nothing beside mix and stems grows with the length.
        for vocal, instrumental in self.separate_blocks(
            mix.split(_BLOCK_SAMPLES, dim=1), sample_rate=sample_rate
        ):
            stems[0, :, done : done + vocal.shape[1]] = vocal
            stems[1, :, done : done + vocal.shape[1]] = instrumental
            done += vocal.shape[1]
        assert done == mix.shape[1], "as many samples come out as went in"
        return stems[0], stems[1]

    def separate_blocks(
        self, blocks: Iterable[Float[Tensor, "C _"]], *, sample_rate: int | None = None
    ) -> Iterator[StemBlocks]:
        """Separate a mix of any length in bounded memory.

        Args:
            blocks: the mix, cut anywhere; all of one number of channels.
            sample_rate: of the mix, in hertz; None for the net's own.

        Yields:
            Vocal and instrumental of the same stretch; one after the other they are what `separate` gives for
            the whole, bit for bit.

        Raises:
            UsageError, ValueError: as for `separate`.
        """
        rate, own = self.sample_rate if sample_rate is None else sample_rate, self.sample_rate
        mix = _Held(blocks)
        primary = overlap_add(
            resample_blocks(mix.both_sides(), rate, own, num_channels=2),
            self._primary,
            chunk_samples=self.config.chunk_samples,
            margin_samples=self.config.margin_samples,
            fade_samples=self.config.fade_samples,
            threads=self._threads,
        )
        for block in resample_blocks(primary, own, rate, num_channels=2):
            # On the way to the other rate and back the length is rounded up twice.
            first = block[:, : mix.held]
            if not first.shape[1]:
                continue
            whole = mix.take(first.shape[1])
            first = first if whole.shape[0] == 2 else first.mean(dim=0, keepdim=True)
            other = whole - first
            yield (first, other) if self.config.primary_stem == "vocals" else (other, first)

    def _primary(self, chunk: Float[Tensor, "2 C"]) -> Float[Tensor, "2 C"]:
        """The stem that the net gives, of one chunk."""
        if not chunk.any():
            return torch.zeros_like(chunk)
        image = self._spectrogram.analyse(chunk)
        image[:, :, :ZEROED_BINS] = 0
        return self._spectrogram.synthesise(self._network(image)) * self.config.compensate


class _Held:
    """The mix as it came, until its stem is there."""

    def __init__(self, blocks: Iterable[Tensor]) -> None:
        self._blocks = blocks
        self._waiting: deque[Tensor] = deque()
        self.held = 0

    def both_sides(self) -> Iterator[Tensor]:
        """The blocks as stereo; each is held."""
        channels = None
        for block in self._blocks:
            channels = block.shape[0] if channels is None else channels
            if block.ndim != 2 or block.shape[0] not in (1, 2) or block.shape[0] != channels:
                raise ValueError(f"a mix must be [1 or 2, T] throughout, got {list(block.shape)}")
            if not block.isfinite().all():
                raise ValueError("the mix holds NaN or infinity")
            if block.shape[1]:
                self._waiting.append(block)
                self.held += block.shape[1]
                yield block.expand(2, -1)

    def take(self, samples: int) -> Tensor:
        """The oldest `samples` samples that are held."""
        self.held -= samples
        parts = []
        while samples:
            block = self._waiting.popleft()
            parts.append(block[:, :samples])
            if block.shape[1] > samples:
                self._waiting.appendleft(block[:, samples:])
            samples -= parts[-1].shape[1]
        return torch.cat(parts, dim=1)


def _read(path: Path, name: str, most_bytes: int) -> bytes:
    try:
        size = path.stat().st_size
        if size > most_bytes:
            raise UsageError(f"{name} has {size} bytes, more than {most_bytes}; give a single-file MDX-Net")
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{name} cannot be read ({error.strerror or error}); check the path") from error
