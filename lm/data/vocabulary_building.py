"""The vocabulary of tokenised speech and texts: a trained or a base model's text half, and tags for its speakers."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from corpus.manifest import read_manifest
from corpus.tokens import TokenisedSpeech
from runtime.artefact import atomic_folder, read_json
from runtime.stage import Run

from .readers import read_split
from .special_tokens import SpecialToken
from .text_files import Texts, read_texts
from .text_tokenizers import SETTINGS_FILE, base_eos, read_base_tokenizer, train_bpe
from .vocabulary import VECTORS, build_vocabulary, read_template
from .vocabulary_config import VocabularyConfig

NUM_SAMPLES = 1000  # texts, and as many transcripts, on which tokens per word are measured
# One speech token without a codebook behind it; the frame rate is that of whichever encoder.
VECTORS_OF_SPEECH = TokenisedSpeech([], VECTORS, codebook_size=1, frame_rate=12.5)


def write_vocabulary(config: VocabularyConfig, run: Run) -> dict[str, Any]:
    """Build the vocabulary into ``<out>/vocabulary``; returns its metrics."""
    base_path = Path(config.base)
    text_tokenizer = read_base_tokenizer(base_path) if config.base else None
    eos = config.eos or (base_eos(base_path, text_tokenizer) if text_tokenizer else SpecialToken.END_OF_TEXT)
    speech = read_split(config.tokens, "train") if config.tokens else VECTORS_OF_SPEECH
    documents = read_texts(config.texts, config.max_bad_share) if config.texts else Texts([], [])
    words = [item.text for item in speech.items]
    if config.transcripts:
        spoken = read_manifest(config.transcripts, config.max_bad_share, should_check_audio=False)
        words = [utterance.text for utterance in spoken.utterances]
    if text_tokenizer is None:
        trained_on = [*(document.text for document in documents.documents), *words]
        text_tokenizer = train_bpe(trained_on, config.num_text_tokens)
    trained: Counter[str] = Counter()
    for item in speech.items:
        if item.speaker and item.text:
            trained[item.speaker] += len(item.tokens)
    vocabulary = build_vocabulary(
        text_tokenizer,
        num_speech_tokens=speech.codebook_size,
        speech_tokenizer=speech.tokenizer,
        frame_rate=speech.frame_rate,
        speakers=most_frequent((item.speaker for item in speech.items if item.speaker), config.num_speakers or None),
        num_speakers=config.num_speakers or None,
        speaker_tokens=trained,
        eos=eos,
        chat_template=base_template(base_path if base_path.is_dir() else base_path.parent) if config.base else None,
    )
    with atomic_folder(run.folder / "vocabulary") as temporary:
        vocabulary.save_pretrained(temporary)
    samples = [document.text for document in documents.documents[:NUM_SAMPLES]] + words[:NUM_SAMPLES]
    num_words = sum(len(text.split()) for text in samples)
    num_tokens = sum(len(ids) for ids in vocabulary.encode_texts(samples))
    return {
        "size": vocabulary.size,
        "text_tokens": vocabulary.num_text_tokens,
        "speech_tokens": vocabulary.num_speech_tokens,
        "speakers": len(vocabulary.speakers),
        "tokens_per_word": round(num_tokens / max(num_words, 1), 4),
        "bad_texts": len(documents.bad),
        "fingerprint": vocabulary.fingerprint,
    }


def base_template(base: Path) -> str | None:
    """The base model's chat template; the token that it begins with is part of it, since a vocabulary has no BOS."""
    template, settings = read_template(base), base / SETTINGS_FILE
    bos: Any = read_json(settings).get("bos_token") if settings.is_file() else None
    bos = bos.get("content") if isinstance(bos, dict) else bos
    if not template or not bos or "bos_token" not in template:
        return template
    return f"{{%- set bos_token = {json.dumps(bos)} -%}}\n{template}"


def most_frequent(speakers: Iterable[str], count: int | None) -> list[str]:
    """The ``count`` most frequent speakers (None: all), in alphabetical order."""
    counts = Counter(speakers)
    return sorted(sorted(counts, key=lambda name: (-counts[name], name))[:count])
