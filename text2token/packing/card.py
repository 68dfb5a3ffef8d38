"""The card of an interleaved corpus: ``README.md`` in its folder, from the numbers in ``corpus.json``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lm.data.corpora import CorpusInfo
from runtime.artefact import write_text

BAR = 40  # characters of the longest bar
MAX_ROWS = 24  # of a histogram


def write_card(info: CorpusInfo) -> None:
    """Write the card of a finished corpus."""
    write_text(info.folder / "README.md", card(info))


def card(info: CorpusInfo) -> str:
    """The card as Markdown."""
    made = info.provenance
    unit = "tokens" if info.clips is None else "positions"
    rows = [f"| split | documents | text tokens | speech {unit} | longest document |", "|---|---|---|---|---|"]
    rows += [
        f"| {name} | {one.documents:,} | {one.text_tokens:,} | {one.speech_tokens:,} | {one.longest:,} tokens |"
        for name, one in info.splits.items()
    ]
    good = made["spans"] - sum(made["rejected"].values())
    return "\n".join(
        [
            "# An interleaved speech-text corpus",
            "",
            *origin(info),
            "",
            *rows,
            "",
            f"- words of the training texts: {made['words']:,}",
            f"- realised share of speech (eta): {made['realised_ratio']:.4f} of the words"
            f" (chosen for speech: {made['chosen_ratio']:.4f}; validation: {made['valid_realised_ratio']:.4f})",
            f"- spans in speech: {good:,} of {made['spans']:,}; good ones left as text for the ratio: "
            f"{made['unused_spans']:,}",
            *span_errors(made.get("span_errors", {})),
            f"- records left out of the source: {made['bad_records']:,}; units given up: {made['failed_units']:,}",
            *sources(info),
            "",
            *span_sections(made["words_of_spans"], made["rejected"], made["rejected_share"]),
            *voices(made["spans_by_speaker"], made.get("training_tokens_by_speaker", {})),
            "",
            "## Cost",
            "",
            *cost(made["cost"]),
            "",
        ]
    )


def span_sections(words: Mapping[str, int], rejected: Mapping[str, int], rejected_share: float) -> list[str]:
    """The sections on the spans of a corpus, up to the heading of its voices.

    Args:
        words: length of a span in speech, in words -> number of spans.
        rejected: reason -> spans that stay text.
        rejected_share: of all spans.
    """
    rows = [f"| {reason} | {count:,} |" for reason, count in rejected.items()]
    return [
        "## Words of the spans in speech",
        "",
        "```",
        *histogram(words),
        "```",
        "",
        f"## Spans that stay text: {rejected_share:.2%}",
        "",
        *(["| reason | spans |", "|---|---|", *rows] if rows else ["None failed the gate."]),
        "",
        "## Voices",
        "",
    ]


def origin(info: CorpusInfo) -> list[str]:
    """The way in which the corpus was made."""
    stored = "Each shard that `corpus.json` lists is a Megatron IndexedDataset (`.bin`, `.idx`)"
    if info.clips is None:
        return [
            "Made by speechweave's `text2token.synthesize` and `text2token.pack`: spans of the texts are speech tokens "
            f"of a text-to-token model; no waveform was made. {stored}."
        ]
    clips = "recordings" if info.clips.kind == "audio" else "stored vectors"
    return [
        "Made by speechweave's `text2token.aloud` and `text2token.pack` (InSerter, 2503.02769): spans of the texts are "
        f"audio, to be read as an encoder's vectors. {stored}; their `.starts.npy`, `.spans.npy` and `.files.json` "
        f"name the {clips} of each document, whose positions hold the vocabulary's one speech token."
    ]


def sources(info: CorpusInfo) -> list[str]:
    """Fingerprints of vocabulary and models, as lines of a Markdown list."""
    made, clips = info.provenance, info.clips
    if clips is None:
        return [
            f"- vocabulary `{info.vocabulary}`, speech tokenizer `{info.speech_tokenizer}`, "
            f"text-to-token model `{made['model']}`"
        ]
    files = info.clip_table("train").num_files
    return [
        f"- audio of the training split: {made['audio_hours']:,.3f} hours in {files:,} files",
        f"- vocabulary `{info.vocabulary}`, reader aloud `{made['model']}`",
        f"- encoder `{clips.encoder}` (layer {clips.layer}): {clips.positions_per_second:g} vectors a second of "
        f"{clips.width}, {clips.stride} to a position",
    ]


def span_errors(figures: Mapping[str, Any]) -> list[str]:
    """The word error rates of text2token.evaluate_spans, as a line of a Markdown list; none without figures."""
    if not figures:
        return []
    names = {
        "span_wer_of_cut_sentences": "spans that cut a sentence",
        "span_wer_of_real_tokens": "a synthesiser's tokens",
    }
    more = "".join(f"; {name}: {figures[key]:.2%}" for key, name in names.items() if key in figures)
    return [
        f"- word error rate of {figures['read_spans']:,} spans, read back by the speech tokenizer: "
        f"{figures['span_wer']:.2%}{more}"
    ]


def voices(spans: Mapping[str, int], tokens: Mapping[str, int] | None) -> list[str]:
    """A table of the speakers: their spans in speech, and their shares of these and of the model's training speech.

    Args:
        spans: speaker -> spans in speech.
        tokens: speaker -> speech tokens in training; empty where unknown, None where no model speaks.
    """
    if not spans:
        return ["none"]
    if tokens is None:
        ranked = sorted(spans.items(), key=lambda pair: (-pair[1], pair[0]))
        total = sum(spans.values())
        return [
            "| voice | spans | share |",
            "|---|---|---|",
            *(f"| {name} | {count:,} | {count / total:.1%} |" for name, count in ranked),
        ]
    total, total_tokens = sum(spans.values()), sum(tokens.values())
    rows = ["| speaker | spans | share | of the training speech |", "|---|---|---|---|"]
    for name in sorted({*spans, *tokens}, key=lambda name: (-spans.get(name, 0), name)):
        share = f"{tokens.get(name, 0) / total_tokens:.1%}" if total_tokens else "unknown"
        rows.append(f"| {name} | {spans.get(name, 0):,} | {spans.get(name, 0) / total:.1%} | {share} |")
    return rows


def histogram(counts: Mapping[str, int]) -> list[str]:
    """A bar of characters for each length in words, or range of lengths (length -> number of spans)."""
    if not counts:
        return ["no spans"]
    lengths = {int(length): count for length, count in counts.items()}
    width = -(-max(lengths) // MAX_ROWS)  # lengths in a row
    rows = dict.fromkeys(range(1, max(lengths) + 1, width), 0)
    for length, count in lengths.items():
        rows[(length - 1) // width * width + 1] += count
    longest = max(rows.values())
    names = {start: str(start) if width == 1 else f"{start}-{start + width - 1}" for start in rows}
    margin = max(map(len, names.values()))
    return [
        f"{names[start]:>{margin}} | {'#' * round(BAR * count / longest):<{BAR}} {count:,}"
        for start, count in rows.items()
    ]


def cost(made: Mapping[str, Any]) -> list[str]:
    """Seconds and tokens a second, as a Markdown list."""
    worker, tokens = made["synthesis_worker_seconds"], made["synthesis_tokens"]
    audio = made.get("synthesis_audio_seconds", 0.0)
    if audio:
        return [
            f"- reading aloud: {worker:,.1f} seconds of workers, {made['synthesis_cpu_seconds']:,.1f} CPU seconds, "
            f"{audio:,.1f} seconds of audio: {audio / max(worker, 1e-9):,.0f} times real time a worker",
            f"- packing: {made['packing_cpu_seconds']:,.1f} CPU seconds",
        ]
    return [
        f"- synthesis: {worker:,.1f} seconds of workers, {made['synthesis_cpu_seconds']:,.1f} CPU seconds, "
        f"{tokens:,} speech tokens: {tokens / max(worker, 1e-9):,.0f} tokens a second of a worker",
        f"- packing: {made['packing_cpu_seconds']:,.1f} CPU seconds",
    ]
