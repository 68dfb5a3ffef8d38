"""Voices from reference clips: what they are drawn from, what learns, that they count, and wrong ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from corpus.audio.files import write_audio
from decoder.block_schedule import BlockSchedule
from decoder.config import SpeakerConfig
from decoder.model import SpeechDecoder
from decoder.speaker import SpeakerEncoder
from decoder.train import STAGE as TRAIN
from decoder.train_vocoder import STAGE as TRAIN_VOCODER
from decoder.training.recordings import ClipSource, DecoderExample, crop, prefix, stretch
from runtime.errors import UserError

MakeDecoder = Callable[..., SpeechDecoder]
HEARING = SpeakerConfig(embedding=8, width=16, layers=2)
SCHEDULE = BlockSchedule(Fraction(8), patch_frames=4, block_tokens=3, lookahead_tokens=0)


@pytest.fixture
def clips(tmp_path: Path) -> list[str]:
    """Two recordings of 0.5 s."""
    names = []
    for number, pitch in enumerate((150.0, 420.0)):
        time = np.arange(8000) / 16000
        audio = sum(np.sin(2 * np.pi * pitch * n * time) / n for n in range(1, 8)).astype(np.float32)
        write_audio(tmp_path / f"clip-{number}.wav", 0.1 * audio, 16000)
        names.append(str(tmp_path / f"clip-{number}.wav"))
    return names


def test_padding_and_loudness_of_nothing_change_no_embedding() -> None:
    encoder = SpeakerEncoder(HEARING, num_mels=80, num_speakers=2).eval()
    mel, is_real = torch.randn(2, 60, 80), torch.arange(60)[None] < torch.tensor([[60], [31]])
    mel[1, 31:] = 7.0
    both = encoder(mel, is_real)
    alone = encoder(mel[1:, :31], is_real[1:, :31])
    torch.testing.assert_close(both[1:], alone, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(both.norm(dim=1), torch.ones(2))


def test_clips_and_tags_count_alone_in_a_batch_and_streamed(make_decoder: MakeDecoder, clips: list[str]) -> None:
    decoder = make_decoder(speaker=HEARING)
    tokens = np.arange(7)
    voices = [clips[0], "anna", clips[1], None]
    together = decoder.decode_batch([tokens] * 4, voices)
    for voice, audio in zip(voices, together, strict=True):
        np.testing.assert_allclose(audio, decoder.decode(tokens, voice), atol=1e-4)
        with decoder.streaming(voice) as stream:
            streamed = np.concatenate([stream.feed(tokens[:4]), stream.feed(tokens[4:]), stream.finish()])
        np.testing.assert_allclose(audio, streamed, atol=1e-4)
    for one, other in ((0, 1), (0, 2), (2, 3)):
        assert np.abs(together[one] - together[other]).max() > 1e-3
    assert np.array_equal(together[1], together[3]) or np.allclose(together[1], together[3], atol=1e-5)


def test_wrong_clips_are_explained(make_decoder: MakeDecoder, clips: list[str], tmp_path: Path) -> None:
    decoder, tokens = make_decoder(speaker=HEARING), np.arange(4)
    (tmp_path / "text.wav").write_text("no sound")
    write_audio(tmp_path / "silent.wav", np.zeros(8000, dtype=np.float32), 16000)
    soundfile.write(tmp_path / "nan.wav", np.full(8000, np.nan, dtype=np.float32), 16000, subtype="FLOAT")
    with pytest.raises(UserError, match="NaN"):
        decoder.decode(tokens, str(tmp_path / "nan.wav"))
    with pytest.raises(UserError, match=r"missing\.wav"):
        decoder.decode(tokens, str(tmp_path / "missing.wav"))
    with pytest.raises(UserError, match=r"text\.wav"):
        decoder.decode(tokens, str(tmp_path / "text.wav"))
    with pytest.raises(UserError, match="only silence"):
        decoder.streaming(str(tmp_path / "silent.wav"))
    with pytest.raises(UserError, match="or give the path of a recording"):
        decoder.decode(tokens, "carl")
    with pytest.raises(UserError, match="knows voices by their tags only"):
        make_decoder().decode(tokens, clips[0])


def examples() -> list[DecoderExample]:
    generator = np.random.default_rng(0)
    made = []
    for number in range(6):
        tokens = generator.integers(0, 16, 5 + number)
        mel = np.full((8 * len(tokens), 80), number, dtype=np.float16)
        made.append(DecoderExample(tokens, mel, number % 2 if number < 5 else 2))
    return made


def test_a_clip_is_of_another_utterance_of_the_same_voice() -> None:
    source = ClipSource(examples(), frames=20, share=0.5)
    used = []
    for step in range(40):
        clips = source.draw([0, 1, 4, 5], np.random.default_rng(step))
        assert clips.mel.shape == (4, 20, 80) and clips.is_real.all()
        numbers = clips.mel[:, 0, 0].int().tolist()
        assert numbers[0] in (2, 4) and numbers[1] == 3 and numbers[2] in (0, 2)
        assert numbers[3] == 5  # the only one of its voice
        used += clips.is_used.tolist()
    assert 0.3 < np.mean(used) < 0.7


@pytest.mark.parametrize("ratio", [Fraction(8), Fraction(22050 * 2, 256 * 25)])
def test_stretches_have_the_frames_of_their_tokens(ratio: Fraction) -> None:
    schedule = BlockSchedule(ratio, patch_frames=4, block_tokens=3, lookahead_tokens=0)
    tokens = np.arange(20)
    frames = np.arange(schedule.num_frames(20))
    example = DecoderExample(tokens, np.repeat(frames[:, None], 80, axis=1).astype(np.float16), 0)
    for start in range(19):
        part = stretch(example, start, 7, schedule)
        assert len(part.mel) == schedule.num_frames(len(part.tokens))
        of_tokens = schedule.tokens_of_frames(torch.from_numpy(part.mel[:, 0].astype(np.int64)))
        assert set(of_tokens.tolist()) <= {*part.tokens.tolist(), int(part.tokens[-1]) + 1}
    for seed in range(30):
        generator = np.random.default_rng(seed)
        assert len(crop(example, 7, schedule, generator).tokens) == 7
        first = prefix(example, 10, schedule, generator)
        assert first.tokens[0] == 0 and len(first.tokens) in (3, 6, 9)
    assert len(prefix(DecoderExample(tokens[:2], example.mel[:20], 0), 10, schedule, generator).tokens) == 2


def test_many_voices_with_clips_then_one_with_prefixes(spoken: Path) -> None:
    """The two stages of the paper; the speaker encoder learns to name its voices and is kept."""
    small = ["model.width=16", "model.layers=1", "batch=2", "crop_frames=32", "fit.steps=2", "fit.warmup_steps=1"]
    assert TRAIN_VOCODER.main([f"corpus={spoken}/corpus", f"out={spoken}/vocoder", *small, "evaluate=1"]) == 0
    inputs = [f"corpus={spoken}/corpus", f"tokens={spoken}/tokens", f"vocoder={spoken}/vocoder"]
    shape = [f"{part}.{name}" for part in ("encoder", "flow.estimator") for name in ("width=32", "layers=1", "heads=2")]
    fit = ["fit.warmup_steps=2", "fit.checkpoint_every=20", "fit.log_every=1", "batch=4", "block_tokens=2"]
    many = ["voices=[all]", "speaker.embedding=8", "speaker.width=16", "speaker.layers=2", "naming_weight=1.0"]
    assert TRAIN.main([*inputs, *shape, *fit, *many, "fit.steps=40", f"out={spoken}/many"]) == 0
    rows = [json.loads(line) for line in (spoken / "many" / "curve.jsonl").read_text().splitlines()]
    assert all(np.isfinite(row["naming"]) for row in rows)
    one = ["voices=[answer]", f"init={spoken}/many", "prefix_share=0.5", "fit.steps=4", f"out={spoken}/one"]
    assert TRAIN.main([*inputs, *shape, *fit, *one]) == 0
    decoder = SpeechDecoder.from_pretrained(spoken / "one" / "artefact")
    assert decoder.speakers == ["anna", "bert"] and decoder.speaker_encoder is not None
    audio = decoder.decode(np.arange(4), str(next((spoken / "corpus" / "audio").glob("*.flac"))))
    assert audio.shape == (4 * 1280,)


def test_prefixes_need_blocks(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    arguments = [f"{name}={tmp_path}" for name in ("corpus", "tokens", "vocoder", "out")]
    assert TRAIN.main([*arguments, "prefix_share=0.5", "block_tokens=0"]) == 2
    assert "prefix_share" in capsys.readouterr().err
