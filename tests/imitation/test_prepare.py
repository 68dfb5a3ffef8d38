"""Pairs as dialogues about speech: layout, mask, references, interleaved inputs, what is left out."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imitation import ask, prepare
from imitation.ask_config import AskConfig
from imitation.documents import mixed_content
from imitation.pairs import ImitationPair, read_pairs
from imitation.prepare_config import ImitationPrepareConfig
from imitation.tasks.task_file import PLACE
from lm.data.clips import speech_runs
from lm.data.corpora import CorpusInfo, open_corpus
from lm.data.formats import ChatTurn, chat_document
from lm.data.loss_mask import loss_mask
from lm.data.text_tokenizers import train_bpe
from lm.data.vocabulary import Vocabulary, build_vocabulary
from runtime.errors import UserError
from tests.support.stored_speech import save_stored_speech, text_of
from text2token.spans.policies import SpanConfig

COUNT = 40


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A vocabulary of one speech token, stored vectors of 40 utterances, and pairs about them."""
    made = tmp_path_factory.mktemp("imitation")
    texts = save_stored_speech(made, COUNT)
    bpe = train_bpe(texts * 4, 300)
    build_vocabulary(bpe, num_speech_tokens=1, speech_tokenizer="hearing").save_pretrained(made / "vocabulary")
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
    assert (
        corpus.transcripts is not None
    )  # the text model's own documents, for the loss that imitates its distributions
    for pair, document in zip(seen, corpus.transcripts.documents("train"), strict=True):
        turn = ChatTurn(pair.with_transcript(pair.content), pair.response)
        assert document.tolist() == chat_document([turn], vocabulary, system="be exact").tolist()


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
        ({"spans": SpanConfig(ratio=0.4)}, "spans"),
        ({"words": "none.jsonl"}, "no such file"),
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


def test_inputs_change_at_words_that_have_times(folder: Path, tmp_path: Path) -> None:
    """Each utterance "anna has 3 cups": its frames are divided between the words, and those of spans are speech."""
    lines = []
    for number in range(COUNT):
        seconds = (3 + number % 5) / 12.5
        words = text_of(number).split()
        times = [[word, at * seconds / 4, (at + 1) * seconds / 4] for at, word in enumerate(words)]
        lines.append(json.dumps({"id": f"u{number}", "words": times}) + "\n")
    (tmp_path / "words.jsonl").write_text("".join(lines))
    options: dict[str, Any] = {"words": str(tmp_path / "words.jsonl"), "valid_share": 0.0, "interleaved_share": 1.0}
    metrics = prepare.STAGE.execute(config(folder, tmp_path / "out", **options))
    corpus, vocabulary = opened(folder, tmp_path / "out")
    seen = [pair for pair in read_pairs(folder / "pairs").pairs if pair.is_seen]
    assert metrics["documents"] == len(seen) and metrics["interleaved"] > len(seen) * 0.7
    table, words_read, words_heard = corpus.clip_table("train"), 0, 0
    for number, (pair, document) in enumerate(zip(seen, corpus.documents("train"), strict=True)):
        frames = {one: (3 + int(one[1:]) % 5) for one in pair.utterances}
        assert 0 <= table.of(number)["frames"].sum() <= sum(frames[one] for one in pair.utterances)
        prompt = vocabulary.decode_text(document[~loss_mask(document, vocabulary).astype(bool)])
        around = pair.text.replace(PLACE, " ").split()
        read = len(prompt.removeprefix("be exact").split()) - len(around)
        words_read, words_heard = words_read + read, words_heard + 4 * len(pair.utterances) - read
    assert 0.3 < words_heard / (words_heard + words_read) < 0.7  # spans.ratio

    missing = tmp_path / "missing.jsonl"
    missing.write_text("".join(lines[1:]))
    with pytest.raises(UserError, match="no speech for"):
        prepare.STAGE.execute(config(folder, tmp_path / "none", **(options | {"words": str(missing)})))


CODES = np.zeros(2, dtype=np.uint16)


@pytest.mark.parametrize(
    ("text", "speech", "content"),
    [
        ("say {speech}", [CODES], ["say ", CODES, ""]),
        ("{speech}\n\nwhat was it", [CODES], ["", CODES, "\n\nwhat was it"]),
        ("say {speech}!", [CODES, "b"], ["say ", CODES, " b!"]),
        ("say {speech}!", ["a", CODES], ["say a ", CODES, "!"]),
        ("say {speech}!", [["a ", CODES, " c"], "b"], ["say a ", CODES, " c b!"]),
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
