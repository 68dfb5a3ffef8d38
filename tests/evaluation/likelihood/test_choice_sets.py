"""Layouts of sets that are scored by likelihood; bad rows are named and counted."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpus.audio.files import encode_wav, write_audio
from evaluation.likelihood.choice_item import ChoiceItem, ChoiceSet
from evaluation.likelihood.choice_sets import BENCHMARKS, read_choice_set
from runtime.errors import UserError


def sound(level: float) -> np.ndarray:
    return np.full(1600, level, dtype=np.float32)


def write_sounds(folder: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        write_audio(folder / name, sound((number + 1) / 100))
    return folder


def write_lines(folder: Path, *rows: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    lines = (row if isinstance(row, str) else json.dumps(row) for row in rows)
    (folder / "set.jsonl").write_text("".join(line + "\n" for line in lines))
    return folder


def read(source: Path, *directions: str, name: str = "pairs", **options: Any) -> ChoiceSet:
    return read_choice_set(BENCHMARKS[name], source, directions or ("s2s",), **options)


def texts(item: ChoiceItem) -> tuple[str | None, ...]:
    return (None if item.context is None else item.context.text, *(one.text for one in item.candidates))


def files(item: ChoiceItem) -> list[str]:
    return [part.audio.file.name for part in item.parts() if part.audio is not None and part.audio.file is not None]


def test_our_pairs(tmp_path: Path) -> None:
    write_sounds(tmp_path, "audio/a.wav", "audio/b.wav", "audio/c.wav")
    spoken = {"text": "a story", "audio": "audio/a.wav"}
    row = {"id": "x", "subset": "easy", "tokenizer": "abc", "context": spoken}
    write_lines(
        tmp_path,
        row | {"correct": {"text": "yes", "audio": "audio/b.wav"}, "incorrect": "audio/c.wav"},
        {"context": {"tokens": [1, 2], "id": "utterance-7"}, "correct": {"tokens": [3]}, "incorrect": {"tokens": [4]}},
    )
    found = read(tmp_path)
    first, second = found.items
    assert (first.id, first.subset, first.speech_tokenizer, first.correct) == ("x", "easy", "abc", 0)
    assert texts(first) == ("a story", "yes", None) and files(first) == ["a.wav", "b.wav", "c.wav"]
    assert [part.id for part in first.parts()] == ["a", "b", "c"], "a sound's id is its file's name"
    assert second.id == "set-00001" and second.context is not None and second.context.id == "utterance-7"
    assert [part.codes for part in second.parts()] == [(1, 2), (3,), (4,)]
    assert second.candidates[0].id == "set-00001-correct"


def test_several_wrong_candidates_and_none_of_a_context(tmp_path: Path) -> None:
    write_lines(tmp_path, {"id": 3, "correct": "a", "incorrect": ["b", "c"]})
    (item,) = read(tmp_path, "t2t").items
    assert (item.id, item.context, texts(item)) == ("3", None, (None, "a", "b", "c"))
    assert len({part.id for part in item.candidates}) == 3


def test_columns_of_sound_bytes(tmp_path: Path) -> None:
    columns = {"positive": 0.1, "negative": 0.2}
    row = {name: {"bytes": encode_wav(sound(level)), "path": None} for name, level in columns.items()}
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "sStoryCloze.parquet")
    (item,) = read(tmp_path, name="story_cloze").items
    levels = [part.audio.read()[0] for part in item.candidates if part.audio is not None]
    assert levels == pytest.approx([0.1, 0.2], abs=1e-3), "the positive one is first"


def test_hellaswag(tmp_path: Path) -> None:
    row = {
        "ind": 24,
        "activity_label": "Roof shingle removal",
        "ctx_a": "A man is sitting on a roof.",
        "ctx_b": "he",
        "ctx": "A man is sitting on a roof. he",
        "endings": ["is using wrap [step] to wrap  skis.", "is ripping tiles.", "holds a cube.", "starts pulling up."],
        "label": "3",
    }
    write_lines(tmp_path, row, {key: row[key] for key in ("ctx", "endings")} | {"label": 0})
    first, second = read(tmp_path, "t2t", name="hellaswag").items
    assert texts(first)[0] == "Roof shingle removal: A man is sitting on a roof. He"
    assert texts(first)[1] == "is using wrap to wrap skis." and first.correct == 3 and first.id == "24"
    assert texts(second)[0] == row["ctx"] and second.correct == 0


def test_hellaswag_counts_in_each_of_its_two_sources(tmp_path: Path) -> None:
    """433 numbers of the published validation set stand in both."""
    row = {"ind": 180, "ctx": "a man", "endings": ["sits", "stands"], "label": "0"}
    write_lines(tmp_path, row | {"source_id": "activitynet~v_0"}, row | {"source_id": "wikihow~299"})
    read_set = read(tmp_path, "t2t", name="hellaswag")
    assert [item.id for item in read_set.items] == ["activitynet~v_0/180", "wikihow~299/180"] and not read_set.left_out


def test_copa(tmp_path: Path) -> None:
    row = {
        "premise": "My body cast a shadow over the grass.",
        "choice1": "The sun was rising.",
        "choice2": "It rained.",
    }
    write_lines(tmp_path, row | {"question": "cause", "label": 0}, row | {"question": "effect", "label": 1, "idx": 5})
    first, second = read(tmp_path, "t2t", name="copa").items
    assert texts(first) == ("My body cast a shadow over the grass because", "the sun was rising.", "it rained.")
    assert texts(second)[0] == "My body cast a shadow over the grass therefore"
    assert (first.correct, second.correct, second.id) == (0, 1, "5")


def test_story_cloze_csv(tmp_path: Path) -> None:
    columns = ["InputStoryid", *(f"InputSentence{number}" for number in range(1, 5))]
    columns += ["RandomFifthSentenceQuiz1", "RandomFifthSentenceQuiz2", "AnswerRightEnding"]
    with (tmp_path / "cloze.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([columns, ["s1", "A.", "B.", "C, c.", "D.", "bad end", "good end", "2"]])
    (item,) = read(tmp_path, "t2t", name="story_cloze").items
    assert (item.id, item.correct, texts(item)) == ("s1", 1, ("A. B. C, c. D.", "bad end", "good end"))


@pytest.mark.parametrize(("name", "separator"), [("story_cloze", "_"), ("sblimp", "+"), ("swuggy", "_")])
def test_numbered_sounds(name: str, separator: str, tmp_path: Path) -> None:
    write_sounds(tmp_path, *(f"{number}{separator}some_{number}+x.wav" for number in (10, 2, 11, 3)))
    found = read(tmp_path, name=name)
    assert [item.id for item in found.items] == ["1", "5"]
    assert [files(item)[0].split(separator)[0] for item in found.items] == ["2", "10"], "the even one is right"
    assert [files(item)[1].split(separator)[0] for item in found.items] == ["3", "11"]


def test_a_missing_sound_shifts_no_other_pair(tmp_path: Path) -> None:
    write_sounds(tmp_path, "0_a.wav", "2_a.wav", "3_a.wav", "5_a.wav", "name.wav", "6_a.wav", "6_b.wav")
    with pytest.raises(UserError, match="4 of 5") as error:
        read(tmp_path, name="story_cloze")
    assert "name.wav" in str(error.value)
    found = read(tmp_path, name="story_cloze", max_bad_share=0.8)
    assert [files(item) for item in found.items] == [["2_a.wav", "3_a.wav"]]
    reasons = [bad.reason for bad in found.left_out]
    assert any("5_a.wav: no pair (numbers 4 and 5)" in reason for reason in reasons)


def test_salmon(tmp_path: Path) -> None:
    write_sounds(tmp_path, "gender_consistency/sample_4_b.wav", "gender_consistency/sample_4_a.wav")
    write_sounds(tmp_path, "bg_alignment/sample_0_1.wav", "bg_alignment/sample_0_2.wav")
    first, second = read(tmp_path, name="salmon").items
    assert (first.subset, files(first)) == ("bg_alignment", ["sample_0_1.wav", "sample_0_2.wav"])
    assert (second.subset, files(second)) == ("gender_consistency", ["sample_4_a.wav", "sample_4_b.wav"])


def test_salmon_as_a_data_set_has_a_folder_for_each_part(tmp_path: Path) -> None:
    for number, part in enumerate(("rir_consistency", "bg_alignment")):
        rows = [
            {
                "ind": at,
                "positive_audio": {"bytes": encode_wav(sound(0.1 + number / 10)), "path": f"{at}.wav"},
                "negative_audio": {"bytes": encode_wav(sound(0.5)), "path": f"{at}.wav"},
            }
            for at in range(2)
        ]
        (tmp_path / part).mkdir()
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / part / "train-00000-of-00001.parquet")
    found = read(tmp_path, name="salmon")
    assert [item.id for item in found.items] == [
        f"{part}/{at}" for part in ("bg_alignment", "rir_consistency") for at in range(2)
    ]
    assert [item.subset for item in found.items] == ["bg_alignment"] * 2 + ["rir_consistency"] * 2
    levels = [part.audio.read()[0] for part in found.items[0].candidates if part.audio is not None]
    assert levels == pytest.approx([0.2, 0.5], abs=1e-3), "the positive one is right"


def test_folders_above_a_part_do_not_name_it(tmp_path: Path) -> None:
    write_sounds(tmp_path / "salmon_benchmark" / "bg_all_consistency", "sample_3_a.wav", "sample_3_b.wav")
    (item,) = read(tmp_path, name="salmon").items
    assert (item.id, item.subset) == ("bg_all_consistency/3", "bg_all_consistency")


def write_gold(folder: Path, header: str, *lines: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "gold.csv").write_text("\n".join([header, *lines]) + "\n")
    return folder


def test_zerospeech_words(tmp_path: Path) -> None:
    header = "id,filename,voice,frequency,word,phones,length,correct"
    lines = ["7,aa,A,12,brick,B R IH K,4,1", "7,cc,B,12,brick,B R IH K,4,1", "7,bb,A,12,blick,B L IH K,4,0"]
    lines += ["8,ee,A,0,qat,K AE T,3,0", "8,dd,A,0,yurt,Y ER T,3,1", "7,ff,B,12,blick,B L IH K,4,0"]
    write_gold(write_sounds(tmp_path / "lexical" / "dev", *(f"{n}.wav" for n in ("aa", "bb", "cc", "dd", "ee", "ff"))),
               header, *lines)  # fmt: skip
    found = read(tmp_path, "s2s", "t2t", name="swuggy")
    assert [(item.id, item.subset, files(item), texts(item)) for item in found.items] == [
        ("7/A", "in_vocabulary", ["aa.wav", "bb.wav"], (None, "brick", "blick")),
        ("7/B", "in_vocabulary", ["cc.wav", "ff.wav"], (None, "brick", "blick")),
        ("8/A", "oov", ["dd.wav", "ee.wav"], (None, "yurt", "qat")),
    ]


def test_zerospeech_sentences_that_lack_a_row_or_a_sound_shift_no_other_pair(tmp_path: Path) -> None:
    header = "id,filename,voice,type,subtype,transcription,correct"
    rows = [f"{n},{side}{n},A,agreement,s,the dogs bark {n},{right}" for n in range(5) for side, right in ("y1", "n0")]
    del rows[3]  # the wrong one of pair 1
    rows[-1] = rows[-1][:-1] + "no"
    names = [f"{side}{n}.wav" for n in range(5) for side in "yn"]
    folder = write_gold(write_sounds(tmp_path / "dev", *names), header, *rows)
    (folder / "y3.wav").unlink()
    with pytest.raises(UserError, match="4 of 6"):
        read(tmp_path, name="sblimp")
    found = read(tmp_path, name="sblimp", max_bad_share=0.7)
    assert [files(item) for item in found.items] == [["y0.wav", "n0.wav"], ["y2.wav", "n2.wav"]]
    assert {item.subset for item in found.items} == {"agreement"}
    reasons = " ".join(bad.reason for bad in found.left_out)
    for words in ("1 right and 0 wrong rows of id '1'", "no speech of a candidate", "'no', neither 1 nor 0"):
        assert words in reasons


def test_a_story_without_its_right_end_is_named(tmp_path: Path) -> None:
    write_sounds(tmp_path, "a_mutual.wav", "a_incorrect.wav", "b_mutual.wav", "b_correct.wav", "b_incorrect.wav")
    found = read(tmp_path, name="story_cloze", max_bad_share=0.5)
    assert [item.id for item in found.items] == ["b"]
    assert [bad.reason for bad in found.left_out] == ["no a_correct.wav or .txt"]


def test_cross_modal(tmp_path: Path) -> None:
    for story in ("s1", "s2"):
        write_sounds(tmp_path, *(f"{story}_{part}.wav" for part in ("mutual", "correct", "incorrect")))
        for part in ("mutual", "correct", "incorrect"):
            (tmp_path / f"{story}_{part}.txt").write_text(f"{story} {part}\n")
    for direction in ("s2s", "s2t", "t2s", "t2t"):
        first, second = read(tmp_path, direction, name="topic_story_cloze").items
        assert texts(first) == ("s1 mutual", "s1 correct", "s1 incorrect") and second.id == "s2"
        wanted = [] if direction == "t2t" else ["s1_mutual.wav", "s1_correct.wav", "s1_incorrect.wav"]
        assert files(first) == wanted
    (tmp_path / "s2_incorrect.wav").unlink()
    (tmp_path / "s1_correct.txt").write_text(" \n")
    assert len(read(tmp_path, "t2t", max_bad_share=0.5).items) == 1, "s1's text is empty"
    with pytest.raises(UserError, match=r"no speech of a candidate, which s2s needs|s1_correct\.txt is empty"):
        read(tmp_path, "s2s")


BAD: dict[str, tuple[Any, str]] = {
    "no JSON": ("{", "line 1"),
    "no columns of a set": ({"question": "x"}, "columns question: none of correct"),
    "no wrong candidate": ({"correct": "a"}, "incorrect is None"),
    "an empty text": ({"correct": "a", "incorrect": " "}, "no text"),
    "no speech": ({"correct": {"text": "a"}, "incorrect": {"tokens": [1]}}, "no speech of a candidate"),
    "a missing file": ({"correct": "a.wav", "incorrect": "b.wav"}, "no audio file"),
    "empty tokens": ({"correct": {"tokens": []}, "incorrect": {"tokens": [1]}}, "tokens of correct"),
    "tokens that are none": ({"correct": {"tokens": [1]}, "incorrect": {"tokens": [True]}}, "tokens of incorrect"),
    "an empty part": ({"correct": {"id": "x", "text": None}, "incorrect": {"tokens": [1]}}, "correct has no text"),
    "no label": ({"ctx": "a", "endings": ["b", "c"], "label": ""}, "label"),
    "a label too large": ({"ctx": "a", "endings": ["b", "c"], "label": 2}, "label '2' is no number of one of 2"),
    "endings that are none": ({"ctx": "a", "endings": ["b", ""], "label": 0}, "endings is no list of texts"),
    "another question": ({"premise": "a", "choice1": "b", "choice2": "c", "question": "why", "label": 0}, "'why'"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_rows_are_named_and_counted(name: str, tmp_path: Path) -> None:
    row, words = BAD[name]
    good = {"correct": {"tokens": [1]}, "incorrect": {"tokens": [2]}}
    write_lines(tmp_path, row, good)
    with pytest.raises(UserError, match=r"1 of 2") as error:
        read(tmp_path)
    assert words in str(error.value)
    found = read(tmp_path, max_bad_share=0.5)
    assert len(found.items) == len(found.left_out) == 1


def test_ids_come_once_and_equal_items_are_counted(tmp_path: Path) -> None:
    row = {"correct": "a", "incorrect": "b"}
    write_lines(tmp_path, row | {"id": "x"}, row | {"id": "y"}, row | {"id": "x"})
    found = read(tmp_path, "t2t", max_bad_share=0.5)
    assert [item.id for item in found.items] == ["x", "y"] and found.repeated == 1
    assert "'x' was used before" in found.left_out[0].reason


def changed_text(folder: Path) -> None:
    write_lines(folder, {"id": "x", "correct": "a.wav", "incorrect": "b.wav", "subset": "other"})


def changed_sound(folder: Path) -> None:
    write_audio(folder / "b.wav", sound(0.5))


@pytest.mark.parametrize("change", [changed_text, changed_sound])
def test_the_digest_is_of_all_content(change: Callable[[Path], None], tmp_path: Path) -> None:
    write_sounds(tmp_path, "a.wav", "b.wav")
    write_lines(tmp_path, {"id": "x", "correct": "a.wav", "incorrect": "b.wav"})
    before = read(tmp_path).digest
    assert read(tmp_path).digest == before
    change(tmp_path)
    assert read(tmp_path).digest != before


def test_nothing_there(tmp_path: Path) -> None:
    for source in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(UserError, match="no table of an evaluation set"):
            read(source)
