"""Sub-word labels of the ASR head: byte-pair units over words as they are said, and greedy CTC decoding.

At 12.5 tokens a second characters would outnumber the tokens, which CTC cannot align; 128 units fit nearly always.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from corpus.text.spoken_words import spoken_words
from runtime.artefact import write_text
from runtime.errors import UserError

BLANK, UNKNOWN = "<blank>", "<unk>"


class Labels:
    """The label set of a tokenizer; label 0 is the CTC blank.

    Attributes:
        size: number of labels, blank and unknown included.
    """

    def __init__(self, units: Tokenizer) -> None:
        self.units = units
        self.size = int(units.get_vocab_size())

    @classmethod
    def from_texts(cls, texts: Iterable[str], size: int) -> Labels:
        """Learn at most ``size`` units from transcripts.

        Raises:
            UserError: the transcripts have more distinct characters than ``size`` leaves room for, or no words.
        """
        texts = [spoken_words(text) for text in texts]
        alphabet = {character for text in texts for character in text}
        if not alphabet:
            raise UserError("the transcripts", found="not one word", remedy="give a corpus with transcripts")
        if len(alphabet) + 3 > size:
            found = f"{size}, but the transcripts have {len(alphabet)} distinct characters"
            raise UserError("option model.num_labels", found=found, remedy=f"give at least {2 * len(alphabet) + 3}")
        units = Tokenizer(models.BPE(unk_token=UNKNOWN))
        units.pre_tokenizer = pre_tokenizers.Metaspace()
        units.decoder = decoders.Metaspace()
        trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=[BLANK, UNKNOWN], show_progress=False)
        units.train_from_iterator(texts, trainer)
        return cls(units)

    @classmethod
    def load(cls, path: Path | str) -> Labels:
        """Read ``labels.json`` (a Hugging Face tokenizers file)."""
        try:
            units = Tokenizer.from_str(Path(path).read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise UserError(str(path), found="no such file", remedy="give a folder of tokenizer.train") from error
        except Exception as error:  # the library raises plain Exception
            raise UserError(str(path), found=f"no label set ({error})", remedy="restore the file") from error
        if units.token_to_id(BLANK) != 0:
            raise UserError(str(path), found=f"label 0 is not {BLANK}", remedy="give a file of tokenizer.train")
        return cls(units)

    def save(self, path: Path | str) -> None:
        """Write ``labels.json``, atomically."""
        write_text(path, self.units.to_str(pretty=True))

    def encode(self, text: str) -> list[int]:
        """The labels of a transcript, of its words as they are said."""
        return list(self.units.encode(spoken_words(text)).ids)

    def decode(self, labels: Sequence[int]) -> str:
        """The transcript that labels stand for."""
        return " ".join(self.units.decode(list(labels), skip_special_tokens=False).replace(BLANK, "").split())

    def decode_ctc(self, path: Sequence[int]) -> str:
        """The transcript of a CTC path: repeats are merged, blanks dropped."""
        return self.decode([label for label, _ in itertools.groupby(path) if label != 0])


def num_ctc_frames(labels: Sequence[int]) -> int:
    """Frames that CTC needs for ``labels``: one each, and a blank between equal neighbours."""
    return len(labels) + sum(left == right for left, right in itertools.pairwise(labels))
