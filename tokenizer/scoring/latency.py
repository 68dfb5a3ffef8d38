"""Streaming latency: audio of a chunk, and CPU time to encode it."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from corpus.audio.files import Samples
from tokenizer.model import SpeechTokenizer

PIECE_SECONDS = 0.04  # what a stream is fed at a time; short, so that each chunk is given out as early as it can be


def stream_latency(tokenizer: SpeechTokenizer, audios: Sequence[Samples]) -> dict[str, float]:
    """Stream audios and measure each chunk of tokens that comes out.

    Returns:
        ``stream_chunk_seconds`` (audio to wait for: the longest chunk), ``stream_cpu_seconds_per_chunk`` (median; the
        log-mel is in it) and ``stream_cpu_seconds_per_chunk_p95``; nothing where no audio fills a chunk.
    """
    piece = int(PIECE_SECONDS * tokenizer.sample_rate)
    costs: list[float] = []
    longest = 0
    with tokenizer.streaming() as stream:
        for audio in audios:
            spent = 0.0
            for start in range(0, len(audio), piece):
                started = time.process_time()
                tokens = stream.feed(audio[start : start + piece])
                spent += time.process_time() - started
                if len(tokens):
                    costs.append(spent)
                    longest, spent = max(longest, len(tokens)), 0.0
            stream.finish()
    if not costs:
        return {}
    return {
        "stream_chunk_seconds": longest / tokenizer.frame_rate,
        "stream_cpu_seconds_per_chunk": float(np.median(costs)),
        "stream_cpu_seconds_per_chunk_p95": float(np.quantile(costs, 0.95)),
    }
