"""The built-in codec: 24 kHz sound as 75 frames per second of 8 codebooks with 1024 entries.

    waveform --stft--> views --encoder--> latent --quantizer--> codes
                                                              (`SpectralCodec.encode`)
    codes --quantizer--> latent --decoder--> levels, directions --phase, lows--> waveform
                                                              (`SpectralCodec.decode`)

What is new here is what the codes leave out. They hold magnitudes and how fast phases turn and never an
absolute phase, so a held note has (nearly) constant codes, which a small language model can predict. The
decoder restores a phase by itself: it predicts how fast the phase of every bin turns, adds that up from frame
to frame, and makes the result consistent with a fixed number of Griffin-Lim iterations.

    config.py     sizes, and the receptive fields that follow from them
    stft.py       frames of 75 Hz, and overlap-add
    quantizer.py  residual quantisation on unit spheres
    spectra.py    what the encoder sees and what the decoder says
    phase.py      from magnitudes and phase advances to a consistent phase
    lows.py       second version: the long-window path, and texture for noise
    storage.py    its folder: safetensors + JSON
    model.py      `SpectralCodec`: encode, decode (in bounded memory)
"""
