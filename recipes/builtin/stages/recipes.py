"""The built-in model's three stages and how each is trained: small enough for a laptop's processor.

The shapes differ from the paper's in size and in the layout of the condition (``aligned``, see
docs/architecture.md). Clips are shorter than the paper's where the sequence is long (coarse, fine):
the semantic stage carries what must hold over ten seconds.
"""

from dataclasses import replace
from fractions import Fraction

from hafm.stages.spec import COARSE, FINE, SEMANTIC, StageSpec
from hafm.train.loop import TrainSettings

SPECS: dict[str, StageSpec] = {
    "semantic": replace(
        SEMANTIC,
        conditioning="aligned",
        encoder_layers=2,
        num_layers=6,
        width=256,
        num_heads=4,
        clip_seconds=Fraction(10),
        embedding_std=0.2,
    ),
    "coarse": replace(
        COARSE,
        conditioning="aligned",
        encoder_layers=1,
        num_layers=6,
        width=256,
        num_heads=4,
        clip_seconds=Fraction(2),
        embedding_std=0.2,
    ),
    "fine": replace(
        FINE,
        conditioning="aligned",
        encoder_layers=1,
        num_layers=4,
        width=192,
        num_heads=3,
        clip_seconds=Fraction(2),
        embedding_std=0.2,
    ),
}

SETTINGS: dict[str, TrainSettings] = {
    name: TrainSettings(
        steps=steps,
        batch=batch,
        peak_rate=6e-3,
        embedding_rate=2e-2,
        warmup_steps=30,
        schedule="trapezoid",
        cooldown_steps=steps // 3,
        floor=0.02,
        optimizer="muon",
        weight_decay=0.05,
        history_dropout=history_dropout,
        precision="bfloat16",
        evaluate_every=200,
        save_every=100,
    )
    for name, steps, batch, history_dropout in (
        ("semantic", 3000, 8, 0.6),
        ("coarse", 3000, 6, 0.25),
        ("fine", 3000, 6, 0.0),
    )
}
