"""A mix into its vocal and its instrumental, by an MDX-Net that the user brings.

| file | what it holds |
|---|---|
| `separator.py` | `Separator`: start to read here |
| `config.py` | the JSON beside the `.onnx`, and the lengths that follow from it |
| `spectrogram.py` | a chunk of sound as the net wants it, and back |
| `network.py` | the net, run by onnxruntime |
| `overlap.py` | chunks over a sound of any length, and back without seams |
| `files.py` | songs to two files each |
| `stems.py` | a band into its players, by a net of ours |

Source: paper 3.6; Kim et al., "KUIELab-MDX-Net" (2021), whose nets this layer runs.
"""
