"""Laws of `model.released_rules`: waveform to codes as the released GLM-4-Voice tokenizer, on random weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from corpus.audio.files import write_audio
from corpus.audio.mel import LogMel
from corpus.audio.segments import read_segment
from corpus.manifest import Manifest, Utterance
from runtime.errors import UserError
from tests.support.glm4_voice import released_codes, released_vectors
from tokenizer.backbones.config import TokenizerModelConfig
from tokenizer.backbones.whisper_layers import sinusoids
from tokenizer.data.config import AugmentConfig, DataConfig
from tokenizer.data.examples import Examples
from tokenizer.model import SpeechTokenizer, valid
from tokenizer.quantisers.config import QuantiserConfig
from tokenizer.training.objective import TokenizerObjective
from tokenizer.training.warm_start import warm_start

MakeTokenizer = Callable[..., SpeechTokenizer]
NUM_LAYERS, WIDTH, NUM_MELS = 3, 32, 128
WHISPER: dict[str, Any] = {"backbone": "whisper", "width": WIDTH, "heads": 2, "feed_forward": 4, "num_mels": NUM_MELS}
WHISPER |= {"front_layers": NUM_LAYERS, "back_layers": 1}
LENGTHS = [1, 159, 161, 1280, 1281, 1260, 5000, 63_999, 64_000, 64_100, 131_000, 250_001]  # samples


def weights_of(pooling: int) -> dict[str, torch.Tensor]:
    """Random weights by the released names, at reduced width."""
    torch.manual_seed(5)
    weights = {"conv1.weight": torch.randn(WIDTH, NUM_MELS, 3) / 10, "conv1.bias": torch.randn(WIDTH) / 10}
    weights |= {"conv2.weight": torch.randn(WIDTH, WIDTH, 3) / 5, "conv2.bias": torch.randn(WIDTH) / 10}
    weights["embed_positions.weight"] = sinusoids(1500, WIDTH)
    weights["embed_positions2.weight"] = sinusoids(-(-1500 // pooling), WIDTH)
    for number in range(NUM_LAYERS):
        names = {f"self_attn.{name}_proj": (WIDTH, WIDTH) for name in ("q", "k", "v", "out")}
        names |= {"fc1": (4 * WIDTH, WIDTH), "fc2": (WIDTH, 4 * WIDTH)}
        for name, shape in names.items():
            weights[f"layers.{number}.{name}.weight"] = torch.randn(shape) * 1.5 / shape[1] ** 0.5
            if "k_proj" not in name:
                weights[f"layers.{number}.{name}.bias"] = torch.randn(shape[0]) / 10
        for name in ("self_attn_layer_norm", "final_layer_norm"):
            weights[f"layers.{number}.{name}.weight"] = 1 + torch.randn(WIDTH) / 10
            weights[f"layers.{number}.{name}.bias"] = torch.randn(WIDTH) / 10
    (vectors_TD,) = released_vectors(
        [speech_like(470_000, 99)], weights, num_layers=NUM_LAYERS, heads=2, pooling=pooling
    )
    return weights | {
        "codebook.weight": vectors_TD[torch.randint(len(vectors_TD), (512,))] + 0.1 * torch.randn(512, WIDTH)
    }


def adopt(
    make_tokenizer: MakeTokenizer, weights: dict[str, torch.Tensor], folder: Path, **options: Any
) -> SpeechTokenizer:
    save_file({name: value.contiguous() for name, value in weights.items()}, folder / "model.safetensors")
    options = {"chunk": 50, "released_rules": True} | options
    tokenizer = make_tokenizer(QuantiserConfig(codebook_size=512), **WHISPER, **options)
    warm_start(tokenizer, str(folder))
    return tokenizer


def speech_like(num_samples: int, seed: int) -> np.ndarray:
    """Bursts of coloured noise and of near silence, more than the clamp's 80 dB apart, louder towards the end."""
    random = np.random.default_rng(seed)
    noise = np.convolve(random.normal(0, 1, num_samples + 8), np.hanning(9))[8 : 8 + num_samples]
    loudness = np.repeat(random.uniform(-6, -1, num_samples // 4000 + 1), 4000)[:num_samples]
    return (noise * 10**loudness * np.linspace(0.3, 1, num_samples)).astype(np.float32)


@pytest.fixture(scope="module")
def released(make_tokenizer: MakeTokenizer, tmp_path_factory: pytest.TempPathFactory) -> SpeechTokenizer:
    return adopt(make_tokenizer, weights_of(4), tmp_path_factory.mktemp("released"))


def reference(audios: list[np.ndarray], **options: int) -> list[list[int]]:
    pooling = options.get("pooling", 4)
    return released_codes(audios, weights_of(pooling), num_layers=NUM_LAYERS, heads=2, **options)


def test_codes_equal_the_released_tokenizers_end_to_end(released: SpeechTokenizer) -> None:
    """Each length alone, and ours in a batch as alone."""
    audios = [speech_like(length, at) for at, length in enumerate(LENGTHS)]
    together = released.encode(audios)
    for audio, codes in zip(audios, together, strict=True):
        (expected,) = reference([audio])
        assert codes.tolist() == expected and len(expected) == -(-len(audio) // 1280)
        assert released.encode([audio])[0].tolist() == expected
    assert len({code for codes in together for code in codes.tolist()}) > 100


def test_in_a_batch_only_the_released_tokenizers_own_last_tokens_differ(released: SpeechTokenizer) -> None:
    """It mirrors the batch's end, where alone it mirrors the audio's; ours is the same in every batch."""
    audios = [speech_like(length, at) for at, length in enumerate(LENGTHS)]
    num_changed = 0
    for codes, expected in zip(released.encode(audios), reference(audios), strict=True):
        first = max(0, (len(expected) - 1) // 50 * 50)  # the block of the last token looks at it
        assert codes.tolist()[:first] == expected[:first]
        num_changed += codes.tolist() != expected
    whole = [speech_like(length, at) for at, length in enumerate((12_800, 12_801, 25_000, 60_001))]
    silent_end = [np.pad(audio[:-300], (0, 300)) for audio in whole]
    assert [codes.tolist() for codes in released.encode(silent_end)] == reference(silent_end)
    assert num_changed <= len(LENGTHS) // 2


@pytest.mark.parametrize("seconds", [30.0, 30.05, 47.3, 65.0])
def test_longer_audio_is_cut_into_the_same_pieces(released: SpeechTokenizer, seconds: float) -> None:
    audio = speech_like(int(seconds * 16000), 7)
    assert released.encode([audio])[0].tolist() == reference([audio])[0]


@pytest.mark.parametrize(("rate", "pooling"), [(50.0, 1), (25.0, 2), (6.25, 8)])
def test_checkpoints_of_other_rates(make_tokenizer: MakeTokenizer, tmp_path: Path, rate: float, pooling: int) -> None:
    """At 6.25 Hz the released kind has 188 positions after the pooling."""
    tokenizer = adopt(make_tokenizer, weights_of(pooling), tmp_path, frame_rate=rate, chunk=int(4 * rate))
    for at, length in enumerate((1, 2_400, 2_561, 64_000, 200_001, 478_000)):
        audio = speech_like(length, at)
        assert tokenizer.encode([audio])[0].tolist() == reference([audio], pooling=pooling)[0]


@pytest.mark.parametrize(("rate", "window"), [(12.5, 375), (6.25, 187)])
def test_a_window_knows_nothing_of_the_one_before(
    make_tokenizer: MakeTokenizer, tmp_path: Path, rate: float, window: int
) -> None:
    """At 6.25 Hz, where the released windows of 30 s hold half a token more, ours end with a whole one."""
    weights = weights_of(round(50 / rate))
    tokenizer = adopt(make_tokenizer, weights, tmp_path, frame_rate=rate, chunk=int(4 * rate))
    audio = speech_like(40 * 16000, 11)
    start = window * round(16000 / rate)
    codes, rest = tokenizer.encode([audio])[0], tokenizer.encode([audio[start:]])[0]
    assert codes[window:].tolist() == rest.tolist() and len(rest) > 40
    assert codes[window - 3 : window - 3 + len(rest)].tolist() != rest.tolist()


def test_each_of_the_rules_decides_codes(make_tokenizer: MakeTokenizer, tmp_path: Path) -> None:
    """Without the clamp, or with padding in sight, codes differ: the reference is not blind to them."""
    tokenizer = adopt(make_tokenizer, weights_of(4), tmp_path)
    audios = [speech_like(length, at) for at, length in enumerate((20_000, 45_100, 90_300))]
    right = np.concatenate(tokenizer.encode(audios))
    tokenizer.front.masks_padding = False
    assert 0 < np.mean(np.concatenate(tokenizer.encode(audios)) != right) < 1
    tokenizer.front.masks_padding = True
    tokenizer.log_mel.config.dynamic_range = 0.0
    assert 0.05 < np.mean(np.concatenate(tokenizer.encode(audios)) != right) < 1


def stream(tokenizer: SpeechTokenizer, audio: np.ndarray, cuts: list[int]) -> list[int]:
    with tokenizer.streaming() as opened:
        pieces = [opened.feed(piece) for piece in np.split(audio, cuts)]
        return np.concatenate([*pieces, opened.finish()]).tolist()


def test_streams_clamp_below_the_largest_value_so_far(released: SpeechTokenizer) -> None:
    """Equal to offline where the loudest comes first, however the audio is cut; else some codes differ."""
    audio = speech_like(40 * 16000, 3)
    for first in (0, 480_000):  # the loudest of each piece lies in its first block
        audio[first + 2000 : first + 4000] = np.random.default_rng(0).normal(0, 1, 2000)
    offline = released.encode([audio])[0].tolist()
    for at in range(4):
        cuts = np.sort(np.random.default_rng(at).integers(0, len(audio), 5)).tolist()
        assert stream(released, audio, cuts) == offline
    assert stream(released, audio[:77_777], [1, 200, 201, 40_000]) == released.encode([audio[:77_777]])[0].tolist()
    louder = speech_like(20 * 16000, 4)
    louder[-2000:] = np.random.default_rng(0).normal(0, 1, 2000)
    streamed, whole = (np.array(codes) for codes in (stream(released, louder, []), released.encode([louder])[0]))
    assert stream(released, louder, [5, 99_999]) == streamed.tolist() and np.mean(streamed != whole) > 0


def test_released_weights_need_the_rules_and_the_rules_need_whisper(
    make_tokenizer: MakeTokenizer, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"model\.released_rules=true"):
        adopt(make_tokenizer, weights_of(4), tmp_path, released_rules=False)
    with pytest.raises(UserError, match=r"model\.released_rules.*model\.backbone=whisper"):
        TokenizerModelConfig(released_rules=True)


def test_training_hears_what_encoding_does(make_tokenizer: MakeTokenizer, tmp_path: Path) -> None:
    """The front half's output in training (frames in half precision) follows the rule of padding."""
    tokenizer = adopt(make_tokenizer, weights_of(4), tmp_path)
    lengths = [20_000 + 1111 * number for number in range(8)]
    audios = [Utterance(str(length), tmp_path / f"{length}.wav", length / 16000, "red", "x") for length in lengths]
    for length, utterance in zip(lengths, audios, strict=True):
        write_audio(utterance.audio, speech_like(length, length))
    examples = Examples(
        Manifest(tmp_path, audios, []),
        tokenizer.labels,
        DataConfig(max_bad_share=1.0),
        model=TokenizerModelConfig(**WHISPER, chunk=50, upsampling=8),
        mel=LogMel(tokenizer.log_mel.config),
    )
    still = AugmentConfig(warp=0, stretch=0, tilt=0, frequency_masks=0, time_masks=0)
    objective = TokenizerObjective(tokenizer, examples, DataConfig(workers=0), still, 0)
    batch = examples.collate(range(8))
    assert len(set(batch.padding.tolist())) > 2
    with tokenizer.inference():
        trained = objective.encode(batch, is_consistent=False)
        encoded, _ = tokenizer.hidden([read_segment(item.utterance.segment) for item in examples.items[:8]])
        is_token = valid(encoded, batch.lengths)
        distance = (trained.hidden - encoded)[is_token].abs().max()
        tokenizer.front.masks_padding = False
        blind = objective.encode(batch, is_consistent=False)
    assert 20 * distance < (blind.hidden - encoded)[is_token].abs().max()
