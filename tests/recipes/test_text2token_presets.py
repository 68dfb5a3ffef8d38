from pathlib import Path

import pytest

import recipes
from lm.train import STAGE as TRAIN
from runtime.config import compose_config
from text2token.synthesize import STAGE as SYNTHESIZE

FOLDER = Path(recipes.__file__).parent


@pytest.mark.parametrize(("name", "smallest", "largest"), [("0.5b", 0.45e9, 0.6e9), ("1.5b", 1.4e9, 1.7e9)])
def test_presets_are_of_their_size(name: str, smallest: float, largest: float) -> None:
    options = ["out=x", "vocabulary=v", "corpora.tts=c"]
    config = compose_config(TRAIN.config, ["--config", str(FOLDER / f"text2token_{name}.yaml"), *options])
    model, width = config.model, config.model.hidden  # type: ignore[attr-defined]
    attention = width * model.head_width * (2 * model.heads + 2 * model.kv_heads)
    size = model.layers * (attention + 3 * width * model.ffn) + 170_000 * width  # 150 k text and 16 k speech tokens
    assert smallest < size < largest and model.kv_heads < model.heads


def test_synthesis_is_the_papers() -> None:
    options = ["--config", str(FOLDER / "synthesis.yaml"), "out=x", "texts=t", "model=m"]
    config = compose_config(SYNTHESIZE.config, options)
    assert (config.spans.policy, config.spans.mean_words, config.spans.ratio) == ("poisson", 10, 0.3)  # type: ignore[attr-defined]
