from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from lm.data.text_files import TextDocument
from lm.data.text_tokenizers import train_bpe
from lm.data.vocabulary import build_vocabulary
from lm.inference.generation import Generator
from text2token.bulk_generation import BulkGenerationConfig
from text2token.spans.policies import SpanConfig
from text2token.synthesis.config import SynthesizeConfig
from text2token.synthesis.synthesiser import Synthesiser

TEXTS = [
    "the capital of france is paris. a lion sleeps in the house and the cat likes the red ball very much.",
    "paris",
    "a cat . - . likes the ball",
    "the lion. " * 30,
]
DOCUMENTS = [TextDocument(f"d{number}", text) for number, text in enumerate(TEXTS)]


def synthesiser(folder: Path, batch_size: int = 64, seed: int = 1, normalises: bool = True) -> Synthesiser:
    generator = Generator.from_pretrained(folder, batch_size=batch_size)
    config = SynthesizeConfig(
        texts="texts",
        model=str(folder),
        out="out",
        seed=seed,
        spans=SpanConfig(ratio=0.4, mean_words=3),
        speakers={"ann": 3.0, "bob": 1.0},
        temperature=0.9,
        normaliser="none",
        normalises=normalises,
        retries=0,
    )
    return Synthesiser(generator, generator.vocabulary, config)


def flat(documents: list) -> list[tuple]:  # type: ignore[type-arg]
    return [
        (document.id, span.start, span.end, span.spoken, span.speaker, span.verdict, span.tokens.tolist())
        for document in documents
        for span in document.spans
    ]


def test_results_do_not_depend_on_batch_or_neighbours(model_folder: Path) -> None:
    whole = flat(synthesiser(model_folder).synthesise(DOCUMENTS, 0))
    assert flat(synthesiser(model_folder, batch_size=2).synthesise(DOCUMENTS, 0)) == whole
    one_by_one = synthesiser(model_folder, batch_size=5)
    assert [row for document in DOCUMENTS for row in flat(one_by_one.synthesise([document], 0))] == whole
    assert flat(synthesiser(model_folder).synthesise(DOCUMENTS[::-1], 0)) != whole  # in the documents' order
    assert sorted(flat(synthesiser(model_folder).synthesise(DOCUMENTS[::-1], 0))) == sorted(whole)


def test_passes_and_seeds_draw_otherwise(model_folder: Path) -> None:
    draws = [
        flat(synthesiser(model_folder, seed=seed).synthesise(DOCUMENTS, number))
        for seed, number in ((1, 0), (1, 1), (2, 0))
    ]
    assert draws[0] != draws[1] != draws[2] != draws[0]


def test_what_is_spoken(model_folder: Path) -> None:
    documents = synthesiser(model_folder).synthesise(DOCUMENTS, 0)
    for document, source in zip(documents, DOCUMENTS, strict=True):
        assert (document.id, document.text) == (source.id, source.text)
        for span in document.spans:
            words = source.text[span.start : span.end]
            assert span.spoken == " ".join(words.replace(".", " ").replace("-", " ").split())
            assert (span.verdict == "good") == (len(span.tokens) > 0)
        texts = [piece for piece in document.pieces() if isinstance(piece, str)]
        rest = source.text
        for text in texts:  # text outside the spans is kept, byte for byte and in order
            assert text in rest
            rest = rest[rest.index(text) + len(text) :]
    raw = synthesiser(model_folder, normalises=False).synthesise(DOCUMENTS, 0)
    assert all(span.spoken == doc.text[span.start : span.end] for doc in raw for span in doc.spans)


def test_numbers_are_written_out_before_they_are_spoken() -> None:
    normalised = BulkGenerationConfig(model="", normaliser="builtin")
    assert normalised.model_text("Dr. Lee paid $5 (50%)") == "doctor lee paid five dollars fifty percent"
    plain = BulkGenerationConfig(model="", normaliser="builtin", normalises=False)
    assert plain.model_text("5%!") == "five percent!"


def test_a_span_without_words_stays_text(model_folder: Path) -> None:
    dots = [TextDocument("dots", ". . . . . ...")]
    (document,) = synthesiser(model_folder).synthesise(dots, 0)
    assert {span.verdict for span in document.spans} == {"empty"} and document.pieces() == [". . . . . ..."]


def test_a_span_the_model_has_no_room_for_stays_text(model_folder: Path) -> None:
    endless = [TextDocument("a", "lion " * 2000), TextDocument("b", "the " + "lion" * 400 + " sleeps")]
    made = synthesiser(model_folder)
    made.config.spans = SpanConfig(ratio=0.9, mean_words=500)
    documents = made.synthesise([*endless, DOCUMENTS[0]], 0)
    assert {span.verdict for document in documents[:2] for span in document.spans} == {"oversized"}
    assert [document.pieces() for document in documents[:2]] == [[one.text] for one in endless]
    made.config.spans = SpanConfig(ratio=0.4, mean_words=3)
    assert flat(made.synthesise([endless[1], DOCUMENTS[0]], 0))[-1] == flat(made.synthesise([DOCUMENTS[0]], 0))[-1]


def test_speakers_follow_their_shares(model_folder: Path) -> None:
    made = synthesiser(model_folder)
    speakers = [
        span.speaker
        for number in range(400)
        for span, _ in made._plan(TextDocument(f"n{number}", "the lion sleeps in the house"), 0)
    ]
    assert set(speakers) == {"ann", "bob"} and 0.7 < np.mean([name == "ann" for name in speakers]) < 0.8


def test_speakers_are_drawn_as_in_training_within_their_bounds(model_folder: Path) -> None:
    """Three tags, of which the model was trained on 5, 3 and 1 parts of speech."""
    made = synthesiser(model_folder)
    counted = build_vocabulary(
        train_bpe(["a"], 300),
        num_speech_tokens=24,
        speech_tokenizer="abc",
        speakers=["ann", "bob", "carol"],
        speaker_tokens={"ann": 500, "bob": 300, "carol": 100},
    )
    for options, expected in (({}, (5 / 9, 3 / 9, 1 / 9)), ({"speaker_cap": 0.4}, (0.4, 0.4, 0.2))):
        config = replace(made.config, speakers={}, **options)  # type: ignore[arg-type]
        drawing = Synthesiser(made.backend, counted, config)
        drawn = Counter(
            span.speaker
            for number in range(600)
            for span, _ in drawing._plan(TextDocument(f"n{number}", "the lion sleeps in the house"), 0)
        )
        shares = [drawn[name] / drawn.total() for name in ("ann", "bob", "carol")]
        np.testing.assert_allclose(shares, expected, atol=0.05)
