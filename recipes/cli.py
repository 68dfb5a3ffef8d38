"""Console script ``speechweave``: one subcommand a stage, listed in the order of the chain.

``speechweave tokenizer train out=runs/t ...`` is the same as ``python -m tokenizer.train out=runs/t ...``; the command
line itself imports nothing heavy.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from typing import NamedTuple

from runtime.errors import exit_status


class Subcommand(NamedTuple):
    """One subcommand: its words, the module that runs it, and its line in ``--help``."""

    words: str
    module: str
    summary: str


COMMANDS = (
    Subcommand("quickstart", "recipes.quickstart", "run the whole chain below at laptop size and write the report"),
    Subcommand("doctor", "recipes.doctor", "what this machine can do, proven: GPUs, layers, layouts, resume, speed"),
    Subcommand("plan", "recipes.planner", "memory, time, checkpoints and failures of a recipe on a cluster"),
    Subcommand("submit", "recipes.submit", "job scripts of a recipe for SLURM or torchrun; ablation sweeps"),
    Subcommand("corpus build", "corpus.build", "make the built-in spoken corpus, with your own manifest added"),
    Subcommand("corpus facts", "corpus.facts", "made-up facts that only some texts tell, to see what passes to speech"),
    Subcommand("corpus accounts", "corpus.accounts", "spoken requests for accounts of situations, with long replies"),
    Subcommand(
        "corpus import", "corpus.speech_import", "a published corpus (LibriSpeech, Emilia, ...) -> manifests or Shar"
    ),
    Subcommand("tokenizer train", "tokenizer.train", "train the speech tokenizer (ASR encoder with a VQ bottleneck)"),
    Subcommand("tokenizer encode", "tokenizer.encode", "speech -> 12.5 Hz tokens in Parquet"),
    Subcommand("tokenizer features", "tokenizer.features", "speech -> continuous vectors of a frozen encoder, stored"),
    Subcommand("tokenizer evaluate", "tokenizer.evaluate", "WER with and without VQ, codebook use, bits per second"),
    Subcommand("lm vocabulary", "lm.vocabulary", "text tokenizer + special tokens + speech tokens"),
    Subcommand("lm prepare", "lm.prepare", "tokens and texts -> LM corpora (text, speech, ASR, TTS)"),
    Subcommand(
        "lm inspect corpus", "lm.inspect_corpus", "counts of an LM corpus, and its documents with speech folded"
    ),
    Subcommand("lm import", "lm.import_hf", "weights of a Hugging Face model (Llama, Qwen2, Qwen3, GLM) to begin from"),
    Subcommand("lm train", "lm.train", "train a language model with Megatron (text2token, pre-training, fine-tuning)"),
    Subcommand("lm export", "lm.export", "Megatron checkpoint -> Hugging Face folder"),
    Subcommand("lm export-audio", "lm.export_audio", "a model that hears by Whisper -> transformers' Qwen2-Audio"),
    Subcommand("lm generate", "lm.generate", "continue a prompt with an exported model of any family, text or speech"),
    Subcommand("text2token evaluate", "text2token.evaluate", "read generated speech tokens back as text"),
    Subcommand(
        "text2token evaluate-spans", "text2token.evaluate_spans", "read the spans of a synthesis back as text, by class"
    ),
    Subcommand("text2token synthesize", "text2token.synthesize", "text corpus -> spans -> speech tokens, in bulk"),
    Subcommand(
        "text2token status", "text2token.status", "progress of a bulk synthesis: units done, at work, failed, left"
    ),
    Subcommand("text2token inspect", "text2token.inspect", "show documents with their spans marked, play the spans"),
    Subcommand("text2token pack", "text2token.pack", "spans and text -> interleaved LM corpus"),
    Subcommand("text2token aloud", "text2token.aloud", "text corpus -> spans -> audio by voices, in bulk (InSerter)"),
    Subcommand("text2token aligned", "text2token.aligned", "real speech with word times -> interleaved LM corpus"),
    Subcommand("decoder train-vocoder", "decoder.train_vocoder", "train the iSTFT vocoder (mel -> waveform)"),
    Subcommand("decoder train", "decoder.train", "train the flow-matching decoder (tokens -> mel)"),
    Subcommand(
        "decoder resynthesise", "decoder.resynthesise", "speech tokens -> speech, for the judge and for listening"
    ),
    Subcommand("chatbot dialogues", "chatbot.dialogues", "text dialogues -> filtered, shortened, spoken dialogues"),
    Subcommand("chatbot import", "chatbot.dialogue_import", "recorded dialogues -> dialogues with speech tokens"),
    Subcommand("chatbot prepare", "chatbot.prepare", "spoken questions and answers -> fine-tuning corpus"),
    Subcommand("chatbot bundle", "chatbot.bundle", "tokenizer + LM + decoder in one folder"),
    Subcommand("chatbot calibrate", "chatbot.calibrate", "set the confidence below which a chatbot does not answer"),
    Subcommand("chatbot respond", "chatbot.respond", "answer a manifest of spoken questions"),
    Subcommand(
        "imitation ask", "imitation.ask", "a text model's answers about transcripts, for a connector to imitate"
    ),
    Subcommand(
        "imitation prepare", "imitation.prepare", "those answers -> a corpus about speech, to train a connector on"
    ),
    Subcommand(
        "imitation generalisation", "imitation.generalisation", "a model that hears, on unseen prompts and unseen tasks"
    ),
    Subcommand("chat", "chatbot.chat", "talk to a chatbot in the terminal, or answer sound files"),
    Subcommand(
        "serve", "chatbot.server.command", "serve a chatbot: a page to talk to it, OpenAI's HTTP and Realtime API"
    ),
    Subcommand(
        "evaluate tokenizer", "evaluation.tokenizer_set", "a tokenizer on any manifest: tokens and their speech"
    ),
    Subcommand("evaluate decoder", "evaluation.decoder_set", "a decoder on any manifest: its speech, measured"),
    Subcommand("evaluate base", "evaluation.base", "a base model on a set by likelihood: raw sums, and accuracies"),
    Subcommand("evaluate chat", "evaluation.chat_set", "a chatbot on a set in text and speech: one table"),
    Subcommand("evaluate run", "evaluation.run", "judge resynthesised speech and answers independently"),
    Subcommand(
        "evaluate recognition", "evaluation.recognition", "word errors of a recogniser or a hearing LM on a manifest"
    ),
    Subcommand("evaluate load", "evaluation.chat", "load-test a served chatbot: right answers, latency, gaps"),
    Subcommand(
        "evaluate rejection", "evaluation.rejection", "sounds without speech and questions a chatbot cannot answer"
    ),
    Subcommand("evaluate page", "evaluation.page", "talk to the served page in a browser; judged answers"),
    Subcommand("evaluate quality", "evaluation.quality", "quality of resynthesised speech: one table, spectrograms"),
    Subcommand("evaluate quality-score", "evaluation.quality_score", "scores out of measured speech; no model needed"),
    Subcommand("evaluate question-set", "evaluation.question_set", "the built-in world's held-out questions as a set"),
    Subcommand(
        "evaluate instruction-set", "evaluation.instruction_set", "spoken instructions in SpeechInstructBench's layout"
    ),
    Subcommand("evaluate answer", "evaluation.answer", "answers of a model to a benchmark's set, kept raw"),
    Subcommand(
        "evaluate paper", "evaluation.paper", "all scores on one page, with the rows of the paper and its peers"
    ),
    Subcommand("evaluate judge", "evaluation.judge", "an LLM's judgements of those answers, kept raw"),
    Subcommand(
        "evaluate score", "evaluation.score", "scores of those answers by every rule, with stamps; no model needed"
    ),
    Subcommand("evaluate export", "evaluation.export", "those answers in the files of a benchmark's own scripts"),
    Subcommand("evaluate serving", "evaluation.serving", "latency of a served chatbot at 1 to 16 talkers, p50 to p99"),
    Subcommand("evaluate cloze-set", "evaluation.cloze_set", "StoryCloze-like pairs of the built-in world, spoken"),
    Subcommand("evaluate fact-set", "evaluation.fact_set", "true and false answers about made-up facts, spoken"),
    Subcommand("evaluate fact-answers", "evaluation.fact_answers", "a base model asked about these facts, and heard"),
    Subcommand(
        "evaluate accounts", "evaluation.accounts", "a chatbot's long replies, slot by slot, in text and by ear"
    ),
    Subcommand(
        "evaluate base-score", "evaluation.base_score", "accuracies out of those likelihoods again; no model needed"
    ),
    Subcommand(
        "ablate tokenizer", "recipes.ablate_tokenizer", "train and score a grid of tokenizers -> one table and plot"
    ),
    Subcommand("ablate lm", "recipes.ablate_lm", "what interleaved data carries from text to speech: a grid"),
    Subcommand("report", "recipes.report", "write the one-file HTML report and metrics.json of a run"),
)


def usage() -> str:
    """The text of ``speechweave --help``."""
    width = max(len(command.words) for command in COMMANDS)
    lines = [
        "speechweave: train language models that hear and speak",
        "",
        "usage: speechweave COMMAND [key=value ...]",
        "",
    ]
    lines += ["The chain, in order:"]
    lines += [f"  {command.words:<{width}}  {command.summary}" for command in COMMANDS]
    lines += ["", "Examples:", "  speechweave quickstart", "  speechweave quickstart quickstart.manifest=my.jsonl"]
    lines += ["  speechweave tokenizer train --help", "  speechweave chat question.wav --out answer.wav"]
    lines += [
        "",
        "Every COMMAND has --help. Options are key=value or --key value; values follow Hydra's override grammar.",
    ]
    return "\n".join(lines)


def usage_of(word: str) -> str:
    """The commands that begin with a word, e.g. ``evaluate``; "" where none does."""
    known = [command for command in COMMANDS if command.words.split()[0] == word]
    width = max((len(command.words) for command in known), default=0)
    lines = [f"  {command.words:<{width}}  {command.summary}" for command in known]
    return "\n".join([f"usage: speechweave {word} ... [key=value ...]; each has --help", "", *lines]) if known else ""


def find_command(arguments: Sequence[str]) -> tuple[Subcommand, list[str]] | None:
    """The command that ``arguments`` begin with, and the arguments left for it."""
    for command in sorted(COMMANDS, key=lambda each: -len(each.words.split())):
        words = command.words.split()
        if list(arguments[: len(words)]) == words:
            return command, list(arguments[len(words) :])
    return None


def main(arguments: Sequence[str] | None = None) -> int:
    """Dispatch to a stage; returns the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("--help", "-h", "help"):
        return exit_status("", lambda: print(usage()))
    found = find_command(given)
    if found is None:
        listed = usage_of(given[0]) if len(given) == 1 or given[1] in ("--help", "-h", "help") else ""
        if listed:
            return exit_status("", lambda: print(listed))
        asked = " ".join(given[:2])
        near = get_close_matches(asked, [command.words for command in COMMANDS], n=3, cutoff=0.4)
        hint = f" Did you mean: {', '.join(near)}?" if near else ""
        print(f"speechweave: error: no command {asked!r}.{hint} See speechweave --help.", file=sys.stderr)
        return 2
    command, rest = found
    module = importlib.import_module(command.module)
    status: int = module.STAGE.main(rest, command.words) if hasattr(module, "STAGE") else module.main(rest)
    return status


if __name__ == "__main__":
    sys.exit(main())
