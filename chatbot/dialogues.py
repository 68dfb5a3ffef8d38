"""Text dialogues -> spoken dialogues: filtered, made short, and read aloud by a text-to-token model.

    python -m chatbot.dialogues texts=magpie.jsonl model=runs/quickstart/text2token_model/model \\
        reply_speaker=espeak-f2 out=runs/dialogues processes=2

The data of 2411.17607's chatbot (SpeechDialog-90K) are made so from Magpie: what cannot be read aloud is left out, long
answers are shortened by a language model behind any OpenAI-compatible endpoint (``shorten.url=...``; without one their
dialogues end before them), questions are spoken in many voices and answers in one.

Writes <out>/dialogues/unit-*.jsonl (and <out>/heldout/), which `chatbot.prepare` takes. Kill it, or any of its workers,
at any moment and call it again: what is finished is kept, and the output is byte for byte that of an unbroken run.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corpus.text.spoken_form import NORMALISERS
from runtime.bulk.launch import BulkConfig
from runtime.errors import check_option
from runtime.stage import Run, Stage, StageConfig
from text2token.backends.choice import BACKENDS
from text2token.gate import GateConfig
from text2token.texts import is_url

from .data.filter import FilterConfig
from .data.shortening import EndpointConfig, RequestConfig

if TYPE_CHECKING:
    from .data.dialogue_synthesis import DialogueSynthesis

DTYPES = ("float32", "bfloat16")


@dataclass(kw_only=True)
class DialoguesConfig(StageConfig):
    """Options of chatbot.dialogues.

    Attributes:
        texts: text dialogues: JSON lines (.jsonl, .gz, .zst), Parquet, a folder of such files, or a URL; records with
            conversations (ShareGPT, Magpie), messages (OpenAI), or instruction and response.
        texts_heldout: the same, for the validation split ("" = none).
        model: the text-to-token model, a folder that lm.export wrote.
        reply_speaker: who speaks the replies: one of the model's speakers.
        question_speakers: speaker -> share of the dialogues whose questions it asks (default: all alike).
        filter: what is taken of the dialogues, see chatbot/data/filter.py.
        shorten: the endpoint that makes long replies short, see chatbot/data/shortening.py.
        requests: how it is asked; answers that are there are kept when this is changed.
        backend: what generates: builtin; vllm or sglang on GPUs (each installed by yourself; not bit-exact).
        temperature: of sampling speech; 0 is greedy.
        top_p: nucleus mass in (0, 1].
        normaliser: how numbers, dates and abbreviations are written out before: builtin, nemo or none.
        normalises: give the model lower-case words without punctuation, as transcripts are.
        max_words: of what is read at once; longer sentences are cut.
        gate: bounds on the speech tokens of what is read at once.
        retries: how often what fails the gate is read again, by another seed.
        max_rejected_share: share of dialogues that may be left out because a piece of them fails the gate.
        max_bad_share: share of records that may be no dialogue.
        unit_dialogues: dialogues of a unit of work.
        batch_size: prompts generated at once; changes speed only.
        processes: worker processes; changes speed only.
        threads: torch threads of each process.
        dtype: float32, or bfloat16 (faster where the processor has it).
        devices: where to run, workers take them in turn: [cpu], [cuda:0, cuda:1].
        bulk: who starts the workers, and what is put up with.
    """

    texts: str
    model: str
    reply_speaker: str
    texts_heldout: str = ""
    question_speakers: dict[str, float] = field(default_factory=dict)
    filter: FilterConfig = field(default_factory=FilterConfig)
    shorten: EndpointConfig = field(default_factory=EndpointConfig)
    requests: RequestConfig = field(default_factory=RequestConfig)
    backend: str = "builtin"
    temperature: float = 0.5
    top_p: float = 0.95
    normaliser: str = "builtin"
    normalises: bool = True
    max_words: int = 20
    gate: GateConfig = field(default_factory=GateConfig)
    retries: int = 2
    max_rejected_share: float = 0.5
    max_bad_share: float = 0.01
    unit_dialogues: int = 64
    batch_size: int = 64
    processes: int = 1
    threads: int = 1
    dtype: str = "float32"
    devices: list[str] = field(default_factory=lambda: ["cpu"])
    bulk: BulkConfig = field(default_factory=BulkConfig)

    def __post_init__(self) -> None:
        for name in ("max_words", "unit_dialogues", "batch_size", "processes", "threads"):
            check_option(getattr(self, name) >= 1, name, getattr(self, name), "give at least 1")
        check_option(self.retries >= 0, "retries", self.retries, "give 0 or more")
        check_option(self.temperature >= 0, "temperature", self.temperature, "give 0 (greedy) or more")
        check_option(0 < self.top_p <= 1, "top_p", self.top_p, "give a mass in (0, 1]")
        for name in ("max_rejected_share", "max_bad_share"):
            check_option(0 <= getattr(self, name) <= 1, name, getattr(self, name), "give a share in [0, 1]")
        choices = {"normaliser": NORMALISERS, "backend": BACKENDS, "dtype": DTYPES}
        for name, known in choices.items():
            value = getattr(self, name)
            check_option(value in known, name, value, f"give one of {', '.join(known)}")
        check_option(bool(self.devices), "devices", self.devices, "give at least one, e.g. [cpu]")


def run(config: DialoguesConfig, run: Run) -> dict[str, Any]:
    """Gather what can be spoken, then finish the units that are not finished yet; returns what they hold."""
    from .data.bulk_job import check_left_out, finish_job, open_job
    from .data.gathering import Gatherer

    work = synthesis(config, run.folder)
    gatherer = Gatherer(run.folder, config.filter, config.shorten, config.requests, config.max_bad_share)
    sources = {"train": config.texts, "heldout": config.texts_heldout}
    with run.progress(0, "dialogues", unit="reply") as bar:
        gathered = {split: gatherer.gather(source, split, bar) for split, source in sources.items() if source}
    counts = {split: int(found["dialogues"]) for split, found in gathered.items()}
    job = open_job(run.folder, counts, unit_dialogues=config.unit_dialogues, lease_seconds=config.bulk.lease_seconds)
    total = finish_job(job, work, config.bulk, processes=config.processes, run=run)
    remedy = f"train the model longer, widen gate.*, or raise max_rejected_share={config.max_rejected_share}"
    check_left_out(total, config.max_rejected_share, config.model, remedy)
    ended: Counter[str] = Counter()
    for found in gathered.values():
        ended.update(found["ended"])
    return {
        "gathered": sum(counts.values()),
        "shortened": sum(found["shortened"] for found in gathered.values()),
        "bad_records": sum(len(found["bad"]) for found in gathered.values()),
        **{f"ended.{reason}": count for reason, count in sorted(ended.items())},
        **dict(sorted(total.items())),
        "failed_units": len(job.failed_names()),
    }


def synthesis(config: DialoguesConfig, folder: Path) -> DialogueSynthesis:
    """What the workers do.

    Raises:
        UserError: a speaker that the model does not know.
    """
    from lm.data.vocabulary import Vocabulary
    from text2token.engine import SpanVoice, voices

    from .data.dialogue_files import DialogueFingerprints
    from .data.dialogue_synthesis import DialogueSynthesis

    vocabulary = Vocabulary.from_pretrained(config.model)
    names, weights = voices(config.question_speakers, vocabulary)
    vocabulary.speaker_id(config.reply_speaker)
    return DialogueSynthesis(
        root=folder.absolute(),
        model=str(Path(config.model).absolute()),
        backend=config.backend,
        marks=DialogueFingerprints(tokenizer=vocabulary.speech_fingerprint, codebook_size=vocabulary.num_speech_tokens),
        questions=SpanVoice(
            names=names,
            weights=weights,
            temperature=config.temperature,
            top_p=config.top_p,
            normaliser=config.normaliser,
            normalises=config.normalises,
        ),
        reply_speaker=config.reply_speaker,
        gate=config.gate,
        max_words=config.max_words,
        seed=config.seed,
        retries=config.retries,
        batch_size=config.batch_size,
        dtype=config.dtype,
        devices=tuple(config.devices),
        threads=config.threads,
    )


STAGE = Stage(
    name="chatbot.dialogues",
    config=DialoguesConfig,
    run=run,
    summary="Text dialogues -> filtered, shortened, spoken dialogues that chatbot.prepare takes.",
    inputs=lambda config: [
        *(one for one in (config.texts, config.texts_heldout) if one and not is_url(one)),
        config.model,
    ],
    example="texts=magpie.jsonl model=runs/quickstart/text2token_model/model reply_speaker=espeak-f2 "
    "out=runs/dialogues",
    speed_options=("batch_size", "processes", "threads", "bulk", "requests", "max_rejected_share", "max_bad_share"),
)

if __name__ == "__main__":
    STAGE.exit()
