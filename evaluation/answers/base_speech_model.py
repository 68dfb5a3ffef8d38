"""Base speech language models that answer by worked examples: written or spoken, many questions at once.

A checkpoint of lm.train is exported first, into the run's folder. Written answers are generated among text tokens,
spoken ones among speech tokens until the end of audio. A spoken answer becomes a sound by the speech decoder, for any
recogniser, or is read from its tokens: by the language model's own recognition task (``recogniser=lm``), or by the
speech tokenizer's CTC head (``recogniser=tokenizer``).

What an answer is depends on its own prompt and seed only (`lm.inference.generation`).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from corpus.audio.files import Samples, encode_wav
from decoder.model import SpeechDecoder
from lm.data.formats import Codes, asr_prompt
from lm.data.vocabulary import RECORD_FILE, Ids, Vocabulary
from lm.export import STAGE as EXPORT
from lm.huggingface.config import ExportConfig
from lm.inference.generation import Generator
from lm.inference.hf_generation import TransformersGenerator
from lm.inference.hf_likelihood import TransformersLikelihood
from lm.training.checkpoint import find_checkpoint
from runtime.artefact import artefact_folder, file_digest
from runtime.errors import UserError
from runtime.hashing import seed_of
from runtime.stage import Run
from tokenizer.model import SpeechTokenizer

from .answering_models import AnswerSettings, ReceivedReply
from .base_prompt import FORMATS, AnswerEnd, AnswerStops, Part, prompt_ids
from .config import OWN_RECOGNISERS, AnswerConfig
from .prompt import ItemPrompt

LANGUAGE_MODEL, TOKENIZER = OWN_RECOGNISERS
UNIT = 64  # questions answered and kept together: what is lost by a kill, and among what rows of alike length are found
TRANSCRIPT_TOKENS = 128  # most of a spoken answer's transcript by the language model


class BaseSpeechModel:
    """A base speech language model.

    Args:
        config: of the run.
        run: in whose folder a checkpoint is exported.
        choices: written options of the benchmark, for ``answer_by=likelihood``.

    Raises:
        UserError: no model there, parts that do not belong together, or one that the direction needs is missing.
    """

    hears = True

    def __init__(self, config: AnswerConfig, run: Run, choices: Sequence[str]) -> None:
        torch.set_num_threads(config.threads)
        self.config, self.choices, self.form = config, choices, FORMATS[config.prompt]
        folder, self.name, self.digest = model_folder(config, run)
        self.generator = open_generator(folder, config)
        self.vocabulary: Vocabulary = self.generator.vocabulary
        self.max_length = longest_row(self.generator)
        self.stops = AnswerStops(self.form, self.vocabulary, hears=config.is_heard and not config.cascade)
        self.tokenizer = self._open_tokenizer()
        self.decoder = self._open_decoder()
        self._heard: dict[str, Codes] = {}  # worked examples, which stand in front of many questions

    def _open_tokenizer(self) -> SpeechTokenizer | None:
        config = self.config
        is_needed = (config.is_heard and not config.cascade) or (config.is_spoken and config.shots)
        if not config.tokenizer:
            if is_needed or config.recogniser == TOKENIZER:
                found = f"not set, and direction={config.direction} needs it for speech in the prompt"
                if not is_needed:
                    found = "not set, and recogniser=tokenizer reads spoken answers with it"
                raise UserError("option tokenizer", found=found, remedy="give the artefact of tokenizer.train")
            return None
        if not is_needed and config.recogniser != TOKENIZER:
            remedy = "leave it out: there is no speech in these prompts"
            raise UserError("option tokenizer", found=f"{config.tokenizer}, which has no effect", remedy=remedy)
        made = SpeechTokenizer.from_pretrained(artefact_folder(config.tokenizer), config.device)
        self.vocabulary.check_speech_tokenizer(made.fingerprint, config.tokenizer)
        return made

    def _open_decoder(self) -> SpeechDecoder | None:
        config = self.config
        if not config.decoder:
            if config.is_spoken and config.recogniser not in OWN_RECOGNISERS:
                remedy = "give the artefact of decoder.train, or recogniser=lm or tokenizer, which read tokens"
                found = f"not set, and recogniser={config.recogniser} hears sound"
                raise UserError("option decoder", found=found, remedy=remedy)
            return None
        if not config.is_spoken:
            found = f"{config.decoder}, which has no effect: the answers are text"
            raise UserError("option decoder", found=found, remedy="leave it out, or choose s2s or t2s")
        made = SpeechDecoder.from_pretrained(artefact_folder(config.decoder)).to(config.device)
        if made.tokenizer != self.vocabulary.speech_fingerprint:
            found = f"of speech tokenizer {made.tokenizer}, but the model's is {self.vocabulary.speech_fingerprint}"
            raise UserError(config.decoder, found=found, remedy="give a decoder that was trained on the model's tokens")
        made.speaker_row(config.voice or None)
        return made

    def replies(self, prompts: Sequence[ItemPrompt], settings: AnswerSettings) -> Iterator[ReceivedReply]:
        """The reply to each prompt, in order; one that is too long for the model has a failure."""
        for start in range(0, len(prompts), UNIT):
            yield from self._unit(prompts[start : start + UNIT], settings)

    def _unit(self, prompts: Sequence[ItemPrompt], settings: AnswerSettings) -> list[ReceivedReply]:
        replies: list[ReceivedReply | None] = []
        rows: list[Ids] = []
        of_rows: list[int] = []
        for number, prompt in enumerate(prompts):
            parts = self._parts(prompt, settings.is_spoken)
            ids = prompt_ids(parts, self.vocabulary, is_spoken=settings.is_spoken)
            is_chosen = self.config.answer_by == "likelihood"
            room = 0 if is_chosen else settings.max_new_tokens
            if len(ids) + room > self.max_length:
                failure = f"a prompt too long for the model ({self._excess(len(prompt.shots), room)})"
                replies.append(ReceivedReply(None, failure=failure))
            elif is_chosen:
                replies.append(self._choose(parts, ids))
            else:
                replies.append(None)
                rows.append(ids)
                of_rows.append(number)
        seeds = [seed_of(settings.seed, prompts[number].id) for number in of_rows]
        stop = self.stops.spoken if settings.is_spoken else self.stops.written
        made = self._generate(rows, stop, "speech" if settings.is_spoken else "text", settings, seeds)
        received = self._spoken(made) if settings.is_spoken else [self._written(ids) for ids in made]
        for number, reply in zip(of_rows, received, strict=True):
            replies[number] = reply
        return [reply for reply in replies if reply is not None]

    def _excess(self, num_shots: int, room: int) -> str:
        """The same words for every question, so that failures of one kind are counted as one."""
        return f"{num_shots} worked examples, {room} new tokens, {self.max_length} positions"

    def _parts(self, prompt: ItemPrompt, is_spoken: bool) -> list[Part]:
        shots: list[tuple[Part, Part]] = []
        for shot in prompt.shots:
            asked: Part = shot.prompt if prompt.audio is None else self._codes(f"question {shot.id}", shot.audio)
            answer: Part = self._codes(f"answer {shot.id}", shot.answer_audio) if is_spoken else shot.answer
            shots.append((asked, answer))
        question: Part
        if prompt.audio is not None:
            question = self._encode(prompt.audio)
        else:
            assert prompt.text is not None
            question = prompt.text
        return self.form.parts(shots, question, prompt.system)

    def _codes(self, name: str, audio: Any) -> Codes:
        if name not in self._heard:
            self._heard[name] = self._encode(audio)
        return self._heard[name]

    def _encode(self, audio: Any) -> Codes:
        assert self.tokenizer is not None and audio is not None
        (codes,) = self.tokenizer.encode([audio.read(self.tokenizer.sample_rate)])
        return codes

    def _generate(
        self, rows: Sequence[Ids], stop: Sequence[int], allowed: Any, settings: AnswerSettings, seeds: Sequence[int]
    ) -> list[Ids]:
        options: dict[str, Any] = {"stop": stop, "allowed": allowed, "temperature": settings.temperature}
        options["max_new_tokens"] = settings.max_new_tokens
        if not rows:
            return []
        if isinstance(self.generator, Generator):
            return self.generator.generate(rows, seeds=seeds, **options)
        # One prompt at a time: batch mates can change a greedy token of transformers.
        return [
            self.generator.generate([row], seeds=[seed], **options)[0] for row, seed in zip(rows, seeds, strict=True)
        ]

    def _written(self, ids: Ids) -> ReceivedReply:
        text, end = self.stops.read_written(ids)
        return ReceivedReply(text, end=end)

    def _spoken(self, made: Sequence[Ids]) -> list[ReceivedReply]:
        codes = [self.vocabulary.codes(ids) for ids in made]
        transcripts = self._transcripts(codes)
        return [
            ReceivedReply(None, self._sound(mine), transcript=transcript, end=self.stops.spoken_end(ids))
            for ids, mine, transcript in zip(made, codes, transcripts, strict=True)
        ]

    def _sound(self, codes: Codes) -> bytes | None:
        """The sound file of an answer, where there is a decoder; none of an answer without speech."""
        if self.decoder is None or not len(codes):
            return None
        samples: Samples = self.decoder.decode(codes.astype(np.int64), self.config.voice or None)
        return encode_wav(samples, self.decoder.sample_rate)

    def _transcripts(self, codes: Sequence[Codes]) -> list[str | None]:
        """Of answers that are read from their tokens; None where a recogniser will hear them, "" of no speech."""
        spoken = [number for number, mine in enumerate(codes) if len(mine)]
        found: list[str | None] = [None if len(mine) else "" for mine in codes]
        if self.config.recogniser == TOKENIZER:
            assert self.tokenizer is not None
            texts = self.tokenizer.read_tokens([codes[number] for number in spoken]) if spoken else []
        elif self.config.recogniser == LANGUAGE_MODEL:
            rows = [asr_prompt(codes[number], self.vocabulary) for number in spoken]
            greedy = AnswerSettings(is_spoken=False, max_new_tokens=TRANSCRIPT_TOKENS, temperature=0.0, seed=0)
            made = self._generate(rows, self.vocabulary.end_ids, "text", greedy, [0] * len(rows))
            texts = [self.vocabulary.decode_text(ids).strip() for ids in made]
        else:
            return found
        for number, text in zip(spoken, texts, strict=True):
            found[number] = text
        return found

    def _choose(self, parts: list[Part], ids: Ids) -> ReceivedReply:
        """The option whose text is the likeliest continuation: by the sum of its tokens' log-probabilities."""
        rows, starts = [], []
        for choice in self.choices:
            *before, last = parts
            longer: list[Part] = [*before, f"{last} {choice}"] if isinstance(last, str) else [*parts, choice]
            row = prompt_ids(longer, self.vocabulary, is_spoken=False)
            shared = min(len(ids), len(row))
            different = np.flatnonzero(ids[:shared] != row[:shared])  # tokens that reach over the border
            rows.append(row)
            starts.append(int(different[0]) if len(different) else shared)
        if max(map(len, rows)) > self.max_length:
            return ReceivedReply(None, failure="a prompt too long for the model")
        values = [
            float(scores[start - 1 :].sum())
            for scores, start in zip(self._likelihood.log_probabilities(rows), starts, strict=True)
        ]
        return ReceivedReply(self.choices[int(np.argmax(np.round(values, 6)))], end=AnswerEnd.CHOICE)

    @functools.cached_property
    def _likelihood(self) -> Generator | TransformersLikelihood:
        if isinstance(self.generator, Generator):
            return self.generator
        return TransformersLikelihood(self.generator.model, self.vocabulary)

    def settings(self) -> dict[str, Any]:
        """Entries of a score's stamp about the prompt and the parts."""
        decoder = self.decoder
        return {
            "prompt": f"{self.form.name} {self.form.digest}",
            "answer_by": self.config.answer_by,
            "dtype": self.config.dtype,
            "speech_tokenizer": self.vocabulary.speech_fingerprint,
            "decoder": "" if decoder is None else f"{file_digest(self.config.decoder)} {self.config.voice}".strip(),
        }


def model_folder(config: AnswerConfig, run: Run) -> tuple[Path, str, str]:
    """The exported model's folder, and of the model as it was given the name and the digest.

    Raises:
        UserError: neither an exported model nor a checkpoint with its vocabulary.
    """
    given = artefact_folder(config.model, "model")
    if (given / "config.json").is_file():
        if not (given / RECORD_FILE).is_file():
            remedy = "leave prompt= out: a plain text model is asked without it"
            raise UserError(str(given), found="a text model without speech tokens", remedy=remedy)
        if config.vocabulary:
            remedy = "leave it out: the exported model has its own"
            raise UserError("option vocabulary", found=f"{config.vocabulary}, which has no effect", remedy=remedy)
        return given, Path(config.model).name, file_digest(given)
    if not config.vocabulary:
        remedy = "give the vocabulary folder that the checkpoint was trained with"
        raise UserError("option vocabulary", found="not set, and the model is a checkpoint", remedy=remedy)
    path = find_checkpoint(config.model)
    exported = run.folder / "exported"
    EXPORT.execute(ExportConfig(out=str(exported), checkpoint=config.model, vocabulary=config.vocabulary))
    return exported / "model", f"{Path(config.model).name}, {path.name}", file_digest(path)


def open_generator(folder: Path, config: AnswerConfig) -> Generator | TransformersGenerator:
    """The built-in generation where it knows the family, and transformers elsewhere."""
    options: dict[str, Any] = {"dtype": config.dtype, "device": config.device}
    try:
        return Generator.from_pretrained(folder, batch_size=config.batch_size, **options)
    except UserError:  # a family that it does not run; whatever else is wrong, transformers says again
        return TransformersGenerator.from_pretrained(folder, **options)


def longest_row(generator: Generator | TransformersGenerator) -> int:
    """Most tokens of a prompt and its answer together."""
    if isinstance(generator, Generator):
        return generator.max_length
    return int(generator.model.config.max_position_embeddings)
