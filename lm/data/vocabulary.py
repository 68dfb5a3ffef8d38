"""The vocabulary of a speech-text LM: text tokens, special tokens, and a contiguous block of K speech tokens.

::

    ids  0 ............ | <|endoftext|> <|pad|> ......... | <|speaker_0|> ... | <|audio_0|> ... <|audio_K-1|> |
         text tokenizer   specials                                   one a voice         speech_offset ...        size

A vocabulary is a folder that `transformers.AutoTokenizer` loads (``tokenizer.json``), with a ``vocabulary.json`` for
what a text tokenizer does not know: the speech tokenizer of the codes, and the speaker of each tag.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import AddedToken, Tokenizer

from runtime.artefact import fingerprint, read_json, write_json, write_text
from runtime.errors import UserError

from .special_tokens import SpecialToken, audio_token, speaker_token
from .text_tokenizers import SETTINGS_FILE, TOKENIZER_FILE, text_prefix

RECORD_FILE, TEMPLATE_FILE = "vocabulary.json", "chat_template.jinja"
SPEAKER_TOKENS = "speaker_tokens"
VECTORS = "vectors"  # in place of a speech tokenizer's fingerprint, where one speech token stands for vectors
Ids = npt.NDArray[np.int32]


class Vocabulary:
    """Text to ids and back, speech codes to ids and back, special tokens and speaker tags.

    Args:
        tokenizer_json: the content of ``tokenizer.json``, special and speech tokens included.
        record: the content of ``vocabulary.json``: ``num_speech_tokens``, ``speech_tokenizer`` (fingerprint),
            ``frame_rate``, ``speakers`` (name -> number of the tag), ``num_speakers``, ``text_prefix``; ``eos`` where
            the base tokenizer ends documents with another token than ``<|endoftext|>``; ``speaker_tokens``.
        chat_template: the base model's Jinja template, None where there is none.

    Attributes:
        size: number of ids.
        speech_offset: id of ``<|audio_0|>``; the speech block is the last one.
        num_speech_tokens: K, the speech tokenizer's codebook size.
        speakers: name -> id of the speaker's tag.
        speaker_ids: ids of all tags, named or not.
        speaker_tokens: name -> speech tokens with a transcript in the training split; empty where it is unknown. It
            says nothing of the ids, so it has no part in the fingerprint.
        speech_fingerprint: of the speech tokenizer; `VECTORS` where speech is read as vectors, of whatever encoder.
        frame_rate: speech tokens a second.
        fingerprint: of all of this; corpora and models carry it.
    """

    def __init__(self, tokenizer_json: str, record: Mapping[str, Any], chat_template: str | None = None) -> None:
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
        self.speaker_tokens = {str(name): int(count) for name, count in record.get(SPEAKER_TOKENS, {}).items()}
        self.eos_token = str(record.get("eos", SpecialToken.END_OF_TEXT))
        self.eos, self.pad = added[self.eos_token], added[SpecialToken.PAD]
        self.chat_template = chat_template
        self._names = {id: name for name, id in added.items()}
        self.text_prefix = str(record["text_prefix"])
        self._is_text = np.zeros(self.size, dtype=bool)
        self._is_text[[id for id in self._text.get_vocab().values() if id < self.size]] = True
        self._is_text[[id for id in added.values() if id < self.size]] = False
        deciding = {name: value for name, value in self._record.items() if name != SPEAKER_TOKENS}
        self.fingerprint = fingerprint({"tokenizer": content, "record": deciding})

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
            vocabulary = cls(
                (root / TOKENIZER_FILE).read_text(encoding="utf-8"), read_json(root / RECORD_FILE), read_template(root)
            )
        except (KeyError, ValueError, TypeError, IndexError) as error:
            if isinstance(error, UserError):
                raise
            found = f"not a vocabulary of this program ({type(error).__name__}: {error})"
            raise UserError(str(root), found=found, remedy="make it again with lm.vocabulary") from error
        vocabulary._check_speech_block(str(root))
        return vocabulary

    def save_pretrained(self, folder: Path | str, *, chat_template: str | None = None) -> None:
        """Write the vocabulary's files into ``folder``, which may hold other files (an exported model's).

        Args:
            folder: where.
            chat_template: to write instead of the vocabulary's own; "" writes none.
        """
        root = Path(folder)
        root.mkdir(parents=True, exist_ok=True)
        write_text(root / TOKENIZER_FILE, self._json)
        write_json(root / RECORD_FILE, self._record)
        settings = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "eos_token": self.eos_token,
            "pad_token": SpecialToken.PAD.value,
            "padding_side": "left",  # of batched prompts: a decoder-only model continues at their right ends
            "clean_up_tokenization_spaces": False,
            "model_max_length": 1 << 30,
        }
        write_json(root / SETTINGS_FILE, settings)
        template = self.chat_template if chat_template is None else chat_template
        if template:
            write_text(root / TEMPLATE_FILE, template)

    @property
    def end_ids(self) -> list[int]:
        """The ids that end a generation: EOS, and those that begin somebody else's turn of a dialogue."""
        turns = (SpecialToken.USER, SpecialToken.SYSTEM)
        return [self.eos, *(self._added[token] for token in turns if token in self._added)]

    @property
    def num_text_tokens(self) -> int:
        """Number of text tokens."""
        return int(self._is_text.sum())

    # -- text ---------------------------------------------------------------------------------------------------

    def encode_text(self, text: str) -> list[int]:
        """Ids of a text. Special tokens written in it are spelt out as characters, never parsed."""
        return list(self._text.encode(self.text_prefix + text, add_special_tokens=False).ids)

    def encode_continuation(self, text: str) -> list[int]:
        """Ids of a text that goes on without a space; special tokens written in it are spelt out."""
        return list(self._text.encode(text, add_special_tokens=False).ids)

    def encode_rendered(self, text: str) -> list[int]:
        """Ids of a rendered chat template, its special tokens parsed, as transformers encodes it."""
        return list(self._whole.encode(text, add_special_tokens=False).ids)

    @cached_property
    def _whole(self) -> Tokenizer:
        whole: Tokenizer = Tokenizer.from_str(self._json)
        whole.no_truncation()
        whole.no_padding()
        return whole

    def encode_texts(self, texts: Sequence[str]) -> list[list[int]]:
        """`encode_text` of many texts at once (several cores)."""
        prefixed = [self.text_prefix + text for text in texts]
        return [list(one.ids) for one in self._text.encode_batch_fast(prefixed, add_special_tokens=False)]

    def decode_text(self, ids: Iterable[int] | npt.NDArray[Any]) -> str:
        """The text of ids; special and speech tokens among them are left out. Inverts `encode_text` exactly."""
        given = np.asarray(ids if isinstance(ids, np.ndarray) else list(ids), dtype=np.int64)
        kept = given[self.is_text(given)]
        text = str(self._text.decode(kept.tolist(), skip_special_tokens=False))
        return text.removeprefix(self.text_prefix)

    def is_text(self, ids: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Mask of the ids that are text tokens (neither special nor speech)."""
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
        """Mask of the ids that are speech tokens (the markers around them are not)."""
        given = np.asarray(ids)
        return (given >= self.speech_offset) & (given < self.size)

    # -- special tokens -----------------------------------------------------------------------------------------

    def special(self, name: str) -> int:
        """Id of a special token, by its full name (`SpecialToken`, ``"<|asr|>"``) or the word in it (``"asr"``)."""
        token = name if name.startswith("<|") else f"<|{name}|>"
        if token not in self._added:
            held = ", ".join(str(each) for each in SpecialToken if each in self._added)
            raise KeyError(f"{token} is no special token of this vocabulary, which has {held}: make it again")
        return self._added[token]

    def speaker_id(self, name: str) -> int:
        """Id of a speaker's tag."""
        if name not in self.speakers:
            known = ", ".join(list(self.speakers)[:8]) + (", ..." if len(self.speakers) > 8 else "")
            found, remedy = "no tag for it in the vocabulary", f"use one of its {len(self.speakers)} speakers: {known}"
            raise UserError(f"speaker {name!r}", found=found, remedy=remedy)
        return self.speakers[name]

    @property
    def special_names(self) -> list[str]:
        """All special, speaker and speech tokens by name."""
        return list(self._added)

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


def build_vocabulary(
    text_tokenizer: Tokenizer,
    *,
    num_speech_tokens: int,
    speech_tokenizer: str,
    frame_rate: float = 12.5,
    speakers: Sequence[str] = (),
    num_speakers: int | None = None,
    speaker_tokens: Mapping[str, int] | None = None,
    eos: str = SpecialToken.END_OF_TEXT,
    chat_template: str | None = None,
) -> Vocabulary:
    """Grow a text tokenizer by special tokens, speaker tags and the speech block.

    What the tokenizer puts around a text by itself (Llama-3's and GLM's beginning marks) is left out: our documents
    have no such marks, and an exported tokenizer must give what training saw.

    Args:
        text_tokenizer: a `tokenizers.Tokenizer`; tokens it already has (``<|endoftext|>``) keep their ids.
        num_speech_tokens: K, the speech tokenizer's codebook size.
        speech_tokenizer: its fingerprint.
        frame_rate: speech tokens a second.
        speakers: names, the first gets ``<|speaker_0|>``.
        num_speakers: number of tags (default: one a name); names beyond it get none.
        speaker_tokens: name -> speech tokens in training, where they are known.
        eos: the token that ends a document; one of the text tokenizer's, or ``<|endoftext|>``.
        chat_template: the base model's Jinja template.

    Raises:
        UserError: speech tokens in the text tokenizer, or no such EOS.
    """
    if eos != SpecialToken.END_OF_TEXT and text_tokenizer.token_to_id(eos) is None:
        remedy = f"name a token that ends its texts, or {SpecialToken.END_OF_TEXT}, which is added"
        raise UserError("option eos", found=f"{eos!r}, which the base tokenizer does not have", remedy=remedy)
    content = json.loads(text_tokenizer.to_str())
    if len(text_tokenizer.encode("a").ids) != len(text_tokenizer.encode("a", add_special_tokens=False).ids):
        content["post_processor"] = None
    grown = Tokenizer.from_str(json.dumps(content))
    num_tags = len(speakers) if num_speakers is None else num_speakers
    tags = [speaker_token(number) for number in range(num_tags)]
    block = [audio_token(code) for code in range(num_speech_tokens)]
    clash = [name for name in (*tags, *block) if grown.token_to_id(name) is not None]
    if clash:
        found, remedy = f"it already has the token {clash[0]}", "give a text tokenizer without speech tokens"
        raise UserError("the base tokenizer", found=found, remedy=remedy)
    specials = tuple(eos if name == SpecialToken.END_OF_TEXT else name.value for name in SpecialToken)
    for names in (specials, tags, block):
        grown.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in names])
    record = {
        "num_speech_tokens": num_speech_tokens,
        "speech_tokenizer": speech_tokenizer,
        "frame_rate": frame_rate,
        "num_speakers": num_tags,
        "speakers": {name: number for number, name in enumerate(speakers[:num_tags])},
        "text_prefix": text_prefix(text_tokenizer),
    } | ({"eos": eos} if eos != SpecialToken.END_OF_TEXT else {})
    if speaker_tokens is not None:
        record[SPEAKER_TOKENS] = {name: int(speaker_tokens.get(name, 0)) for name in speakers[:num_tags]}
    vocabulary = Vocabulary(grown.to_str(), record, chat_template)
    vocabulary._check_speech_block("the vocabulary")
    return vocabulary


def read_template(folder: Path) -> str | None:
    """The chat template of a model's or vocabulary's folder: its own file, or in ``tokenizer_config.json``."""
    if (folder / TEMPLATE_FILE).is_file():
        return (folder / TEMPLATE_FILE).read_text(encoding="utf-8")
    settings = folder / SETTINGS_FILE
    found = read_json(settings).get("chat_template") if settings.is_file() else None
    if isinstance(found, list):  # several, by name
        found = {one.get("name"): one.get("template") for one in found}.get("default")
    return str(found) if found else None
