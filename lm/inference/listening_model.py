"""A language model that hears: the exported model, its connector and its speech encoder.

    model = ListeningModel.from_pretrained("runs/inserter_export")
    replies = model.generate([HeardPrompt(asr_prompt_of(model, 1), [audio])], max_new_tokens=60, stop=[...])

A prompt is ids with one run of placeholders a clip, as in the corpora that the model was trained on, and the clips'
vectors. Encoder and connector are run without gradients; vectors of a clip do not depend on other clips.

C clips, T vectors of the encoder, E their width, P positions (T by the connector's stride), H width of the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from corpus.audio.files import Samples
from lm.data.hearing_folder import (
    CONNECTOR_FILE,
    ENCODER_FILE,
    ENCODER_NAME,
    HEARING_FOLDER,
    MODEL_FOLDER,
    RECORD_FILE,
)
from lm.data.vocabulary import Ids, Vocabulary
from lm.training.connector import Connector
from lm.training.speech_config import SpeechRecord
from runtime.artefact import read_json
from runtime.errors import UserError
from tokenizer.hearing.base import SpeechEncoder
from tokenizer.hearing.load import load_encoder

from .generation import Generator
from .lent_vectors import fill_placeholders
from .output_head import Allowed

REMEDY = "give the output folder of lm.export, of a checkpoint that reads speech as vectors"


class HeardPrompt(NamedTuple):
    """A prompt with speech.

    Attributes:
        ids: with one run of placeholders a clip.
        clips: vectors (P, H) of each clip, of `ListeningModel.hear` or `ListeningModel.connect`.
    """

    ids: npt.NDArray[np.integer]
    clips: Sequence[Tensor]


class ListeningModel:
    """Generator, connector and encoder.

    Args:
        generator: of the language model.
        connector: its vectors are as wide as the model's embeddings.
        record: of the speech input.
        encoder: None where the export found none: then only vectors can be heard.
    """

    def __init__(
        self, generator: Generator, connector: Connector, record: SpeechRecord, encoder: SpeechEncoder | None
    ) -> None:
        self.generator, self.connector, self.record, self.encoder = generator, connector.eval(), record, encoder

    @property
    def vocabulary(self) -> Vocabulary:
        """Of the language model."""
        return self.generator.vocabulary

    @classmethod
    def from_pretrained(
        cls, folder: Path | str, *, batch_size: int = 64, dtype: str = "float32", device: str = "cpu"
    ) -> ListeningModel:
        """Load what lm.export wrote: ``model/`` and ``hearing/``.

        Raises:
            UserError: one of them is missing or damaged, or they do not fit.
        """
        root = Path(folder)
        if not (root / HEARING_FOLDER / RECORD_FILE).is_file():
            raise UserError(str(root), found=f"no speech input (no {HEARING_FOLDER}/{RECORD_FILE})", remedy=REMEDY)
        generator = Generator.from_pretrained(root / MODEL_FOLDER, batch_size=batch_size, dtype=dtype, device=device)
        return cls.of_parts(generator, root / HEARING_FOLDER, device=device)

    @classmethod
    def of_parts(cls, generator: Generator, hearing: Path, *, device: str = "cpu") -> ListeningModel:
        """Add the speech input of a ``hearing/`` folder to a language model.

        Raises:
            UserError: it is damaged, or of a model of another width.
        """
        try:
            record = SpeechRecord.from_plain(read_json(hearing / RECORD_FILE))
            assert record is not None
            connector = Connector(record.connector, record.width, generator.model.width)
            connector.load_state_dict(load_file(hearing / CONNECTOR_FILE))
        except (KeyError, TypeError, RuntimeError, OSError, SafetensorError) as error:
            found = f"not a whole speech input ({' '.join(str(error).split())[:200]})"
            raise UserError(str(hearing), found=found, remedy="export the checkpoint again") from error
        encoder = open_encoder(hearing, record, device) if record.source else None
        return cls(generator, connector.to(device), record, encoder)

    # -- speech -------------------------------------------------------------------------------------------------

    def placeholders(self, vectors: Tensor) -> npt.NDArray[np.uint16]:
        """Codes that stand for a clip's vectors (P, H) in the layouts of `lm.data.formats`."""
        return np.zeros(len(vectors), dtype=np.uint16)

    def hear(self, audios: Sequence[Samples]) -> list[Tensor]:
        """Vectors (P, H) of audios, each (S,) float32 at the encoder's sample rate.

        Raises:
            UserError: audio that is not one-dimensional, of floating point and finite; no encoder in the folder.
        """
        return self.connect(self.needed_encoder.encode(audios))

    @torch.inference_mode()
    def connect(self, vectors: Sequence[Tensor]) -> list[Tensor]:
        """Vectors (T, E) of the encoder to vectors (P, H)."""
        device = next(self.connector.parameters()).device
        made: list[Tensor] = []
        for begin in range(0, len(vectors), self.generator.batch_size):
            some = [one.to(device, torch.float32) for one in vectors[begin : begin + self.generator.batch_size]]
            lengths_C = torch.tensor([len(one) for one in some], device=device)
            table_CPH = self.connector(pad_sequence(some, batch_first=True), lengths_C)
            stride = self.record.connector.stride
            made += [row[: -(-len(one) // stride)] for row, one in zip(table_CPH, some, strict=True)]
        return made

    @property
    def positions_per_second(self) -> float:
        """Vectors a second that the language model reads."""
        return self.record.positions_per_second / self.record.connector.stride

    @property
    def needed_encoder(self) -> SpeechEncoder:
        """The encoder.

        Raises:
            UserError: the export found none.
        """
        if self.encoder is None:
            remedy = "export it again where the encoder of the training is at its path"
            raise UserError("the model", found=f"no encoder in its {HEARING_FOLDER}/: it takes no sound", remedy=remedy)
        return self.encoder

    # -- answers ------------------------------------------------------------------------------------------------

    def generate(
        self,
        prompts: Sequence[HeardPrompt],
        *,
        max_new_tokens: int | Sequence[int],
        stop: Sequence[int],
        allowed: Allowed | Sequence[int] = "text",
        temperature: float = 0.0,
        top_p: float = 1.0,
        seeds: Sequence[int] | None = None,
    ) -> list[Ids]:
        """Continue each prompt until a stop id, which is part of the result; see `Generator.generate`.

        ``seeds`` must be given for a temperature above 0: the default is made of a prompt's ids, and those of vectors
        are not the same in every call.
        """
        assert temperature == 0 or seeds is not None
        vectors = self.generator.model.vectors
        with vectors.lent([clip for prompt in prompts for clip in prompt.clips]) as lent:
            ids = iter(lent)
            rows = [
                fill_placeholders(prompt.ids, [next(ids) for _ in prompt.clips], self.vocabulary) for prompt in prompts
            ]
            return self.generator.generate(
                rows,
                max_new_tokens=max_new_tokens,
                stop=stop,
                allowed=allowed,
                temperature=temperature,
                top_p=top_p,
                seeds=seeds if seeds is not None else [0] * len(rows),
            )


def open_encoder(hearing: Path, record: SpeechRecord, device: str) -> SpeechEncoder:
    """The encoder of a ``hearing/`` folder, with the weights of the training where it was trained.

    Raises:
        UserError: it is missing, damaged or another one.
    """
    source = hearing / ENCODER_NAME
    files = list(source.iterdir()) if source.is_dir() else []
    encoder = load_encoder(files[0] if len(files) == 1 and files[0].is_file() else source, record.layer)
    if encoder.fingerprint != record.encoder:
        found = f"encoder {encoder.fingerprint}, where the model was trained with {record.encoder}"
        raise UserError(str(source), found=found, remedy="export the checkpoint again")
    if record.holds_encoder:
        try:
            encoder.load_state_dict(load_file(hearing / ENCODER_FILE))
        except (RuntimeError, OSError, SafetensorError) as error:
            found = f"not the encoder's weights ({' '.join(str(error).split())[:200]})"
            raise UserError(str(hearing / ENCODER_FILE), found=found, remedy="export the checkpoint again") from error
    return encoder.to(device).eval()
