"""The Transformers of stages in ONNX Runtime, for processors.

    graph.py      a stage's weights -> an `.onnx`
    session.py    runs it, in memory that is taken once

Which engine runs, and that its logits are PyTorch's, is the business of `hafm.generate.engine`.
"""
