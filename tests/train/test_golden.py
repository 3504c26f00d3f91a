"""Fifty steps, the same on every machine (to rounding) and the same to the last bit twice on this one.

After a change that is meant to change them: python -m tests.train.test_golden
"""

import json
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.train.echo_pairs import RECIPE, SPECS, losses, trainer
from tests.unchecked import unchecked

GOLDEN = Path(__file__).with_name("golden_losses.json")
STEPS = 50
RELATIVE = 1e-4  # other processors add in another order


def fifty(folder: Path, stage: str, optimizer: str) -> list[str]:
    recipe = replace(
        RECIPE,
        spec=SPECS[stage],
        steps=STEPS,
        batch=2,
        peak_rate=3e-3,
        warmup_steps=10,
        optimizer=optimizer,
        history_dropout=0.0 if "parallel" in stage else 0.3,
        evaluate_every=STEPS,
        evaluate_clips=2,
        save_every=STEPS,
    )
    trainer(folder, recipe).fit()
    return list(losses(folder).values())


CASES = [
    ("semantic", "adamw"),
    ("coarse", "muon"),
    ("fine", "adamw"),
    ("delayed coarse", "muon"),
    ("parallel fine", "adamw"),
]


@unchecked()
@pytest.mark.parametrize(
    ("stage", "optimizer"),
    [pytest.param(*case, marks=() if case[0] == "parallel fine" else pytest.mark.slow) for case in CASES],
)
def test_fifty_losses_are_the_golden_ones(tmp_path, stage, optimizer):
    golden = json.loads(GOLDEN.read_text())[stage]
    found = fifty(tmp_path / "one", stage, optimizer)
    assert len(golden) == STEPS
    assert [float.fromhex(loss) for loss in found] == pytest.approx(golden, rel=RELATIVE)
    assert golden[-1] < 0.97 * golden[0]
    if stage == "semantic":
        assert fifty(tmp_path / "other", stage, optimizer) == found


def main() -> None:
    """Writes the golden losses anew."""
    with TemporaryDirectory() as folder:
        found = {
            stage: [round(float.fromhex(loss), 7) for loss in fifty(Path(folder) / stage, stage, optimizer)]
            for stage, optimizer in CASES
        }
    GOLDEN.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
