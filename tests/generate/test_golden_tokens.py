"""The likeliest tokens of small stages, pattern by pattern, over several windows: they move only on purpose.

After a change that is meant to move them: python -m tests.generate.test_golden_tokens
"""

import json
from pathlib import Path

import pytest
import torch

from hafm.generate.sampling import SamplingSettings
from hafm.generate.windows import generate_long
from hafm.stages.spec import COARSE, FINE
from tests.stages.small_stages import random_conditions, small_model
from tests.unchecked import unchecked

GOLDEN = Path(__file__).with_name("golden_tokens.json")
FRAMES = 24
CASES = {"flat": COARSE, "delay": COARSE, "parallel": FINE}


def likeliest(pattern: str) -> list[list[int]]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        model = small_model(CASES[pattern], "aligned", pattern=pattern)
        conditions = random_conditions(model.spec, batch=1, target_frames=FRAMES)
    codes = generate_long(
        model,
        conditions,
        target_frames=FRAMES,
        settings=SamplingSettings(temperature=0.0, guidance=1.5),
        generators=[torch.Generator().manual_seed(0)],
    )
    return codes[0].tolist()


@unchecked()
@pytest.mark.parametrize("pattern", CASES)
def test_tokens_are_the_golden_ones(pattern: str) -> None:
    golden = json.loads(GOLDEN.read_text())[pattern]
    assert likeliest(pattern) == golden
    assert len({token for row in golden for token in row}) > 4


def main() -> None:
    """Writes the golden tokens anew."""
    lines = [f"{json.dumps(pattern)}: {json.dumps(likeliest(pattern))}" for pattern in CASES]
    GOLDEN.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
