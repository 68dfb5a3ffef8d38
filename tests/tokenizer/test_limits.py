"""Audio at the limits: hours long, empty, not a number, of another rate, in stereo; transcripts too long to align."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from corpus.audio.files import read_audio
from corpus.audio.mel import LogMel
from corpus.manifest import Utterance, read_manifest
from runtime.errors import UserError
from tokenizer.backbones.config import TokenizerModelConfig
from tokenizer.backbones.table import BACKBONES
from tokenizer.data.config import DataConfig
from tokenizer.data.examples import Examples
from tokenizer.model import SpeechTokenizer

MakeTokenizer = Callable[..., SpeechTokenizer]


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def state_bytes(part: Any) -> int:
    """Bytes of all tensors and arrays in a stream's state."""
    if isinstance(part, torch.Tensor):
        return part.numel() * part.element_size()
    if isinstance(part, np.ndarray):
        return part.nbytes
    if isinstance(part, tuple | list):
        return sum(state_bytes(own) for own in part)
    return 0


@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_stream_of_any_length_takes_bounded_memory(make_tokenizer: MakeTokenizer, backbone: str) -> None:
    """State and resident memory after 2 minutes are those after 5, however the audio comes."""
    tokenizer = make_tokenizer(backbone=backbone, chunk=16, left_context=32)
    minute = np.random.default_rng(0).normal(0, 0.1, 60 * 16000).astype(np.float32)
    states, resident, num_tokens = [], [], 0
    with tokenizer.streaming() as stream:
        for _ in range(5):
            num_tokens += len(stream.feed(minute))
            states.append(state_bytes([*stream.cache, stream.waiting, stream.mel.held]))
            resident.append(resident_bytes())
        num_tokens += len(stream.finish())
    assert num_tokens == 5 * 750 and max(states[2:]) <= max(states[:2]) < 2e6
    assert max(resident[2:]) - resident[1] < 10e6


@pytest.mark.parametrize("backbone", BACKBONES)
def test_long_audio_is_encoded_and_read_in_pieces(
    make_tokenizer: MakeTokenizer, backbone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = make_tokenizer(backbone=backbone, chunk=16, left_context=32)
    audio = np.random.default_rng(1).normal(0, 0.1, 12 * 16000).astype(np.float32)
    whole, short = tokenizer.encode([audio, audio[:9999]])
    texts = tokenizer.read_tokens([whole[:50], whole[50:100], whole[100:]])
    monkeypatch.setattr("tokenizer.model.LONGEST_READ", 4.0)
    monkeypatch.setattr("tokenizer.model.LONGEST_BATCHED", 4.0)
    monkeypatch.setattr("tokenizer.streaming.PIECE", 7777)
    again, _ = tokenizer.encode([audio, audio[:9999]])
    assert np.array_equal(whole, again)
    assert tokenizer.read_tokens([whole, short])[0] == " ".join(filter(None, texts))
    unquantised = tokenizer.transcribe([audio, audio[:9999], audio[:0]], quantise=False)
    assert unquantised[0] == " ".join(
        filter(None, [tokenizer.transcribe([audio[at : at + 64000]], quantise=False)[0] for at in (0, 64000, 128000)])
    )
    assert unquantised[2] == ""


def test_an_empty_stream_gives_nothing(tokenizer: SpeechTokenizer) -> None:
    with tokenizer.streaming() as stream:
        assert len(stream.feed(np.zeros(0, dtype=np.float32))) == len(stream.finish()) == 0
        assert len(stream.feed(np.ones(1, dtype=np.float32))) == 0 and len(stream.finish()) == 1


@pytest.mark.parametrize(
    ("audio", "found"),
    [
        (np.full(4000, np.nan, dtype=np.float32), "NaN"),
        (np.full(4000, np.inf, dtype=np.float32), "infinite"),
        (np.zeros((4000, 2), dtype=np.float32), "average the channels"),
        (np.zeros(4000, dtype=np.int16), "divide 16-bit samples"),
    ],
    ids=["nan", "infinite", "stereo", "int16"],
)
def test_an_array_that_is_no_mono_audio_is_named_and_leaves_a_stream_as_it_was(
    tokenizer: SpeechTokenizer, audio: np.ndarray, found: str
) -> None:
    good = np.random.default_rng(0).normal(0, 0.1, 20_000).astype(np.float32)
    with pytest.raises(UserError, match=f"audio 1.*{found}"):
        tokenizer.encode([good, audio])
    with tokenizer.streaming() as stream:
        first = stream.feed(good)
        with pytest.raises(UserError, match=found):
            stream.feed(audio)
        assert np.array_equal(np.concatenate([first, stream.finish()]), tokenizer.encode([good])[0])


def test_files_of_8_khz_and_in_stereo_are_made_mono_16_khz(tokenizer: SpeechTokenizer, tmp_path: Path) -> None:
    """Resampled and averaged when read, so that a second is as many tokens as ever."""
    tone = np.sin(np.arange(8000) * 0.2).astype(np.float32)
    soundfile.write(tmp_path / "8.wav", np.stack([tone, 0.5 * tone], axis=1), 8000)
    audio = read_audio(tmp_path / "8.wav", tokenizer.sample_rate)
    assert audio.shape == (16000,) and len(tokenizer.encode([audio])[0]) == 13
    soundfile.write(tmp_path / "empty.wav", np.zeros(0, dtype=np.float32), 16000)
    with pytest.raises(UserError, match="without samples"):
        read_audio(tmp_path / "empty.wav")


@pytest.mark.parametrize(
    ("model", "words", "reason"),
    [
        ({"frame_rate": 6.25}, 60, r"labels outnumber .* CTC frames.*6\.25 Hz.*model\.upsampling"),
        ({"ctc_weight": 0.0, "attention_weight": 1.0}, 500, r"labels, but the attention decoder reads 447"),
    ],
    ids=["ctc", "attention"],
)
def test_transcripts_too_long_for_a_head_are_bad_records(
    spoken: Path, tokenizer: SpeechTokenizer, model: dict[str, Any], words: int, reason: str
) -> None:
    manifest = read_manifest(spoken / "train.jsonl")
    good = manifest.utterances[0]
    long = Utterance("long", good.audio, 2.0, " ".join(["red", "anna"] * (words // 2)), "x")
    both = manifest.__class__(manifest.path, [good, long], [])
    options: dict[str, Any] = {"model": TokenizerModelConfig(upsampling=4, **model), "mel": LogMel()}
    examples = Examples(both, tokenizer.labels, DataConfig(max_bad_share=0.5), **options)
    assert [record.place for record in examples.bad] == ["utterance long"] and len(examples.items) == 1
    with pytest.raises(UserError, match=reason):
        Examples(both, tokenizer.labels, DataConfig(max_bad_share=0.1), **options)
