"""Laws of the Whisper backbone: equals transformers' own, streams exactly, any length, attention decoder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from tokenizer.backbones.config import TokenizerModelConfig
from tokenizer.backbones.whisper import WhisperFront
from tokenizer.backbones.whisper_decoder import AttentionDecoder
from tokenizer.model import SpeechTokenizer
from tokenizer.quantisers.config import QuantiserConfig

MakeTokenizer = Callable[..., SpeechTokenizer]
SIZES: dict[str, Any] = {"backbone": "whisper", "width": 32, "heads": 2, "feed_forward": 2, "upsampling": 1}


@pytest.fixture(scope="module")
def whisper(make_tokenizer: MakeTokenizer) -> SpeechTokenizer:
    """Windows of 4.8 s (60 tokens), blocks of 8 tokens: the last block of a window is half as long."""
    return make_tokenizer(**SIZES, chunk=8, positions=240)


def random_audio(count: int, seed: int, longest: int) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [random.normal(0, 0.1, random.integers(1, longest)).astype(np.float32) for _ in range(count)]


def stream(tokenizer: SpeechTokenizer, audio: np.ndarray, seed: int) -> np.ndarray:
    cuts = np.sort(np.random.default_rng(seed).integers(0, len(audio), 3))
    with tokenizer.streaming() as opened:
        pieces = [opened.feed(piece) for piece in np.split(audio, cuts)]
        return np.concatenate([*pieces, opened.finish()])


def test_streamed_equals_offline_and_batched_equals_alone(whisper: SpeechTokenizer) -> None:
    """Over 200 utterances of random length, some over several windows."""
    audios = random_audio(180, 0, 70_000) + random_audio(20, 1, 250_000)
    together = whisper.encode(audios)
    for at, (audio, tokens) in enumerate(zip(audios, together, strict=True)):
        assert len(tokens) == -(-len(audio) // 1280)
        assert np.array_equal(stream(whisper, audio, at), tokens)
        assert np.array_equal(whisper.encode([audio])[0], tokens)
    assert len(np.unique(np.concatenate(together))) > 16


@pytest.mark.parametrize(("rate", "window"), [(50.0, 250), (25.0, 125), (12.5, 62), (6.25, 31)])
def test_each_pooling_streams(make_tokenizer: MakeTokenizer, rate: float, window: int) -> None:
    """Also where a window is no whole number of tokens: it is then cut to one."""
    tokenizer = make_tokenizer(**SIZES, frame_rate=rate, chunk=int(rate), positions=250)
    assert tokenizer.front.window == window
    for at, audio in enumerate(random_audio(8, int(rate), 200_000)):
        (tokens,) = tokenizer.encode([audio])
        assert len(tokens) == -(-len(audio) * rate // 16000) and np.array_equal(stream(tokenizer, audio, at), tokens)


def test_a_token_sees_its_block_and_the_past_of_its_window(whisper: SpeechTokenizer) -> None:
    audio = np.random.default_rng(5).normal(0, 0.1, 120 * 1280).astype(np.float32)
    for place, reached in ((20, (16, 60)), (58, (56, 60)), (70, (68, 120))):  # token changed, stretch that differs
        changed = audio.copy()
        changed[place * 1280 + 640] += 0.5
        with whisper.inference():
            one, other = (whisper.hidden([version])[0] for version in (audio, changed))
        differs = (one != other).any(-1)[0].nonzero().flatten()
        assert (int(differs[0]), int(differs[-1]) + 1) == reached


def hugging_face(config: TokenizerModelConfig) -> Any:
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    torch.manual_seed(1)
    settings = WhisperConfig(
        vocab_size=50,
        d_model=config.width,
        encoder_layers=config.front_layers + config.back_layers,
        decoder_layers=config.decoder_layers,
        encoder_attention_heads=config.heads,
        decoder_attention_heads=config.heads,
        encoder_ffn_dim=config.feed_forward * config.width,
        decoder_ffn_dim=config.feed_forward * config.width,
        num_mel_bins=config.num_mels,
        pad_token_id=0,
        bos_token_id=0,
        eos_token_id=0,
        decoder_start_token_id=0,
    )
    return WhisperForConditionalGeneration(settings).eval()


def test_not_causal_it_equals_transformers_encoder_and_decoder() -> None:
    """But for the positions, which theirs has not after the middle."""
    from tokenizer.backbones.whisper import WhisperBack
    from tokenizer.backbones.whisper_weights import load_decoder, load_halves

    config = TokenizerModelConfig(**SIZES, frame_rate=50, chunk=50, front_layers=2, back_layers=2, attention_weight=1)
    model = hugging_face(config)
    front, back, decoder = WhisperFront(config, is_causal=False), WhisperBack(config), AttentionDecoder(config, 50)
    load_halves(front, back, model.state_dict())
    load_decoder(decoder, model.state_dict())
    mel_BMF = torch.randn(2, 80, 3000)
    labels_BL = torch.randint(1, 50, (2, 12))
    whole = torch.tensor([1500, 1500])
    with torch.inference_mode():
        expected = model(mel_BMF, decoder_input_ids=labels_BL)
        encoded = back.eval()(front.eval()(mel_BMF, whole) - back.positions, whole)
        assert (encoded - expected.encoder_last_hidden_state).abs().max() < 1e-5
        assert (decoder.eval()(labels_BL, encoded, whole) - expected.logits).abs().max() < 1e-5


def test_the_mel_is_that_of_whisper_but_for_its_clamp() -> None:
    from transformers import WhisperFeatureExtractor

    from corpus.audio.mel import LogMel

    audio = np.random.default_rng(0).normal(0, 0.1, 32_000).astype(np.float32)
    for num_mels in (80, 128):
        config = TokenizerModelConfig(backbone="whisper", num_mels=num_mels)
        ours = LogMel(WhisperFront.mel_config(config))(torch.from_numpy(audio)[None])[0]
        theirs = WhisperFeatureExtractor(num_mels)(audio, sampling_rate=16000, padding=False).input_features[0]
        assert theirs.shape == ours.shape  # both ends aside, where theirs mirrors the audio and ours is silent
        assert np.abs(ours.numpy() - theirs)[:, 2:-2].max() < 1e-4


def test_greedy_reading_equals_teacher_forcing() -> None:
    """The cached decoder, label by label, says what the whole one would; rows that end early stay as they were."""
    torch.manual_seed(0)
    decoder = AttentionDecoder(TokenizerModelConfig(**SIZES), 12).eval()
    encoded_BTD, lengths_B = 3 * torch.randn(4, 9, 32), torch.tensor([9, 4, 1, 7])
    with torch.inference_mode():
        decoder.embed_positions.weight.normal_(std=2)  # so that it says more than one thing
        for layer in decoder.own_layers():
            layer.encoder_attn.out_proj.weight *= 20
        read = decoder.read(encoded_BTD, lengths_B, 15)
        for row, labels in enumerate(read):
            inputs = torch.tensor([[0, *labels]])
            said = decoder(inputs, encoded_BTD[row : row + 1, : lengths_B[row]], lengths_B[row : row + 1]).argmax(-1)
            assert said[0, : len(labels)].tolist() == labels
            assert len(labels) == 15 or int(said[0, len(labels)]) == 0
    assert len({tuple(labels) for labels in read}) > 1


def test_the_attention_decoder_reads_what_it_learnt(make_tokenizer: MakeTokenizer) -> None:
    tokenizer = make_tokenizer(**SIZES, ctc_weight=0, attention_weight=1, chunk=8, decoder_layers=1)
    assert tokenizer.head is None
    audios = random_audio(3, 0, 30_000)
    texts = ["red cat", "blue dog one", "tom"]
    labels = [tokenizer.labels.encode(text) for text in texts]
    optimizer = torch.optim.Adam(tokenizer.parameters(), lr=3e-3)
    hidden_BTD, lengths_B = (part.clone() for part in tokenizer.hidden(audios))
    flat, counts = torch.tensor([label for own in labels for label in own]), torch.tensor([len(own) for own in labels])
    for _ in range(80):
        optimizer.zero_grad()
        vectors_BTD = tokenizer.quantiser.vectors(tokenizer.quantiser.codes(hidden_BTD)).clone()
        assert tokenizer.decoder is not None
        loss = tokenizer.decoder.loss(tokenizer.back(vectors_BTD, lengths_B), lengths_B, flat, counts)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if loss < 0.02:
            break
    with tokenizer.inference():
        assert tokenizer.read_hidden(vectors_BTD, lengths_B) == texts


def test_sizes_of_the_released_tokenizer() -> None:
    """343.6 M parameters and buffers: the front half of large-v3 with a codebook of 16,384 and both position tables."""
    config = TokenizerModelConfig(
        backbone="whisper", width=1280, heads=20, front_layers=16, back_layers=1, num_mels=128, chunk=50, left_context=0
    )
    with torch.device("meta"):
        front = WhisperFront(config)
    codebook, positions = 16384 * 1280, (1500 + 375) * 1280
    total = sum(parameter.numel() for parameter in front.parameters()) + codebook + positions
    assert 343.5e6 < total < 343.7e6
    assert QuantiserConfig(codebook_size=16384).codebook_size == 16384
