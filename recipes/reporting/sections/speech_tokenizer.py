"""The speech tokenizer: WER through its tokens, use of the codebook, noise, transcripts."""

from __future__ import annotations

import re
from typing import Any

from recipes.reporting import figures
from recipes.reporting.blocks import Section, marked, percent
from recipes.reporting.run_results import Results

NOISE_KEY = re.compile(r"wer_(?P<kind>[a-z]+)_(?P<snr>-?[\d.]+)db")


def tokenizer_section(results: Results) -> Section | None:
    """WER through the tokens, use of the codebook, transcripts."""
    found = results.read("tokenizer_evaluation", "report.json")
    if found is None:
        return None
    section = Section("Speech tokenizer")
    section.text(
        "Word error rates of the tokenizer's own recogniser, through the quantised tokens and with the same weights "
        "but the quantiser left out. heldout_sentence: unseen sentences in seen voices; heldout_voice: in "
        "unseen voices; heldout_words: random words in seen voices, where no grammar helps."
    )
    header = ["split", "utterances", "WER with VQ", "WER without VQ"]
    splits = found["splits"]
    section.table(
        header,
        [
            [name, row["utterances"], percent(row["wer_with_vq"]), percent(row["wer_without_vq"])]
            for name, row in splits.items()
        ],
    )
    own = results.metrics_of("tokenizer_evaluation")
    section.text(
        f"{own['frame_rate_hz']:g} tokens a second, {own['bits_per_second']:.0f} bit/s; "
        f"{percent(own['codebook_use'])} of the codes are used, perplexity {own['perplexity']:.0f}."
    )
    seen = next(iter(splits.values()))
    section.image(figures.codebook_histogram(seen["code_counts"]), "share of tokens by code")
    spoken = [split for name, split in splits.items() if name != "heldout_words"]
    rates = {row["voice"]: 100 * row["wer_with_vq"] for split in spoken for row in split["voices"]}
    section.heading("By voice, sentences")
    section.image(figures.bars(rates, "WER through the tokens, %"), "WER by voice")
    if noise := noise_rows(own):
        section.heading("Under noise")
        section.text(
            "The same recogniser on noised audio; and the unit edit distance (UED): the edits that turn the clean "
            "audio's tokens into the noised audio's, by the clean tokens. Published under its own noises (the model "
            "card of StableToken): GLM-4-Voice 31.1 %, StableToken 10.2 %."
        )
        section.table(["noise", "SNR, dB", "WER with VQ", "UED"], noise)
    section.heading("Read back from tokens")
    examples = [(row["text"], row["with_vq"]) for row in seen["examples"]]
    section.table(["said", "read from the tokens"], [[text, marked(read, read == text)] for text, read in examples])
    return section


def noise_rows(metrics: dict[str, Any]) -> list[list[Any]]:
    """A row for each kind and strength of noise that the tokenizer was evaluated under."""
    found = [(match, value) for key, value in metrics.items() if (match := NOISE_KEY.fullmatch(key))]
    return [
        [
            match["kind"],
            match["snr"],
            percent(wer),
            percent(metrics[f"token_edit_distance_{match['kind']}_{match['snr']}db"]),
        ]
        for match, wer in found
    ]
