"""A stage gets as many classes as the parts behind the shards have ids.

In: a stage, and the folder of the parts (`hafm.stages.token_parts`). Out: the stage with their cardinalities.

The paper has 500 clusters and 1024 codes, and so have its recipes; k-means of other sizes may be fitted. Only
the files that say the sizes are read, so that no codec is fetched.
"""

import json
from dataclasses import replace
from pathlib import Path

from hafm.errors import BundleDamaged
from hafm.stages.bundle import CODEC_FOLDER, kmeans_file
from hafm.stages.bundle_config import SIDES
from hafm.stages.spec import StageSpec, TokenStream
from hafm.tokens.kmeans import KMeans

__all__ = ["fit_to_parts"]


def fit_to_parts(spec: StageSpec, folder: Path) -> StageSpec:
    """The stage with the cardinalities of the parts.

    Raises:
        BundleDamaged: a file of the parts is unreadable.
    """
    sizes = {f"{side}_semantic": KMeans.load(folder / kmeans_file(side)).cardinality for side in SIDES}
    path = folder / CODEC_FOLDER / "config.json"
    try:
        codes = json.loads(path.read_text(encoding="utf-8")).get("cardinality")
    except (OSError, ValueError, AttributeError) as error:
        raise BundleDamaged(f"'{path}' is not a codec's configuration ({error}); prepare again") from error
    if codes is not None:  # EnCodec's file names the model alone, and it is the paper's
        sizes |= {"coarse_codes": codes, "fine_codes": codes}

    def fit(stream: TokenStream) -> TokenStream:
        return replace(stream, cardinality=sizes.get(stream.name, stream.cardinality))

    return replace(spec, sources=tuple(fit(source) for source in spec.sources), target=fit(spec.target))
