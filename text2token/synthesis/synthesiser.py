"""Synthesis of documents: the choice of spans, a speaker for each, generation, the quality gate with retries.

The result for a document depends on its text and id, the model and the config only; not on batch size, workers or the
other documents.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from lm.data.text_files import TextDocument
from lm.data.vocabulary import Vocabulary
from text2token.gate import GOOD, MISREAD, OVERSIZED, judge
from text2token.speech_generation import NO_CODES, GeneratedSpeech, SpeechBackend, SynthesisRequest, generate_speech
from text2token.transcript_check import TranscriptCheck

from .config import SynthesizeConfig
from .span_plan import plan_spans, reseeded
from .unit_file import SpokenDocument, SpokenSpan


class Synthesiser:
    """Documents with spoken spans from documents.

    Args:
        backend: of the generation.
        vocabulary: of the model.
        config: the options; spans, speakers and samples follow from its seed and the document's id.
        check: of the tokens that the gate lets through, if any.
    """

    def __init__(
        self,
        backend: SpeechBackend,
        vocabulary: Vocabulary,
        config: SynthesizeConfig,
        check: TranscriptCheck | None = None,
    ) -> None:
        self.backend, self.vocabulary, self.config, self.check = backend, vocabulary, config, check
        self.speakers = config.shares_of(config.speakers, vocabulary)

    def synthesise(self, documents: Sequence[TextDocument], pass_number: int) -> list[SpokenDocument]:
        """The documents with spans and the speech tokens of those that pass the gate."""
        plans = [self._plan(document, pass_number) for document in documents]
        spoken = [SpokenDocument(one.id, one.text, []) for one in documents]
        pending: list[tuple[list[SpokenSpan], int, SynthesisRequest]] = []  # a span as list and index, and its request
        for document, plan in zip(spoken, plans, strict=True):
            for span, request in plan:
                document.spans.append(span)
                if request.text:
                    pending.append((document.spans, len(document.spans) - 1, request))
        for attempt in range(self.config.retries + 1):
            if not pending:
                break
            requests = [request if not attempt else reseeded(request, attempt) for _, _, request in pending]
            speech = generate_speech(requests, self.backend, self.vocabulary, self.config)
            for (spans, at, request), one in zip(pending, speech, strict=True):
                spans[at] = self._judged(spans[at], request, one)
            if self.check is not None:
                self._leave_out_misread(self.check, [(spans, at) for spans, at, _ in pending])
            pending = [row for row in pending if row[0][row[1]].verdict not in (GOOD, OVERSIZED)]
        return spoken

    def _plan(self, document: TextDocument, pass_number: int) -> list[tuple[SpokenSpan, SynthesisRequest]]:
        """The spans of a document, without speech, each with its request."""
        config = self.config
        plan = plan_spans(
            document,
            pass_number,
            seed=config.seed,
            spans=config.spans,
            speakers=self.speakers,
            spoken=config.model_text,
        )
        return [(SpokenSpan.unspoken(span, request), request) for span, request in plan]

    def _judged(self, span: SpokenSpan, request: SynthesisRequest, speech: GeneratedSpeech) -> SpokenSpan:
        if speech.is_oversized:
            return dataclasses.replace(span, verdict=OVERSIZED)
        verdict = judge(request.text, speech.codes, speech.is_finished, self.config.gate)
        return dataclasses.replace(span, verdict=verdict, tokens=speech.codes if verdict == GOOD else NO_CODES)

    def _leave_out_misread(self, check: TranscriptCheck, places: Sequence[tuple[list[SpokenSpan], int]]) -> None:
        """Take the tokens from good spans (each as list and index) that cannot be understood."""
        good = [(spans, at) for spans, at in places if spans[at].verdict == GOOD]
        found = [spans[at] for spans, at in good]
        understood = check.are_understood([span.spoken for span in found], [span.tokens for span in found])
        for (spans, at), span, is_understood in zip(good, found, understood, strict=True):
            if not is_understood:
                spans[at] = dataclasses.replace(span, verdict=MISREAD, tokens=NO_CODES)
