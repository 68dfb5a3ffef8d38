"""The vocabulary of a speech-text LM: text tokens, special tokens, and a contiguous block of K speech tokens.

::

    ids  0 ............ | <|endoftext|> <|pad|> ... <|transcript|> | <|speaker_0|> ... | <|audio_0|> ... <|audio_K-1|> |
         text tokenizer   specials                                   one a voice         speech_offset ...        size

A vocabulary is a folder that `transformers.AutoTokenizer` loads (``tokenizer.json``), with ``vocabulary.json`` beside
it for what a text tokenizer does not know: which speech tokenizer the codes are of, and which tag is whose voice.

    python -m lm.vocabulary texts=runs/corpus/texts.jsonl tokens=runs/tokens out=runs/vocabulary
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from corpus.artefact import atomic_folder, fingerprint, read_json, write_json, write_text
from corpus.errors import UserError, check_option
from corpus.stage import Run, Stage, StageConfig

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from .sources import Texts

END_OF_TEXT, PAD = "<|endoftext|>", "<|pad|>"
BEGIN_OF_AUDIO, END_OF_AUDIO = "<|begin_of_audio|>", "<|end_of_audio|>"
ASR, TTS = "<|asr|>", "<|tts|>"
SYSTEM, USER, ASSISTANT, TRANSCRIPT = "<|system|>", "<|user|>", "<|assistant|>", "<|transcript|>"
SPECIALS = (END_OF_TEXT, PAD, BEGIN_OF_AUDIO, END_OF_AUDIO, ASR, TTS, SYSTEM, USER, ASSISTANT, TRANSCRIPT)

TOKENIZER_FILE, RECORD_FILE = "tokenizer.json", "vocabulary.json"
Ids = npt.NDArray[np.int32]


class Vocabulary:
    """Text to ids and back, speech codes to ids and back, special tokens and speaker tags.

    Args:
        tokenizer_json: the content of ``tokenizer.json``, special and speech tokens included.
        record: the content of ``vocabulary.json``: ``num_speech_tokens``, ``speech_tokenizer`` (fingerprint),
            ``frame_rate``, ``speakers`` (name -> number of the tag), ``num_speakers``, ``text_prefix``.

    Attributes:
        size: number of ids.
        speech_offset: id of ``<|audio_0|>``; the speech block is the last one.
        num_speech_tokens: K, the speech tokenizer's codebook size.
        speakers: name -> id of the speaker's tag.
        speaker_ids: ids of all tags, named or not.
        speech_fingerprint: of the speech tokenizer.
        frame_rate: speech tokens a second.
        fingerprint: of all of this; corpora and models carry it.
    """

    def __init__(self, tokenizer_json: str, record: Mapping[str, Any]) -> None:
        from tokenizers import Tokenizer

        content = json.loads(tokenizer_json)
        added = {token["content"]: int(token["id"]) for token in content["added_tokens"]}
        # Without added tokens nothing a user writes can turn into a special token.
        self._text: Tokenizer = Tokenizer.from_str(json.dumps(content | {"added_tokens": [], "post_processor": None}))
        self._text.no_truncation()
        self._text.no_padding()
        self._json, self._record, self._added = tokenizer_json, dict(record), added
        self.num_speech_tokens = int(record["num_speech_tokens"])
        self.speech_offset = added[audio_token(0)]
        self.size = self.speech_offset + self.num_speech_tokens
        self.speech_fingerprint = str(record["speech_tokenizer"])
        self.frame_rate = float(record["frame_rate"])
        self.speaker_ids = [added[speaker_token(number)] for number in range(int(record["num_speakers"]))]
        self.speakers = {str(name): self.speaker_ids[number] for name, number in record["speakers"].items()}
        self.eos, self.pad = added[END_OF_TEXT], added[PAD]
        self._names = {id: name for name, id in added.items()}
        self._prefix = str(record["text_prefix"])
        self._is_text = np.zeros(self.size, dtype=bool)
        self._is_text[[id for id in self._text.get_vocab().values() if id < self.size]] = True
        self._is_text[[id for id in added.values() if id < self.size]] = False
        self.fingerprint = fingerprint({"tokenizer": content, "record": self._record})

    @classmethod
    def from_pretrained(cls, folder: Path | str) -> Vocabulary:
        """Load a vocabulary folder, or an exported model's folder that holds a copy of it.

        Raises:
            UserError: no vocabulary there, or a speech block that is not whole, contiguous and last.
        """
        root = Path(folder)
        for name in (TOKENIZER_FILE, RECORD_FILE):
            if not (root / name).is_file():
                found, remedy = f"no vocabulary (no {name})", "give the vocabulary folder that lm.vocabulary wrote"
                raise UserError(str(root), found=found, remedy=remedy)
        try:
            vocabulary = cls((root / TOKENIZER_FILE).read_text(encoding="utf-8"), read_json(root / RECORD_FILE))
        except (KeyError, ValueError, TypeError, IndexError) as error:
            if isinstance(error, UserError):
                raise
            found = f"not a vocabulary of this program ({type(error).__name__}: {error})"
            raise UserError(str(root), found=found, remedy="make it again with lm.vocabulary") from error
        vocabulary._check_speech_block(str(root))
        return vocabulary

    def save_pretrained(self, folder: Path | str) -> None:
        """Write the vocabulary's files into ``folder``, beside whatever is there (an exported model, say)."""
        root = Path(folder)
        root.mkdir(parents=True, exist_ok=True)
        write_text(root / TOKENIZER_FILE, self._json)
        write_json(root / RECORD_FILE, self._record)
        settings = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "eos_token": END_OF_TEXT,
            "pad_token": PAD,
            "clean_up_tokenization_spaces": False,
            "model_max_length": 1 << 30,
        }
        write_json(root / "tokenizer_config.json", settings)

    # -- text ---------------------------------------------------------------------------------------------------

    def encode_text(self, text: str) -> list[int]:
        """Ids of a text. Special tokens written in it are spelt out as characters, never parsed."""
        return list(self._text.encode(self._prefix + text, add_special_tokens=False).ids)

    def encode_texts(self, texts: Sequence[str]) -> list[list[int]]:
        """`encode_text` of many texts at once (several cores)."""
        prefixed = [self._prefix + text for text in texts]
        return [list(one.ids) for one in self._text.encode_batch_fast(prefixed, add_special_tokens=False)]

    def decode_text(self, ids: Iterable[int] | npt.NDArray[Any]) -> str:
        """The text of ids; special and speech tokens among them are left out. Inverts `encode_text` exactly."""
        given = np.asarray(ids if isinstance(ids, np.ndarray) else list(ids), dtype=np.int64)
        kept = given[self.is_text(given)]
        text = str(self._text.decode(kept.tolist(), skip_special_tokens=False))
        return text.removeprefix(self._prefix)

    def is_text(self, ids: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Which ids are text tokens (neither special nor speech)."""
        given = np.asarray(ids)
        inside = (given >= 0) & (given < self.size)
        return self._is_text[np.where(inside, given, self.eos)]

    # -- speech -------------------------------------------------------------------------------------------------

    def speech_ids(self, codes: npt.ArrayLike) -> Ids:
        """Ids (T,) of the codes (T,) of the speech tokenizer."""
        given = np.asarray(codes).astype(np.int64)
        if given.size and not 0 <= given.min() <= given.max() < self.num_speech_tokens:
            outside = int(given.max() if given.max() >= self.num_speech_tokens else given.min())
            raise ValueError(f"code {outside} is not of a codebook of {self.num_speech_tokens}")
        return (given + self.speech_offset).astype(np.int32)

    def codes(self, ids: npt.ArrayLike) -> npt.NDArray[np.uint16]:
        """The codes of those ids that are speech tokens, in order; others are left out."""
        given = np.asarray(ids)
        return (given[self.is_speech(given)] - self.speech_offset).astype(np.uint16)

    def is_speech(self, ids: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Which ids are speech tokens (the markers around them are not)."""
        given = np.asarray(ids)
        return (given >= self.speech_offset) & (given < self.size)

    # -- special tokens -----------------------------------------------------------------------------------------

    def special(self, name: str) -> int:
        """Id of a special token, by its full name (``"<|asr|>"``) or the word in it (``"asr"``)."""
        token = name if name.startswith("<|") else f"<|{name}|>"
        if token not in self._added:
            raise KeyError(f"{name!r} is no special token; there are {', '.join(SPECIALS)}")
        return self._added[token]

    def speaker_id(self, name: str) -> int:
        """Id of a speaker's tag."""
        if name not in self.speakers:
            known = ", ".join(list(self.speakers)[:8]) + (", ..." if len(self.speakers) > 8 else "")
            found, remedy = "no tag for it in the vocabulary", f"use one of its {len(self.speakers)} speakers: {known}"
            raise UserError(f"speaker {name!r}", found=found, remedy=remedy)
        return self.speakers[name]

    def token(self, id: int) -> str:
        """The name of a special, speaker or speech token; "" for a text token."""
        return self._names.get(id, "")

    def padded_size(self, multiple: int) -> int:
        """``size`` rounded up to a multiple (rows that tensor parallel ranks can share evenly)."""
        return -(-self.size // multiple) * multiple

    def check_speech_tokenizer(self, found: str, subject: str) -> None:
        """Raise a `UserError` if speech tokens were made by another tokenizer than the vocabulary's."""
        if found != self.speech_fingerprint:
            raise UserError(
                subject,
                found=f"tokens of speech tokenizer {found}, but the vocabulary is of {self.speech_fingerprint}",
                remedy="encode the speech with the vocabulary's tokenizer, or make the vocabulary from these tokens",
            )

    def _check_speech_block(self, subject: str) -> None:
        expected = {audio_token(code): self.speech_offset + code for code in range(self.num_speech_tokens)}
        last = max([*self._added.values(), self._text.get_vocab_size() - 1])
        if any(self._added.get(name) != id for name, id in expected.items()) or last != self.size - 1:
            found = "speech tokens that are not one contiguous block at the end"
            raise UserError(subject, found=found, remedy="make it again with lm.vocabulary")


def audio_token(code: int) -> str:
    """Name of a speech token."""
    return f"<|audio_{code}|>"


def speaker_token(number: int) -> str:
    """Name of a speaker tag."""
    return f"<|speaker_{number}|>"


def build_vocabulary(
    text_tokenizer: Tokenizer,
    *,
    num_speech_tokens: int,
    speech_tokenizer: str,
    frame_rate: float = 12.5,
    speakers: Sequence[str] = (),
    num_speakers: int | None = None,
) -> Vocabulary:
    """Grow a text tokenizer by special tokens, speaker tags and the speech block.

    Args:
        text_tokenizer: a `tokenizers.Tokenizer`; tokens it already has (``<|endoftext|>``) keep their ids.
        num_speech_tokens: K, the speech tokenizer's codebook size.
        speech_tokenizer: its fingerprint.
        frame_rate: speech tokens a second.
        speakers: names, the first gets ``<|speaker_0|>``.
        num_speakers: number of tags (default: one a name); names beyond it get none.
    """
    from tokenizers import AddedToken, Tokenizer

    grown = Tokenizer.from_str(text_tokenizer.to_str())
    num_tags = len(speakers) if num_speakers is None else num_speakers
    tags = [speaker_token(number) for number in range(num_tags)]
    block = [audio_token(code) for code in range(num_speech_tokens)]
    clash = [name for name in (*tags, *block) if grown.token_to_id(name) is not None]
    if clash:
        found, remedy = f"it already has the token {clash[0]}", "give a text tokenizer without speech tokens"
        raise UserError("the base tokenizer", found=found, remedy=remedy)
    for names in (SPECIALS, tags, block):
        grown.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in names])
    record = {
        "num_speech_tokens": num_speech_tokens,
        "speech_tokenizer": speech_tokenizer,
        "frame_rate": frame_rate,
        "num_speakers": num_tags,
        "speakers": {name: number for number, name in enumerate(speakers[:num_tags])},
        "text_prefix": text_prefix(text_tokenizer),
    }
    vocabulary = Vocabulary(grown.to_str(), record)
    vocabulary._check_speech_block("the vocabulary")
    return vocabulary


def text_prefix(text_tokenizer: Tokenizer) -> str:
    """What to write before a text so that its first word is the token it would be inside a text.

    One space for byte-level tokenizers; nothing where the tokenizer puts the space itself (SentencePiece).
    """
    lengths = {
        prefix: len(text_tokenizer.encode(prefix + "the of a", add_special_tokens=False).ids) for prefix in (" ", "")
    }
    return " " if lengths[" "] <= lengths[""] else ""


@dataclass(kw_only=True)
class VocabularyConfig(StageConfig):
    """Options of lm.vocabulary.

    Attributes:
        tokens: output folder of tokenizer.encode: its train split gives codebook size, speakers and transcripts.
        texts: JSON lines {"id", "text"} to train the text half on, besides the transcripts ("" = transcripts only).
        base: folder (or tokenizer.json) of a Hugging Face tokenizer to grow instead of training a text half.
        num_text_tokens: most tokens of a trained text half.
        num_speakers: number of speaker tags; the most frequent speakers get them (0 = one for each speaker).
        max_bad_share: share of bad lines in texts that is tolerated.
    """

    tokens: str
    texts: str = ""
    base: str = ""
    num_text_tokens: int = 2048
    num_speakers: int = 0
    max_bad_share: float = 0.01

    def __post_init__(self) -> None:
        check_option(self.num_text_tokens >= 256, "num_text_tokens", self.num_text_tokens, "the bytes alone take 256")
        check_option(self.num_speakers >= 0, "num_speakers", self.num_speakers, "give 0 (all speakers) or more")
        check_option(0 <= self.max_bad_share < 1, "max_bad_share", self.max_bad_share, "give a share in [0, 1)")


def run(config: VocabularyConfig, run: Run) -> dict[str, Any]:
    """Build the vocabulary into ``<out>/vocabulary``."""
    from .sources import Texts, read_split, read_texts

    speech = read_split(config.tokens, "train")
    texts = read_texts(config.texts, config.max_bad_share) if config.texts else Texts([], [])
    transcripts = [item.text for item in speech.items]
    counts = Counter(item.speaker for item in speech.items if item.speaker)
    ranked = sorted(counts, key=lambda name: (-counts[name], name))
    chosen = sorted(ranked[: config.num_speakers or None])
    vocabulary = build_vocabulary(
        _text_half(config, texts, transcripts),
        num_speech_tokens=speech.codebook_size,
        speech_tokenizer=speech.tokenizer,
        frame_rate=speech.frame_rate,
        speakers=chosen,
        num_speakers=config.num_speakers or None,
    )
    with atomic_folder(run.folder / "vocabulary") as folder:
        vocabulary.save_pretrained(folder)
    samples = [document.text for document in texts.documents[:1000]] + transcripts[:1000]
    num_words = sum(len(text.split()) for text in samples)
    num_tokens = sum(len(ids) for ids in vocabulary.encode_texts(samples))
    return {
        "size": vocabulary.size,
        "text_tokens": int(vocabulary._is_text.sum()),
        "speech_tokens": vocabulary.num_speech_tokens,
        "speakers": len(vocabulary.speakers),
        "tokens_per_word": round(num_tokens / max(num_words, 1), 4),
        "bad_texts": len(texts.bad),
        "fingerprint": vocabulary.fingerprint,
    }


def _text_half(config: VocabularyConfig, texts: Texts, transcripts: list[str]) -> Tokenizer:
    if not config.base:
        from .bpe import train_bpe

        def all_texts() -> Iterator[str]:
            yield from (document.text for document in texts.documents)
            yield from transcripts

        return train_bpe(all_texts(), config.num_text_tokens)
    from tokenizers import Tokenizer

    file = Path(config.base)
    file = file / TOKENIZER_FILE if file.is_dir() else file
    if not file.is_file():
        remedy = f"give a folder that holds a {TOKENIZER_FILE} (a fast Hugging Face tokenizer)"
        raise UserError("option base", found=f"no file {file}", remedy=remedy)
    try:
        return Tokenizer.from_file(str(file))
    except Exception as error:  # the tokenizers library raises nothing finer
        raise UserError(str(file), found=f"no tokenizer ({error})", remedy="give a tokenizer.json") from error


STAGE = Stage(
    name="lm.vocabulary",
    config=VocabularyConfig,
    run=run,
    summary="Make the vocabulary of a speech-text LM: text tokens, special tokens, speaker tags, speech tokens.",
    inputs=lambda config: [config.tokens, config.texts, config.base],
    example="tokens=runs/tokens texts=runs/corpus/texts.jsonl out=runs/vocabulary",
)

if __name__ == "__main__":
    STAGE.exit()
