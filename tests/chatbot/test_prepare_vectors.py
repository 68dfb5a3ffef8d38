"""chatbot.prepare speech=vectors: recorded questions of the corpus and of others' dialogues, each clip in its place."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from chatbot.data.text_dialogues import read_text_dialogues
from chatbot.prepare import STAGE, ChatPrepareConfig
from corpus.audio.files import write_audio
from corpus.manifest import BadRecord
from corpus.tokens import read_tokens
from lm.data.clips import FeatureShards, speech_runs
from lm.data.corpora import CorpusInfo, open_corpus
from lm.data.rendering import render
from lm.data.text_tokenizers import train_bpe
from lm.data.vector_config import VectorsConfig
from lm.data.vocabulary import VECTORS, Vocabulary, build_vocabulary
from runtime.errors import UserError
from tokenizer.features import STAGE as FEATURES
from tokenizer.hearing.load import load_encoder

WORDS = [
    "what do they say",
    "and who is it",
    "he says hello and she says goodbye",
    "ann",
    "be brief",
    "compare a with b",
]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, chain: Path) -> Path:
    """vocabulary/, and audio/: 0.wav to 3.wav of 0.5, 0.8, 1.1 and 1.4 s, the second at 44.1 kHz."""
    root = tmp_path_factory.mktemp("recorded")
    for number in range(4):
        rate, seconds = (44_100 if number == 1 else 16_000), 0.5 + 0.3 * number
        time = np.arange(round(seconds * rate)) / rate
        write_audio(root / f"audio/{number}.wav", (0.3 * np.sin(2000 * time)).astype(np.float32), rate)
    texts = [*WORDS, *(row["text"] for row in lines_of(chain / "corpus/train.jsonl"))]
    build_vocabulary(train_bpe(texts, 400), num_speech_tokens=1, speech_tokenizer=VECTORS).save_pretrained(
        root / "vocabulary"
    )
    return root


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def prepared(world: Path, chain: Path, out: Path, **options: Any) -> CorpusInfo:
    given = {"encoder": str(chain / "tokenizer" / "artefact"), "stride": 2, **options.pop("vectors", {})}
    STAGE.execute(
        ChatPrepareConfig(
            vocabulary=str(world / "vocabulary"),
            out=str(out),
            speech="vectors",
            vectors=VectorsConfig(**given),
            **{"transcribe_first": False, **options},
        )
    )
    return open_corpus(out / "chat", vocabulary(world))


def vocabulary(world: Path) -> Vocabulary:
    return Vocabulary.from_pretrained(world / "vocabulary")


def seconds_of(info: CorpusInfo, document: int, split: str = "train") -> list[float]:
    """Lengths of a document's clips, read by their byte ranges."""
    table, found = info.clip_table(split), []
    for span in table.of(document):
        content = table.shard(int(span["shard"])).read_bytes()
        audio, rate = soundfile.read(io.BytesIO(content[int(span["offset"]) : int(span["offset"] + span["bytes"])]))
        found.append(round(len(audio) / rate, 3))
    return found


def shown(info: CorpusInfo, document: int, world: Path) -> str:
    """The document with ``*`` in place of each run of speech."""
    v = vocabulary(world)
    row = info.document("train", document)
    kept = np.ones(len(row), dtype=bool)
    for start, stop in speech_runs(row, v):
        kept[start + 1 : stop] = False
    return re.sub(r"‹\d+ vectors›", "*", render(row[kept], v)).replace("\n", " ")


NEMO = [
    {"from": "User", "value": "what do they say", "type": "text"},
    {"from": "User", "value": "audio/0.wav", "type": "audio", "duration": 0.5},
    {"from": "User", "value": "audio/2.wav", "type": "audio", "duration": 0.4, "offset": 0.3},
    {"from": "Assistant", "value": "he says hello and she says goodbye", "type": "text"},
    {"from": "User", "value": "audio/1.wav", "type": "audio", "duration": 0.8},
    {"from": "Assistant", "value": "ann", "type": "text"},
]
TURNS = [
    {"from": "human", "value": "compare a <sound> with b <sound>"},
    {"from": "gpt", "value": "ann"},
]
MESSAGES = [
    {"role": "system", "content": "be brief"},
    {"role": "user", "content": "<audio>what do they say"},
    {"role": "assistant", "content": "ann"},
]
TYPED = {"type": "text", "text": "who"}
LAYOUTS: dict[str, tuple[dict[str, Any], list[float]]] = {
    "nemo": ({"conversations": NEMO}, [0.5, 0.4, 0.8]),
    "sound": ({"sound": ["audio/3.wav", "audio/0.wav"], "conversations": TURNS}, [1.4, 0.5]),
    "audios": ({"messages": MESSAGES, "audios": ["audio/2.wav"]}, [1.1]),
    "desta": (
        {
            "messages": [
                {
                    "role": "user",
                    "content": "<|AUDIO|> and who is it",
                    "audios": [{"audio": "audio/1.wav", "text": None}],
                },
                {"role": "assistant", "content": "ann"},
            ]
        },
        [0.8],
    ),
    "parts": (
        {
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "audio", "audio": "audio/0.wav"}, {"type": "text", "text": "who"}],
                },
                {"role": "assistant", "content": "ann"},
            ]
        },
        [0.5],
    ),
    "typed": ({"messages": [{"role": "user", "content": "who"}, {"role": "assistant", "content": "ann"}]}, []),
}


def test_every_layout_has_its_clips_in_their_places(world: Path, chain: Path, tmp_path: Path) -> None:
    records = world / "records.jsonl"
    records.write_text("".join(json.dumps(record) + "\n" for record, _ in LAYOUTS.values()))
    info = prepared(world, chain, tmp_path / "out", dialogues=str(records), dialogues_heldout=str(records))
    encoder, v = load_encoder(chain / "tokenizer" / "artefact"), vocabulary(world)
    assert info.clips is not None and info.clips.encoder == encoder.fingerprint and info.format == "chat"
    for split in ("train", "valid"):
        for number, (_, seconds) in enumerate(LAYOUTS.values()):
            row = info.document(split, number)
            assert seconds_of(info, number, split) == seconds
            lengths = [stop - start for start, stop in speech_runs(row, v)]
            assert lengths == [-(-encoder.num_positions(round(one * 16_000)) // 2) for one in seconds]
    clip = "<|begin_of_audio|> * <|end_of_audio|>"
    told = [shown(info, number, world) for number in range(len(LAYOUTS))]
    assert f"<|user|> what do they say {clip} {clip} <|assistant|> he says hello" in told[0]
    assert f"goodbye <|user|> {clip} <|assistant|> ann <|endoftext|>" in told[0]
    assert f"<|user|> compare a {clip} with b {clip} <|assistant|> ann" in told[1]
    assert told[2].startswith(f"<|system|> be brief <|user|> {clip} what do they say")
    assert told[5] == "<|user|> who <|assistant|> ann <|endoftext|>"
    shards = {Path(name).name for name in info.clips.shards}
    assert shards == {"0.wav", "1.wav", "2.wav", "3.wav", "000000.tar"}  # only the segment was copied


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"sound": "audio/0.wav", "conversations": TURNS}, "1 recordings and 2 placeholders"),
        ({"audios": ["audio/0.wav", "audio/1.wav"], "messages": MESSAGES}, "2 recordings and 1 placeholders"),
        ({"messages": MESSAGES}, "no recording and 1 placeholders"),
        ({"messages": MESSAGES, "audios": []}, "no recording and 1 placeholders"),
    ],
)
def test_more_or_fewer_clips_than_placeholders_is_an_error_with_file_and_line(
    world: Path, chain: Path, tmp_path: Path, record: dict[str, Any], reason: str
) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text(json.dumps(LAYOUTS["typed"][0]) + "\n" + json.dumps(record) + "\n")
    with pytest.raises(UserError, match=rf"records\.jsonl, line 2: {reason}"):
        prepared(world, chain, tmp_path / "out", dialogues=str(path), max_skipped_share=0.9)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"conversations": [*TURNS[:1], {"from": "gpt", "value": "<sound>"}], "sound": ["a", "b", "c"]}, "no question"),
        ({"sound": [3, "b"], "conversations": TURNS}, "no path of a file"),
        ({"sound": ["https://x/a.wav", "b"], "conversations": TURNS}, "no path of a file"),
        ({"sound": ["audio/9.wav", "audio/0.wav"], "conversations": TURNS}, "no such audio file"),
        ({"sound": ["audio/3.wav", "audio/0.wav"], "conversations": TURNS}, "longer than vectors.max_seconds=1.2"),
        ({"conversations": [{**NEMO[1], "duration": 3.0}, NEMO[3]]}, "another length than its record says"),
    ],
)
def test_bad_records_are_counted_by_reason(
    world: Path, chain: Path, tmp_path: Path, record: dict[str, Any], reason: str
) -> None:
    path = world / "bad.jsonl"
    path.write_text(json.dumps(LAYOUTS["audios"][0]) + "\n" + json.dumps(record) + "\n")
    options: dict[str, Any] = {"dialogues": str(path), "vectors": {"max_seconds": 1.2}}
    info = prepared(world, chain, tmp_path / "out", **options, max_skipped_share=0.5)
    assert info.splits["train"].documents == 1
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())
    assert metrics["skipped"] == 1 and metrics["spoken"] == 1
    with pytest.raises(UserError, match=reason):
        prepared(world, chain, tmp_path / "strict", **options)


def test_text_dialogues_are_read_without_recordings_as_before(world: Path, tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text("".join(json.dumps(LAYOUTS[name][0]) + "\n" for name in ("audios", "typed")))
    first, second = read_text_dialogues(str(path))
    assert isinstance(first, BadRecord) and "with recordings" in first.reason
    assert not isinstance(second, BadRecord) and second.turns[0].text == "who"


def test_the_corpus_own_questions_as_recordings_and_as_features(world: Path, chain: Path, tmp_path: Path) -> None:
    heard = prepared(world, chain, tmp_path / "heard", corpus=str(chain / "corpus"), transcribe_first=True)
    words = [
        f"encoder={chain / 'tokenizer' / 'artefact'}",
        f"corpus={chain / 'corpus'}",
        f"out={tmp_path / 'features'}",
    ]
    assert FEATURES.main(words) == 0
    vectors = {"encoder": "", "features": str(tmp_path / "features")}
    stored = prepared(
        world, chain, tmp_path / "stored", corpus=str(chain / "corpus"), transcribe_first=True, vectors=vectors
    )
    rows = [row for row in lines_of(chain / "corpus/train.jsonl") if row["kind"] == "question"]
    assert heard.splits == stored.splits and heard.splits["train"].documents == len(rows)
    for number, row in enumerate(rows):
        one, other = (info.document("train", number) for info in (heard, stored))
        assert one.tolist() == other.tolist()
        assert seconds_of(heard, number) == [pytest.approx(row["duration"], abs=1e-3)]
        assert FeatureShards(stored.clip_table("train")).read(number, 0).shape[1] == 16
        assert f"<|transcript|> {row['text']} <|assistant|> the capital of" in shown(heard, number, world)


def test_typed_questions_and_long_dialogues(world: Path, chain: Path, tmp_path: Path) -> None:
    corpus = {"corpus": str(chain / "corpus"), "typed_share": 0.5}
    info = prepared(world, chain, tmp_path / "typed", **corpus)
    table = info.clip_table("train")
    lengths = [len(table.of(number)) for number in range(info.splits["train"].documents)]
    assert lengths == [1, 0] * (len(lengths) // 2)  # each once spoken, once typed
    records = world / "long.jsonl"
    records.write_text(json.dumps(LAYOUTS["nemo"][0]) + "\n")
    longest = len(prepared(world, chain, tmp_path / "whole", dialogues=str(records)).document("train", 0))
    cut = prepared(world, chain, tmp_path / "cut", dialogues=str(records), max_tokens=longest - 1)
    assert [seconds_of(cut, number) for number in range(2)] == [[0.5, 0.4], [0.8]]  # each turn with its own clips


def test_replies_to_tokens_can_be_text_alone_for_codes_that_are_read_as_vectors(chain: Path, tmp_path: Path) -> None:
    config = {name: str(chain / name) for name in ("corpus", "tokens", "vocabulary")}
    metrics = STAGE.execute(ChatPrepareConfig(**config, reply="text", out=str(tmp_path / "out")))
    v = Vocabulary.from_pretrained(chain / "vocabulary/vocabulary")
    info = open_corpus(tmp_path / "out/chat", v)
    asked = [one for one in read_tokens(chain / "tokens/train.parquet").items if one.kind == "question"]
    assert metrics["train_documents"] == len(asked) and info.clips is None
    for row, question in zip(info.documents("train"), asked, strict=True):
        assert v.codes(row).tolist() == question.tokens.tolist() and len(speech_runs(row, v)) == 1
    with pytest.raises(UserError, match="option format"):
        ChatPrepareConfig(**config, reply="text", format="streaming", transcribe_first=False, out="o")


def test_mistakes(world: Path, chain: Path, tmp_path: Path) -> None:
    for options, message in (
        ({"tokens": "t", "corpus": "c"}, "option tokens"),
        ({"vectors": {"encoder": ""}, "corpus": "c"}, "option vectors.encoder"),
        ({"format": "speech", "corpus": "c"}, "option format"),
        ({"reply": "speech", "corpus": "c"}, "option reply"),
        ({"dialogues": "d", "vectors": {"encoder": "", "features": "f"}}, "option vectors.features"),
        ({"corpus": str(chain / "corpus"), "vectors": {"encoder": str(world)}}, "no speech encoder"),
    ):
        with pytest.raises(UserError, match=message):
            prepared(world, chain, tmp_path / "out", **options)
