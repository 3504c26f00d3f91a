"""Sound in, sound out: everything between a file and a float32 waveform `[C, T]`.

| file | what it holds |
|---|---|
| `io.py` | the gateway: `read_audio`, `audio_from_array`, `write_audio` |
| `sound.py` | `Audio`, the value that passed the gateway, and what it had to pass |
| `source.py` | a path or a stream as an open file |
| `sniff.py` | what kind of file this is, from its bytes |
| `opening.py` | the one way from a file to decoded blocks |
| `stream.py` | sound while it is being decoded, whoever decodes it |
| `libsndfile.py` | WAV, W64, FLAC, MP3, Ogg, Opus, AIFF, AU, CAF |
| `ffmpeg.py` | m4a, mp4, webm, aac and others, through the ffmpeg program |
| `layout.py`, `layout_*.py` | where the sound lies in a file, whatever its header says |
| `read_blocks.py`, `write_blocks.py`, `spool.py` | sounds that need not fit into memory |
| `resample.py` | another sample rate, with an exact number of samples |
| `loudness.py` | loudness in LUFS |
| `true_peak.py` | peaks between the samples, in dBTP |
| `limiter.py` | a look-ahead limiter that keeps the length |
| `mixdown.py` | vocal and accompaniment to a finished mix |

Conventions: waveforms are float32 tensors `[C, T]` on the CPU, full scale is 1.0, mono has C = 1. Levels are
in decibels (`_db`), loudness in LUFS, true peaks in dBTP.
"""
