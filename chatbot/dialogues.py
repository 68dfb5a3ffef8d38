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
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.config import option
from runtime.stage import Run, Stage, StageConfig
from text2token.bulk_generation import BulkGenerationConfig, speaker_shares
from text2token.texts import is_url

from .data.filter import FilterConfig
from .data.shortening import EndpointConfig, RequestConfig

if TYPE_CHECKING:
    from .data.dialogue_synthesis import DialogueSynthesis


@dataclass(kw_only=True)
class DialoguesConfig(BulkGenerationConfig, StageConfig):
    """Options of chatbot.dialogues.

    Attributes:
        texts: text dialogues: JSON lines (.jsonl, .gz, .zst), Parquet, a folder of such files, or a URL; records with
            conversations (ShareGPT, Magpie), messages (OpenAI), or instruction and response.
        texts_heldout: the same, for the validation split ("" = none).
        reply_speaker: who speaks the replies: one of the model's speakers.
        question_speakers: speaker -> share of the dialogues whose questions it asks (default: all alike).
        filter: what is taken of the dialogues, see chatbot/data/filter.py.
        shorten: the endpoint that makes long replies short, see chatbot/data/shortening.py.
        requests: how it is asked; answers that are there are kept when this is changed.
        max_words: of what is read at once; longer sentences are cut.
        max_rejected_share: share of dialogues that may be left out because a piece of them fails the gate.
        max_bad_share: share of records that may be no dialogue.
        unit_dialogues: dialogues of a unit of work.
    """

    texts: str
    reply_speaker: str
    texts_heldout: str = ""
    question_speakers: dict[str, float] = field(default_factory=dict)
    filter: FilterConfig = field(default_factory=FilterConfig)
    shorten: EndpointConfig = field(default_factory=EndpointConfig)
    requests: RequestConfig = field(default_factory=RequestConfig)
    max_words: int = option(20, at_least=1)
    unit_dialogues: int = option(64, at_least=1)


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
    """The work on the units.

    Raises:
        UserError: a speaker that the model does not know.
    """
    from lm.data.vocabulary import Vocabulary

    from .data.dialogue_synthesis import DialogueSynthesis

    vocabulary = Vocabulary.from_pretrained(config.model)
    speaker_shares(config.question_speakers, vocabulary)
    vocabulary.speaker_id(config.reply_speaker)
    return DialogueSynthesis(
        root=folder.absolute(),
        speech=replace(config, model=str(Path(config.model).absolute())),
        seed=config.seed,
        reply_speaker=config.reply_speaker,
        question_speakers=config.question_speakers,
        max_words=config.max_words,
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
    speed_options=(
        "batch_size",
        "processes",
        "threads",
        "cuda_graphs",
        "bulk",
        "requests",
        "max_rejected_share",
        "max_bad_share",
    ),
)

if __name__ == "__main__":
    STAGE.exit()
