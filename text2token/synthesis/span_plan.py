"""Plan of a document's spoken spans: the choice of spans, a speaker, the text to be spoken and a seed for each.

It depends on the document's text and id, the pass and the config only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from lm.data.text_files import TextDocument
from runtime.hashing import seed_of
from text2token.spans.layout import Span
from text2token.spans.policies import SpanConfig, choose_spans
from text2token.speaker_shares import SpeakerShares
from text2token.speech_generation import SynthesisRequest


class PlannedSpan(NamedTuple):
    """A span of a text, and the request for its speech."""

    span: Span
    request: SynthesisRequest


def plan_spans(
    document: TextDocument,
    pass_number: int,
    *,
    seed: int,
    spans: SpanConfig,
    speakers: SpeakerShares,
    spoken: Callable[[str], str],
) -> list[PlannedSpan]:
    """The spans of a document, in order.

    Args:
        document: the text.
        pass_number: each pass draws other spans.
        seed: of the draws.
        spans: options of the choice.
        speakers: of the draw.
        spoken: makes of a span's text what is spoken.
    """
    random = np.random.default_rng(seed_of(seed, pass_number, document.id, "spans"))
    plan = []
    for number, span in enumerate(choose_spans(document.text, spans, random)):
        speaker = str(random.choice(speakers.speakers, p=speakers.shares))
        text = spoken(document.text[span.start : span.end])
        plan.append(
            PlannedSpan(
                span, SynthesisRequest(text, speaker, seed_of(seed, pass_number, document.id, "speech", number))
            )
        )
    return plan


def reseeded(request: SynthesisRequest, attempt: int) -> SynthesisRequest:
    """The request with the seed of a later attempt."""
    return request._replace(seed=seed_of(request.seed, "again", attempt))
