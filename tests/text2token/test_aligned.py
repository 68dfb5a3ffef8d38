import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from corpus.audio.files import write_audio
from corpus.audio.segments import read_segment
from corpus.features import StoredFeatures
from corpus.manifest import Utterance, read_manifest, write_manifest
from corpus.tokens import TokenisedUtterance, write_tokens
from lm.data.clips import FeatureShards
from lm.data.corpora import open_corpus
from lm.data.formats import interleaved_document
from lm.data.loss_mask import loss_mask
from lm.data.special_tokens import SpecialToken
from lm.data.vector_config import VectorsConfig
from lm.data.vocabulary import Vocabulary
from lm.vocabulary import STAGE as VOCABULARY
from runtime.errors import UserError
from runtime.hashing import seed_of
from tests.support.small_speech_model import make_speech_tokenizer
from text2token.aligned import STAGE
from text2token.alignment.config import AlignedConfig
from text2token.alignment.word_times import (
    TimedWord,
    WordTime,
    aligned_pieces,
    cut_rows,
    locate_words,
    read_times,
    time_span,
)
from text2token.spans.layout import Span
from text2token.spans.policies import SpanConfig, choose_spans
from tokenizer.features import STAGE as FEATURES

TEXT = "Tom has a red ball."
TIMES = [["tom", 0.4, 0.8], ["has", 0.8, 1.2], ["a", 1.6, 1.7], ["red", 1.7, 2.0], ["ball", 2.4, 3.0]]
CODES = np.arange(40, dtype=np.uint16) % 24  # 3.2 s at 12.5 a second
WORDS = locate_words(TEXT, [WordTime(*row) for row in TIMES])


def rows_of(span: Span, words: Sequence[TimedWord], count: int) -> tuple[int, int] | None:
    """The rows of a span of 12.5 tokens a second."""
    timed = time_span(span, words)
    return None if timed is None else cut_rows(timed, count, 12.5)


@pytest.mark.parametrize(
    ("words", "begin", "stop"),
    [
        ("Tom", 0, 10),  # from the start, to 0.8 s
        ("has", 10, 18),  # the midst of 1.2 and 1.6 s is 1.4 s: 17.5, to even
        ("has a red", 10, 28),  # 2.2 s: 27.5
        ("a red", 18, 28),
        ("ball.", 28, 40),  # to the end
        ("Tom has a red ball.", 0, 40),
    ],
)
def test_cuts(words: str, begin: int, stop: int) -> None:
    start = TEXT.index(words)
    assert rows_of(Span(start, start + len(words), 1), WORDS, len(CODES)) == (begin, stop)


def test_neighbours_share_no_token_and_lose_none() -> None:
    rows = [rows_of(Span(word.start, word.stop, 1), WORDS, len(CODES)) for word in WORDS]
    assert rows == [(0, 10), (10, 18), (18, 21), (21, 28), (28, 40)]
    assert rows_of(Span(18, 19, 1), WORDS, len(CODES)) is None  # the full stop has no time
    late = [TimedWord(0, 3, 0.0, 0.5), TimedWord(4, 7, 9.0, 9.5)]  # beyond the recording
    assert rows_of(Span(4, 7, 1), late, 5) == (5, 5)
    pieces = aligned_pieces(TEXT, CODES, WORDS, [Span(4, 7, 1), Span(18, 19, 1)], 12.5)
    assert [one if isinstance(one, str) else len(one) for one in pieces] == ["Tom ", 8, " a red ball."]


def test_times_that_do_not_fit() -> None:
    assert [word.start for word in WORDS] == [0, 4, 8, 10, 14]
    assert locate_words("İzmir İLE kedi", [WordTime("kedi", 0, 1)]) == [TimedWord(10, 14, 0, 1)]  # İ is long in small
    for times, match in (
        ([["red", 0, 1], ["tom", 1, 2]], "'tom' is not in what is left"),
        ([["tom", 0, 1], ["has", 0.5, 2]], "'has' is spoken from 0.5"),
        ([["tom", 2, 1]], "from 2 to 1"),
    ):
        with pytest.raises(ValueError, match=match):
            locate_words(TEXT, [WordTime(*row) for row in times])


def test_times_are_lines_of_json_as_everywhere(tmp_path: Path) -> None:
    file = tmp_path / "words.jsonl"
    row = json.dumps({"id": "a", "words": [["caf\u2028é", 0, 1]]}, ensure_ascii=False).encode()
    file.write_bytes(b"\xef\xbb\xbf" + row + b"\r\n\n" + row.replace(b'"a"', b'"b"'))
    assert read_times(str(file)) == {name: [WordTime("caf\u2028é", 0, 1)] for name in ("a", "b")}
    for line, reason in ((b'{"id": "caf\xe9"}', "not UTF-8"), (rb'{"id": "\ud83d", "words": []}', "surrogate pair")):
        file.write_bytes(row + b"\n" + line)
        with pytest.raises(UserError, match=rf"line 2: no record of words .*{reason}"):
            read_times(str(file))


@pytest.fixture
def inputs(tmp_path: Path, vocabulary: Vocabulary) -> dict[str, str]:
    vocabulary.save_pretrained(tmp_path / "vocabulary")
    items = [TokenisedUtterance(f"u{n}", CODES, TEXT, 3.2, "ann") for n in range(40)]
    write_tokens(tmp_path / "tokens/train.parquet", items, tokenizer="abc", codebook_size=24, frame_rate=12.5)
    rows = [{"id": f"u{n}", "words": TIMES} for n in range(39)]
    (tmp_path / "words.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {name: str(tmp_path / name) for name in ("tokens", "vocabulary")} | {"words": str(tmp_path / "words.jsonl")}


def test_documents_of_real_speech(tmp_path: Path, inputs: dict[str, str], vocabulary: Vocabulary) -> None:
    spans = SpanConfig(ratio=0.4, mean_words=2)
    metrics = STAGE.execute(AlignedConfig(out=str(tmp_path / "out"), spans=spans, **inputs))  # type: ignore[arg-type]
    assert metrics["documents"] == 39 and metrics["bad"] == 1 and metrics["realised_ratio"] == 0.4
    assert open_corpus(tmp_path / "out/interleaved", vocabulary).format == "interleaved"
    config = AlignedConfig(out=str(tmp_path / "plain"), spans=spans, has_marks=False, **inputs)  # type: ignore[arg-type]
    assert STAGE.execute(config)["tokens"] < metrics["tokens"]
    with pytest.raises(UserError, match="u39"):
        STAGE.execute(AlignedConfig(out=str(tmp_path / "strict"), max_bad_share=0.0, **inputs))  # type: ignore[arg-type]
    with pytest.raises(UserError, match="no record of words"):
        Path(inputs["words"]).write_text('{"id": 1}\n')
        STAGE.execute(AlignedConfig(out=str(tmp_path / "bad"), **inputs))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """corpus/ of 3 recordings, the last a segment of a longer one, tokenizer/, features/, vocabulary/, words.jsonl."""
    root = tmp_path_factory.mktemp("recorded")
    make_speech_tokenizer().save_pretrained(root / "tokenizer")
    rising = (0.3 * np.sin(0.1 * np.arange(64_000)) * np.linspace(0.1, 1, 64_000)).astype(np.float32)
    rows = []
    for name, count in (("u0", 51_200), ("u1", 51_200), ("long", 64_000)):
        write_audio(root / f"corpus/audio/{name}.flac", rising[:count])
        rows.append(Utterance(name, root / f"corpus/audio/{name}.flac", count / 16_000, TEXT, "ann"))
    rows[2] = replace(rows[2], id="part", offset=0.5, duration=3.2)
    write_manifest(root / "corpus/train.jsonl", rows)
    lines = [{"id": row.id, "words": TIMES} for row in rows]
    (root / "words.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    words = ["num_speech_tokens=1", f"transcripts={root}/corpus/train.jsonl", f"out={root}/vocabulary"]
    assert VOCABULARY.main(words) == 0
    stored = [f"encoder={root}/tokenizer", f"corpus={root}/corpus", "splits=[train]", f"out={root}/features"]
    assert FEATURES.main(stored) == 0
    return root


def test_spans_of_recordings_and_of_stored_vectors(recorded: Path, tmp_path: Path) -> None:
    """Segments hold the span's samples; stored rows are those of the tokens; the ids differ by a vector at most."""
    root, spans = recorded, SpanConfig(ratio=0.4, mean_words=2)
    given: dict[str, Any] = {"words": str(root / "words.jsonl"), "vocabulary": str(root / "vocabulary/vocabulary")}
    given |= {"speech": "vectors", "spans": spans}
    encoder, features = {"encoder": str(root / "tokenizer")}, {"features": str(root / "features")}
    out = str(tmp_path / "heard")
    heard = AlignedConfig(vectors=VectorsConfig(**encoder), corpus=str(root / "corpus"), out=out, **given)
    stored = AlignedConfig(vectors=VectorsConfig(**features), out=str(tmp_path / "stored"), **given)
    metrics = [STAGE.execute(heard), STAGE.execute(stored)]
    assert [one["documents"] for one in metrics] == [3, 3] and [one["realised_ratio"] for one in metrics] == [0.4, 0.4]
    vocabulary = Vocabulary.from_pretrained(root / "vocabulary/vocabulary")
    one, other = (open_corpus(tmp_path / name / "interleaved", vocabulary) for name in ("heard", "stored"))
    table, rows = one.clip_table("train"), other.clip_table("train")
    vectors, whole = FeatureShards(rows), [*StoredFeatures(root / "features").utterances("train")]
    times = locate_words(TEXT, [WordTime(*row) for row in TIMES])
    for number, utterance in enumerate(read_manifest(root / "corpus/train.jsonl").utterances):
        random = np.random.default_rng(seed_of(heard.seed, utterance.id, "spans"))
        wanted = [timed for span in choose_spans(TEXT, spans, random) if (timed := time_span(span, times))]
        assert wanted and len(table.of(number)) == len(rows.of(number)) == len(wanted)
        audio = read_segment(utterance.segment)
        for at, timed in enumerate(wanted):
            span = table.of(number)[at]
            with table.shard(int(span["shard"])).open("rb") as file:
                file.seek(int(span["offset"]))
                samples, _ = soundfile.read(io.BytesIO(file.read(int(span["bytes"]))), dtype="float32")
            begin, end = round(timed.begin * 16_000), round((timed.end or 3.2) * 16_000)
            np.testing.assert_allclose(samples, audio[begin:end], atol=1e-4)
            first, stop = cut_rows(timed, whole[number].frames, 12.5)
            held = StoredFeatures(root / "features").vectors(whole[number])
            np.testing.assert_array_equal(vectors.read(number, at), held[first:stop])
    assert not (tmp_path / "heard/clips/train/units.jsonl").exists()


def test_sources_that_contradict_each_other(inputs: dict[str, str]) -> None:
    given: dict[str, Any] = {"words": "w", "vocabulary": "v", "out": "o"}
    for words, options in (
        ("tokens", {}),
        ("tokens", {"tokens": "t", "speech": "vectors"}),
        ("vectors.encoder", {"speech": "vectors"}),
        ("corpus", {"speech": "vectors", "vectors": VectorsConfig(encoder="e")}),
    ):
        with pytest.raises(UserError, match=f"option {words}"):
            AlignedConfig(**given, **options)


def test_marks_are_optional(vocabulary: Vocabulary) -> None:
    pieces = ["the ", CODES[:3], " cat"]
    marked, plain = (interleaved_document(pieces, vocabulary, has_marks=has_marks) for has_marks in (True, False))
    marks = [vocabulary.special(SpecialToken.BEGIN_OF_AUDIO), vocabulary.special(SpecialToken.END_OF_AUDIO)]
    assert [int(id) for id in marked if id not in marks] == plain.tolist() and len(plain) == len(marked) - 2
    assert loss_mask(plain, vocabulary).all()
    text_only = loss_mask(plain, vocabulary, loss="text")
    assert (text_only == ~vocabulary.is_speech(plain)).all()
