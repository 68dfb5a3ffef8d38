"""Laws of the speakers' shares: as in training, within bounds, and alike where the training speech is unknown."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lm.data.text_tokenizers import train_bpe
from lm.data.vocabulary import Vocabulary, build_vocabulary
from runtime.errors import UserError
from tests.support.small_synthesis import words
from text2token import synthesize
from text2token.speaker_shares import bounded, speaker_shares

BPE = train_bpe(["a"], 300)


def vocabulary_of(tokens: Mapping[str, int] | None, *names: str) -> Vocabulary:
    speakers = list(tokens or names)
    return build_vocabulary(BPE, num_speech_tokens=4, speech_tokenizer="abc", speakers=speakers, speaker_tokens=tokens)


def test_shares_are_those_of_the_training_speech() -> None:
    """Three of fifteen tags with 6 % of the speech speak 6 % of the spans, not 20 %."""
    tokens = {f"rare{number}": 20 for number in range(3)} | {f"often{number}": 940 // 12 for number in range(12)}
    found = speaker_shares({}, vocabulary_of(tokens))
    rare = sum(share for name, share in zip(found.speakers, found.shares, strict=True) if name.startswith("rare"))
    assert rare == pytest.approx(60 / sum(tokens.values())) and sum(found.shares) == pytest.approx(1)
    assert "15 speakers, as in training: often0 7.8%" in str(found)
    alike = speaker_shares({}, vocabulary_of(tokens), draw="alike")
    assert set(alike.shares) == {1 / 15} and "alike:" in str(alike)


def test_without_training_speech_they_are_alike_and_given_ones_as_given() -> None:
    old = vocabulary_of(None, "ann", "bob", "carol")
    found = speaker_shares({}, old)
    assert found[:2] == (("ann", "bob", "carol"), (1 / 3, 1 / 3, 1 / 3)) and "does not know" in found.source
    counted = vocabulary_of({"ann": 1, "bob": 5, "carol": 0})
    assert counted.fingerprint == old.fingerprint  # the ids are the same, and so are corpora and models
    assert speaker_shares({"carol": 3.0, "ann": 1.0}, counted)[:2] == (("carol", "ann"), (0.75, 0.25))
    assert speaker_shares({}, counted).shares == (1 / 6, 5 / 6, 0.0)


def test_mistakes_are_named() -> None:
    counted = vocabulary_of({"ann": 1, "bob": 5, "carol": 0})
    for weights, bounds, message in (
        ({"dora": 1.0}, {}, "'dora'.*ann, bob, carol"),
        ({"ann": 0.0}, {}, r"speakers\.ann"),
        ({}, {"floor": 0.4}, r"speaker_floor.*3 speakers.*at most 0\.3333"),
        ({}, {"cap": 0.4}, r"speaker_cap.*2 speakers with speech.*at least 0\.5"),
        ({}, {"floor": 0.3, "cap": 0.2}, "speaker_floor"),
    ):
        with pytest.raises(UserError, match=message):
            speaker_shares(weights, counted, **bounds)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="no speaker"):
        speaker_shares({}, vocabulary_of(None))


@given(st.lists(st.floats(1e-4, 1), min_size=1, max_size=30), st.floats(0, 1), st.floats(0, 1))
def test_bounded_shares_keep_their_bounds_and_their_order(weights: list[float], low: float, high: float) -> None:
    shares = [weight / sum(weights) for weight in weights]
    floor, cap = low / len(shares), (1 + high * (len(shares) - 1)) / len(shares)
    found = bounded(shares, floor, cap)
    assert sum(found) == pytest.approx(1)
    assert all(floor * (1 - 1e-9) <= share <= cap * (1 + 1e-9) for share in found)
    ranked = [found[at] for at in np.argsort(shares)]
    assert all(one <= other * (1 + 1e-9) for one, other in itertools.pairwise(ranked))
    free = [(share, own) for share, own in zip(found, shares, strict=True) if floor * 1.001 < share < cap * 0.999]
    ratios = [share / own for share, own in free]
    assert all(ratio == pytest.approx(ratios[0], rel=1e-6) for ratio in ratios)  # within the bounds in proportion


def test_a_finished_synthesis_stays_up_to_date_and_a_cap_is_kept(
    reference: Path, model_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The options that came later do not count at their defaults: neither in the record nor in the result."""
    config = synthesize.STAGE.compose(words(reference, model_folder, "whole"))
    later = ("speaker_draw", "speaker_floor", "speaker_cap")
    record = synthesize.STAGE._record(config)
    for name in later:
        assert name in record["config"]
    changed = synthesize.STAGE.compose(words(reference, model_folder, "whole", "speaker_cap=0.5"))
    assert synthesize.STAGE.is_finished(config) and not synthesize.STAGE.is_finished(changed)
    assert synthesize.STAGE.main(words(reference, model_folder, "other", "speaker_cap=0.2")) == 2
    assert "option speaker_cap" in capsys.readouterr().err
