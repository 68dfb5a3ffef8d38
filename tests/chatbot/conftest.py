"""A whole chatbot of tiny random models, a spoken corpus of noise, and its tokens."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from chatbot.bundle import STAGE as BUNDLE
from chatbot.bundle import BundleConfig
from chatbot.engine.worker import Job, Worker
from chatbot.prepare import STAGE as PREPARE
from chatbot.prepare import ChatPrepareConfig
from chatbot.settings import ReplyConfig
from corpus.audio.files import Samples, write_audio
from corpus.manifest import Utterance, write_manifest
from corpus.tokens import TokenisedUtterance, write_tokens
from decoder.config import BackboneConfig, DecoderConfig, FlowConfig, VocoderConfig
from decoder.model import SpeechDecoder
from decoder.vocoder import Vocoder
from evaluation.served_chat.server import ServedBundle, serve_bundle
from evaluation.served_chat.soak import SoakResult, check_freed
from lm.data.text_tokenizers import train_bpe
from lm.data.vector_config import VectorsConfig
from lm.data.vocabulary import Vocabulary, build_vocabulary
from lm.training.speech_config import ConnectorConfig
from tests.support.small_listening_model import STACK, save_small_listening_model
from tokenizer.backbones.config import TokenizerModelConfig
from tokenizer.labels import Labels
from tokenizer.model import SpeechTokenizer
from tokenizer.quantisers.config import QuantiserConfig

CODES = 24
KEY = "a-key-of-the-tests"  # of the served process, and its limits
MAX_TALKERS, MAX_BODY = 3, 1_000_000
HANG_SECONDS = 300.0  # after which something that was waited for will not come; a busy machine takes some of it
CAPITALS = {"france": "paris", "italy": "rome", "spain": "madrid", "japan": "tokyo"}
ASKED = {"train": "what is the capital of", "heldout": "name the capital of"}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def babble(seed: int, seconds: float) -> Samples:
    """A tone a token, each of its own pitch and loudness: the random tokenizer tells them apart without near ties."""
    rng = np.random.default_rng(seed)
    num_samples = int(16000 * seconds)
    count = -(-num_samples // 1280)
    pitch = np.repeat(rng.uniform(100, 4000, count), 1280)[:num_samples]
    loudness = np.repeat(10 ** rng.uniform(-3, -0.5, count), 1280)[:num_samples]
    return (loudness * np.sin(np.cumsum(2 * np.pi * pitch / 16000))).astype(np.float32)


def make_tokenizer(seed: int = 0) -> SpeechTokenizer:
    torch.manual_seed(seed)
    config = TokenizerModelConfig(
        width=16,
        heads=2,
        front_layers=1,
        back_layers=1,
        feed_forward=1,
        conv_kernel=3,
        subsampling_channels=4,
        left_context=8,
        num_labels=32,
    )
    labels = Labels.from_texts(["what is the capital of france"], 32)
    tokenizer = SpeechTokenizer(config, QuantiserConfig(codebook_size=CODES), labels).eval()
    with tokenizer.inference():
        hidden_BTD, _ = tokenizer.hidden([babble(9, 8.0)])
    tokenizer.quantiser.start(hidden_BTD[0].clone())
    return tokenizer


def make_decoder(fingerprint: str) -> SpeechDecoder:
    torch.manual_seed(1)
    tiny = BackboneConfig(width=16, layers=1, heads=2, expansion=2, kernel=3)
    config = DecoderConfig(
        codebook_size=CODES,
        speakers=["anna", "bert"],
        tokenizer=fingerprint,
        encoder=tiny,
        flow=FlowConfig(estimator=tiny, steps=2),
        block_tokens=4,
        past_blocks=1,
    )
    return SpeechDecoder(config, Vocoder(VocoderConfig(width=16, layers=1, expansion=2))).eval()


def make_vocabulary(fingerprint: str) -> Vocabulary:
    texts = [f"{asked} {country}" for asked in ASKED.values() for country in CAPITALS] * 4
    return build_vocabulary(
        train_bpe(texts, 320), num_speech_tokens=CODES, speech_tokenizer=fingerprint, speakers=["anna", "bert"]
    )


def save_lm(folder: Path, vocabulary: Vocabulary, positions: int = 256, seed: int = 2) -> None:
    import transformers

    torch.manual_seed(seed)
    config = transformers.LlamaConfig(
        vocab_size=vocabulary.padded_size(16),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=48,
        max_position_embeddings=positions,
        initializer_range=0.3,
        eos_token_id=vocabulary.eos,
        bos_token_id=None,
        pad_token_id=vocabulary.pad,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    vocabulary.save_pretrained(folder)


def write_speech(root: Path, fingerprint: str) -> None:
    """Questions of two speakers, replies of anna; a held-out question without reply is among them."""
    rng = np.random.default_rng(0)
    splits: dict[str, list[tuple[str, str, str]]] = {"train": [], "heldout_sentence": []}
    records = []
    for country, capital in CAPITALS.items():
        reply = f"the capital of {country} is {capital}"
        splits["train"].append((reply, "anna", "reply"))
        for split, asked in ASKED.items():
            question = f"{asked} {country}"
            records.append(
                {"question": question, "answer": capital, "reply": reply, "topic": "capital", "split": split}
            )
            manifest = "train" if split == "train" else "heldout_sentence"
            splits[manifest] += [(question, speaker, "question") for speaker in ("anna", "bert")]
    splits["train"].append(("words of france", "bert", "random"))
    for manifest, lines in splits.items():
        utterances, items = [], []
        for number, (text, speaker, kind) in enumerate(lines):
            audio = babble(number, float(rng.uniform(0.4, 1.2)))
            file = root / "corpus" / "audio" / f"{manifest}-{number}.flac"
            write_audio(file, audio)
            name = f"{manifest}-{number}"
            utterances.append(Utterance(name, file, len(audio) / 16000, text, speaker, kind=kind))
            tokens = rng.integers(0, CODES, int(rng.integers(5, 9))).astype(np.uint16)
            items.append(TokenisedUtterance(name, tokens, text, len(audio) / 16000, speaker, kind=kind))
        write_manifest(root / "corpus" / f"{manifest}.jsonl", utterances)
        shard = root / "tokens" / f"{manifest}.parquet"
        write_tokens(shard, items, tokenizer=fingerprint, codebook_size=CODES, frame_rate=12.5)
    lines = [json.dumps({"id": f"q{number}"} | record) + "\n" for number, record in enumerate(records)]
    (root / "corpus" / "questions.jsonl").write_text("".join(lines))


@pytest.fixture(scope="session")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything up to the bundle: corpus/ tokens/ vocabulary/ tokenizer/ lm/ decoder/ chat_data/ bundle/."""
    root = tmp_path_factory.mktemp("chain")
    tokenizer = make_tokenizer()
    vocabulary = make_vocabulary(tokenizer.fingerprint)
    tokenizer.save_pretrained(root / "tokenizer" / "artefact")
    vocabulary.save_pretrained(root / "vocabulary" / "vocabulary")
    save_lm(root / "lm" / "model", vocabulary)
    make_decoder(tokenizer.fingerprint).save_pretrained(root / "decoder" / "artefact")
    write_speech(root, tokenizer.fingerprint)
    PREPARE.execute(prepare_config(root))
    BUNDLE.execute(bundle_config(root))
    return root


@pytest.fixture(scope="session")
def hearing_chain(chain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models that hear vectors, read aloud by the chain's: whole/ (of an encoder that sees the whole clip), streamed/.

    In each: lm/ vocabulary/ chat_data/ bundle/.
    """
    root = tmp_path_factory.mktemp("hearing_chain")
    shapes = {"whole": ("back", STACK), "streamed": ("front", ConnectorConfig(kind="conv", stride=2))}
    for name, (layer, shape) in shapes.items():
        vocabulary = save_small_listening_model(root / name / "lm", layer, shape)
        vocabulary.save_pretrained(root / name / "vocabulary")
        PREPARE.execute(hearing_data_config(chain, root / name))
        BUNDLE.execute(hearing_bundle_config(chain, root / name))
    return root


def hearing_data_config(chain: Path, folder: Path, **changes: object) -> ChatPrepareConfig:
    record = json.loads((folder / "lm" / "hearing" / "hearing.json").read_text())
    encoder = {"encoder": str(folder / "lm" / "hearing" / "encoder"), "layer": record["layer"]}
    options = {"out": str(folder / "chat_data"), "vocabulary": str(folder / "vocabulary")}
    options |= {"corpus": str(chain / "corpus"), "speech": "vectors", "transcribe_first": False}
    options |= {"vectors": VectorsConfig(**encoder, stride=record["connector"]["stride"])}
    return ChatPrepareConfig(**{**options, **changes})  # type: ignore[arg-type]


def hearing_bundle_config(chain: Path, folder: Path, **changes: object) -> BundleConfig:
    options = {"out": str(folder / "bundle"), "lm": str(folder / "lm"), "data": str(folder / "chat_data")}
    options |= {"reader": str(chain / "lm"), "decoder": str(chain / "decoder")}
    # As in `bundle_config`; the models write what comes to their random weights.
    reply = ReplyConfig(min_speech_probability=1e-9, max_text_tokens=12, remembered_turns=2)
    return BundleConfig(**{**options, "reply": reply, **changes})  # type: ignore[arg-type]


def prepare_config(root: Path, **changes: object) -> ChatPrepareConfig:
    options = {"out": str(root / "chat_data")}
    options |= {name: str(root / name) for name in ("corpus", "tokens", "vocabulary")}
    return ChatPrepareConfig(**{**options, **changes})  # type: ignore[arg-type]


def bundle_config(root: Path, **changes: object) -> BundleConfig:
    options = {"out": str(root / "bundle"), "data": str(root / "chat_data")}
    options |= {name: str(root / name) for name in ("tokenizer", "lm", "decoder")}
    # The questions here are tones: all but digital silence is taken for speech.
    reply = ReplyConfig(min_speech_probability=1e-9)
    return BundleConfig(**{**options, "reply": reply, **changes})  # type: ignore[arg-type]


@contextmanager
def held(worker: Worker, jobs: int = 0) -> Iterator[threading.Semaphore]:
    """``worker`` does so many batches and no more within; so nothing that needs it ends, whatever the machine.

    Yields the semaphore, whose release allows one more.
    """
    permits, do = threading.Semaphore(jobs), worker._do

    def when_permitted(batch: list[Job]) -> None:
        assert permits.acquire(timeout=HANG_SECONDS)
        do(batch)

    worker._do = when_permitted  # type: ignore[method-assign]
    try:
        yield permits
    finally:
        worker._do = do  # type: ignore[method-assign]
        permits.release(1_000_000)


@pytest.fixture(scope="session")
def served(chain: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedBundle]:
    """``speechweave serve`` with the tiny bundle, in a process of its own."""
    limits = ["--api-keys", KEY, "--max-body-bytes", str(MAX_BODY)]
    limits += ["--header-seconds", f"{HANG_SECONDS}", "--body-seconds", f"{HANG_SECONDS}"]
    log = tmp_path_factory.mktemp("served") / "server.log"
    with serve_bundle(chain / "bundle", log, max_talkers=MAX_TALKERS, more=limits) as server:
        yield server
        left = SoakResult()
        asyncio.run(check_freed(server.url, left))
        assert (left.is_healthy, left.still_open) == (True, 0)
    assert "Traceback" not in log.read_text()
