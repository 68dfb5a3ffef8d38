"""Options of evaluation.answer about base speech language models: their prompt, parts, and the way of choosing."""

from __future__ import annotations

from dataclasses import dataclass, fields

from runtime.config import Options, option
from runtime.errors import UserError, check_option

PROMPTS = ("qa", "sentences")
ANSWER_WAYS = ("generation", "likelihood")
RUN_OPTIONS = ("batch_size", "dtype", "device")
SHOT_SOURCES = ("set", "subset", "published")


@dataclass(kw_only=True)
class BasePromptConfig(Options):
    """A base speech language model (a checkpoint of lm.train, or what lm.export wrote), asked by worked examples.

    Attributes:
        prompt: of a base speech language model, by name: qa (Question: ... Answer: ...) or sentences (question and
            answer as running text, or as speech alone); "" asks a chat model or a text model as before.
        vocabulary: folder of a checkpoint's vocabulary; an exported model brings its own.
        tokenizer: artefact of the speech tokenizer, for speech in the prompt.
        decoder: artefact of the speech decoder, which makes sound of spoken answers for the recogniser.
        voice: of the decoder; "" takes its first.
        answer_by: generation, or likelihood: the likeliest of the benchmark's written options (SpeechMMLU).
        shots_of: worked examples out of the whole set, out of the question's own subset (SpeechMMLU: its subject), or
            the published ones, which SpeechMMLU has with it: ``shots_data`` is then its folder.
        batch_size: prompts generated at once, also of a model that hears vectors; it changes no answer.
        dtype: of the weights, also of a model that hears vectors.
        device: a torch device, also of a model that hears vectors.
    """

    prompt: str = option("", one_of=("", *PROMPTS), is_later=True)
    vocabulary: str = option("", is_later=True)
    tokenizer: str = option("", is_later=True)
    decoder: str = option("", is_later=True)
    voice: str = option("", is_later=True)
    answer_by: str = option("generation", one_of=ANSWER_WAYS, is_later=True)
    shots_of: str = option("set", one_of=SHOT_SOURCES, is_later=True)
    batch_size: int = option(32, at_least=1, is_later=True)
    dtype: str = option("float32", one_of=("float32", "bfloat16"), is_later=True)
    device: str = option("cpu", is_later=True)

    def check_base_options(self) -> None:
        """Raise a `UserError` about an option that has no effect because no prompt is named."""
        free = ("prompt", "shots_of", *RUN_OPTIONS)  # whether the model runs here is known when it is opened
        self._check_unset(*(one.name for one in fields(BasePromptConfig) if one.name not in free))
        is_used = not self.voice or bool(self.decoder)
        check_option(is_used, "voice", self.voice, "leave it out, or name a decoder= that has it")

    def check_run_options(self) -> None:
        """Raise a `UserError` about the options of a model that runs in this process, for one that does not."""
        self._check_unset(*RUN_OPTIONS)

    def _check_unset(self, *names: str) -> None:
        for one in (one for one in fields(BasePromptConfig) if one.name in names):
            if not self.prompt and getattr(self, one.name) != one.default:
                found = f"{getattr(self, one.name)!r} and no prompt="
                remedy = f"leave it out, or ask a base speech language model: prompt={' or prompt='.join(PROMPTS)}"
                raise UserError(f"option {one.name}", found=found, remedy=remedy)
