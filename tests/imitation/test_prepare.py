"""Pairs as dialogues about speech: layout, mask, references, interleaved inputs, what is left out."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from corpus.features import FeatureRecord, FeatureUtterance, write_feature_index, write_feature_record
from imitation import ask, prepare
from imitation.ask_config import AskConfig
from imitation.documents import mixed_content
from imitation.pairs import ImitationPair, read_pairs
from imitation.prepare_config import ImitationPrepareConfig
from imitation.tasks.task_file import PLACE
from lm.data.clips import speech_runs
from lm.data.corpora import CorpusInfo, open_corpus
from lm.data.loss_mask import loss_mask
from lm.data.text_tokenizers import train_bpe
from lm.data.vocabulary import Vocabulary, build_vocabulary
from runtime.errors import UserError

NAMES, WIDTH, COUNT = ("anna", "tom", "lucy", "peter"), 4, 40


def text_of(number: int) -> str:
    return f"{NAMES[number % 4]} has {number} cups"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A vocabulary of one speech token, stored vectors of 40 utterances, and pairs about them."""
    made = tmp_path_factory.mktemp("imitation")
    bpe = train_bpe([text_of(number) for number in range(COUNT)] * 4, 300)
    build_vocabulary(bpe, num_speech_tokens=1, speech_tokenizer="hearing").save_pretrained(made / "vocabulary")
    first, items = 0, []
    for number in range(COUNT):
        frames = 3 + number % 5
        text = text_of(number)
        items.append(FeatureUtterance(f"u{number}", text, frames / 12.5, "ann", "en", "", "train/0.npy", first, frames))
        first += frames
    (made / "features" / "train").mkdir(parents=True)
    rows = np.random.default_rng(0).standard_normal((first, WIDTH)).astype(np.float16)
    np.save(made / "features" / "train" / "0.npy", rows)
    write_feature_index(made / "features" / "train.parquet", [items])
    record = FeatureRecord(
        encoder="hearing", source="encoder", layer="back", positions_per_second=12.5, width=WIDTH, sample_rate=16000,
        splits={"train": COUNT},
    )  # fmt: skip
    write_feature_record(made / "features", record)
    lines = [
        {"id": f"u{number}", "audio_filepath": f"{number}.wav", "duration": 1.0, "text": text_of(number)}
        for number in range(COUNT)
    ]
    (made / "m.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    asked = AskConfig(
        out=str(made / "pairs"), manifest=str(made / "m.jsonl"), tasks="closed_world", model="rules", prompts="all",
        requests_per_utterance=4, most_utterances=3, system="be exact",
    )  # fmt: skip
    ask.STAGE.execute(asked)
    return made


def config(folder: Path, out: Path, **options: Any) -> ImitationPrepareConfig:
    from lm.data.vector_config import VectorsConfig

    vectors = VectorsConfig(**options.pop("vectors", {"features": str(folder / "features")}))
    return ImitationPrepareConfig(
        out=str(out), pairs=str(folder / "pairs"), vocabulary=str(folder / "vocabulary"), vectors=vectors, **options
    )  # fmt: skip


def opened(folder: Path, out: Path) -> tuple[CorpusInfo, Vocabulary]:
    vocabulary = Vocabulary.from_pretrained(folder / "vocabulary")
    return open_corpus(out / "imitation", vocabulary), vocabulary


def test_documents_are_prompts_with_speech_and_the_answers(folder: Path, tmp_path: Path) -> None:
    metrics = prepare.STAGE.execute(config(folder, tmp_path, valid_share=0.0, vectors={
        "features": str(folder / "features"), "stride": 2
    }))  # fmt: skip
    corpus, vocabulary = opened(folder, tmp_path)
    seen = [pair for pair in read_pairs(folder / "pairs").pairs if pair.is_seen]
    assert metrics["documents"] == len(seen) and metrics["held_out_prompts"] == 160 - len(seen) > 20
    assert metrics["speech"] > metrics["interleaved"] > 20 and metrics["missing"] == 0
    table = corpus.clip_table("train")
    for number, (pair, document) in enumerate(zip(seen, corpus.documents("train"), strict=True)):
        spans = table.of(number)
        runs = [stop - start for start, stop in speech_runs(document, vocabulary)]
        assert runs == [-(-int(span["frames"]) // 2) for span in spans]
        assert {int(span["frames"]) for span in spans} <= {3 + int(one[1:]) % 5 for one in pair.utterances}
        counted = document[loss_mask(document, vocabulary).astype(bool)]
        assert counted[-1] == vocabulary.eos and vocabulary.decode_text(counted) == pair.response
        said = vocabulary.decode_text(document[document != vocabulary.pad])
        assert said.startswith("be exact") and said.endswith(pair.response)
        if len(pair.utterances) == 1:
            assert pair.transcripts[0] not in said.removesuffix(pair.response)


def test_text_documents_teach_all_tasks(folder: Path, tmp_path: Path) -> None:
    metrics = prepare.STAGE.execute(config(folder, tmp_path, input="text", prompts="all", vectors={}, valid_share=0.2))
    corpus, vocabulary = opened(folder, tmp_path)
    assert metrics["documents"] + metrics["valid_documents"] == 160 == metrics["text"] and corpus.clips is None
    assert metrics["speech_tokens"] == 0 and 0 < metrics["valid_documents"] < 70
    said = [vocabulary.decode_text(document) for document in corpus.documents("train")]
    wanted = [pair.text.replace(PLACE, pair.content) + pair.response for pair in read_pairs(folder / "pairs").pairs]
    assert {squeezed(text.removeprefix("be exact")) for text in said} <= {squeezed(text) for text in wanted}


def squeezed(text: str) -> str:
    return "".join(text.split())


def test_the_same_utterance_is_on_one_side_only_and_a_second_call_changes_nothing(folder: Path, tmp_path: Path) -> None:
    one = config(folder, tmp_path / "a", valid_share=0.3, interleaved_share=0.0)
    prepare.STAGE.execute(one)
    prepare.STAGE.execute(config(folder, tmp_path / "b", valid_share=0.3, interleaved_share=0.0))
    for name in ("train.bin", "valid.bin", "train.spans.npy", "valid.starts.npy"):
        assert (tmp_path / "a/imitation" / name).read_bytes() == (tmp_path / "b/imitation" / name).read_bytes()
    assert opened(folder, tmp_path / "a")[0].provenance["counts"].get("interleaved", 0) == 0


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"splits": ["dev"]}, "no features of a split dev"),
        ({"prompts": "all"}, "prompts"),
        ({"vectors": {}}, "vectors.encoder"),
        ({"input": "text"}, "vectors.encoder"),
        ({"corpus": "x"}, "corpus"),
        ({"splits": []}, "splits"),
    ],
)
def test_refusals(options: dict[str, Any], found: str, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError) as refused:
        prepare.STAGE.execute(config(folder, tmp_path, **options))
    assert found in str(refused.value)


def test_missing_speech_is_counted_and_refused_beyond_a_share(folder: Path, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in (folder / "pairs" / "pairs.jsonl").read_text().splitlines()]
    (tmp_path / "pairs").mkdir()
    for row in [row for row in rows if row["is_seen"]][:2]:
        row["utterances"][0] = "nobody"
    (tmp_path / "pairs" / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "pairs" / "pairs.json").write_text((folder / "pairs" / "pairs.json").read_text())
    made = config(folder, tmp_path / "out", valid_share=0.0, interleaved_share=0.0)
    made.pairs = str(tmp_path / "pairs")
    with pytest.raises(UserError, match=r"no speech for 2 of \d+ pairs \(the first is about nobody"):
        prepare.STAGE.execute(made)
    assert not (tmp_path / "out" / "imitation").exists()
    made.max_missing_share = 0.1
    assert prepare.STAGE.execute(made)["missing"] == 2


CODES = np.zeros(2, dtype=np.uint16)


@pytest.mark.parametrize(
    ("text", "speech", "content"),
    [
        ("say {speech}", [CODES], ["say ", CODES, ""]),
        ("{speech}\n\nwhat was it", [CODES], ["", CODES, "\n\nwhat was it"]),
        ("say {speech}!", [CODES, None], ["say ", CODES, " b!"]),
        ("say {speech}!", [None, CODES], ["say a ", CODES, "!"]),
        ("say {speech}", [CODES, CODES], ["say ", CODES, " ", CODES, ""]),
    ],
)
def test_mixed_content(text: str, speech: list[Any], content: list[Any]) -> None:
    names = ("a", "b")[: len(speech)]
    pair = ImitationPair(
        utterances=names, task="t", prompt=0, text=text, transcripts=names, response="r", is_seen=True
    )  # fmt: skip
    found = mixed_content(pair, speech)
    assert [one if isinstance(one, str) else "S" for one in found] == [
        one if isinstance(one, str) else "S" for one in content
    ]
