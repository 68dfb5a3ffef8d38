import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from corpus.audio.files import audio_info
from corpus.build import STAGE
from corpus.manifest import read_manifest, to_cuts
from corpus.world.build_config import BuildConfig
from corpus.world.dialogues import read_question_dialogues
from runtime.artefact import file_digest
from runtime.bulk.job import UnitFolder
from runtime.errors import UserError
from tests.support.commands import Commands
from tests.support.odd_audio import SECONDS, check_warnings, write_odd_audio
from tests.support.permits import Permits, is_group_running, wait_for

SMALL = {
    "num_utterances": 40,
    "answer_voice_utterances": 8,
    "heldout_utterances": 12,
    "num_texts": 60,
    "num_heldout_texts": 10,
    "situations": 4,
    "engines": "espeak",
}
OUTPUTS_OF_SPEECH = ("train", "heldout_sentence", "heldout_voice", "heldout_words", "heldout_dialogue")
DIALOGUES = {"train": "", "heldout_dialogue": "_heldout"}
OUTPUTS = ("train.jsonl", "heldout_sentence.jsonl", "heldout_voice.jsonl", "questions.jsonl", "texts.jsonl")
OUTPUTS += ("texts_heldout.jsonl", "sentences.txt", "voices.json", "audio", "heldout_dialogue.jsonl")
OUTPUTS += ("dialogues.jsonl", "dialogues_heldout.jsonl")


def build(folder: Path, **options: Any) -> dict[str, Any]:
    return STAGE.execute(BuildConfig(out=str(folder), **(SMALL | options)))


def digests(folder: Path) -> dict[str, str]:
    return {name: file_digest(folder / name) for name in OUTPUTS}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus") / "built"
    build(folder, workers=1)
    return folder


def test_outputs(built: Path) -> None:
    metrics = json.loads((built / "metrics.json").read_text())
    assert metrics["num_voices"] >= 12
    assert metrics["bad_records"] == 0
    manifests = {split: read_manifest(built / f"{split}.jsonl") for split in OUTPUTS_OF_SPEECH}
    texts = {split: {u.text for u in manifest.utterances} for split, manifest in manifests.items()}
    speakers = {split: {u.speaker for u in manifest.utterances} for split, manifest in manifests.items()}
    assert not texts["train"] & (texts["heldout_sentence"] | texts["heldout_voice"])
    assert not speakers["heldout_voice"] & (speakers["train"] | speakers["heldout_sentence"])
    for manifest in manifests.values():
        for utterance in manifest.utterances:
            info = audio_info(utterance.audio)
            assert info.sample_rate == 16000 and info.num_channels == 1
            assert abs(info.duration - utterance.duration) < 1e-5
    questions = [json.loads(line) for line in (built / "questions.jsonl").read_text().splitlines()]
    replies = {u.text for u in manifests["train"].utterances if u.kind == "reply"}
    dialogues = {split: read_question_dialogues(built / f"dialogues{tag}.jsonl") for split, tag in DIALOGUES.items()}
    later = {turn.reply for one in dialogues["train"] for turn in one.turns}
    assert {question["reply"] for question in questions} | later <= replies
    for split, asked in dialogues.items():
        spoken_as = {u.id: (u.text, u.speaker) for u in manifests[split].utterances}
        for one in asked:
            assert [spoken_as[turn.utterance][0] for turn in one.turns] == [turn.question for turn in one.turns]
            assert len({spoken_as[turn.utterance][1] for turn in one.turns}) == 1
    held_out = {question["question"] for question in questions if question["split"] == "heldout"}
    assert held_out
    assert not any(question in (built / "texts.jsonl").read_text() for question in held_out)
    spoken = set((built / "sentences.txt").read_text().splitlines())
    assert {question["question"] for question in questions} | replies <= spoken


def test_lhotse_reads_the_manifests(built: Path) -> None:
    manifest = read_manifest(built / "heldout_voice.jsonl")
    cuts = to_cuts(manifest)
    assert len(cuts) == len(manifest.utterances)
    assert next(iter(cuts)).load_audio().shape[1] == round(manifest.utterances[0].duration * 16000)


def test_the_number_of_workers_changes_no_byte(built: Path, tmp_path: Path) -> None:
    build(tmp_path / "again", workers=3)
    assert digests(tmp_path / "again") == digests(built)


def test_fragments_come_after_all_else_and_change_none_of_it(built: Path, tmp_path: Path) -> None:
    metrics = build(tmp_path / "more", fragments=30, fragment_words=6)
    lines = (tmp_path / "more" / "train.jsonl").read_text().splitlines()
    assert "\n".join(lines[:-30]) + "\n" == (built / "train.jsonl").read_text()
    fragments = read_manifest(tmp_path / "more" / "train.jsonl").utterances[-30:]
    assert {utterance.kind for utterance in fragments} == {"fragment"}
    assert all(utterance.duration > 0.1 for utterance in fragments)
    assert metrics["num_utterances.train"] == len(lines)
    for name in set(OUTPUTS) - {"train.jsonl", "audio"}:
        assert file_digest(tmp_path / "more" / name) == file_digest(built / name)
    before = {file.relative_to(built): file_digest(file) for file in built.glob("audio/*/*.flac")}
    after = {file.relative_to(tmp_path / "more"): file_digest(file) for file in tmp_path.glob("more/audio/*/*.flac")}
    assert before.items() <= after.items() and len(after) == len(before) + 30


def test_a_killed_build_goes_on_to_the_same_bytes(built: Path, tmp_path: Path, commands: Commands) -> None:
    folder, permits = tmp_path / "killed", Permits(tmp_path / "permits")
    options = [f"{key}={value}" for key, value in (SMALL | {"workers": 2}).items()]
    process = commands.sabotaged(f"permits={permits.folder}", "corpus.build", f"out={folder}", *options)
    permits.give(3)
    wait_for(lambda: len(list(folder.glob("units/speech/done/*.json"))) >= 1)
    assert process.poll() is None
    process.kill()
    process.wait()
    wait_for(lambda: not is_group_running(process.pid))  # the workers leave with their parent
    done = [record.result for _, record in UnitFolder(folder / "units/speech").records()]
    kept = [path for path in folder.glob("audio/*/[!.]*.flac") if any(path.stem in result for result in done)]
    assert kept and not (folder / "done.json").exists()
    marks = {path: path.stat().st_mtime_ns for path in kept}
    build(folder, workers=2)
    assert digests(folder) == digests(built)
    assert all(path.stat().st_mtime_ns == mark for path, mark in marks.items())


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """A user's manifest of 40 recordings, some at 44.1 kHz in stereo."""
    rng = np.random.default_rng(1)
    rows = []
    for number in range(40):
        rate, channels = ((44100, 2), (16000, 1), (8000, 1))[number % 3]
        path = tmp_path / "mine" / f"{number}.wav"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, rng.normal(0, 0.1, (rate, channels)), rate)
        rows.append({"audio_filepath": path.name, "duration": 1.0, "text": f"My Text, {number}!", "speaker": "ann"})
    manifest = tmp_path / "mine" / "manifest.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return manifest


TINY = {"workers": 1, "num_utterances": 0, "answer_voice_utterances": 0, "heldout_utterances": 10, "num_texts": 1}


def test_own_recordings_are_added(recordings: Path, tmp_path: Path) -> None:
    metrics = build(tmp_path / "out", manifest=str(recordings), heldout_share=0.25, **TINY)
    assert metrics["num_user_utterances"] == 40
    splits = {split: read_manifest(tmp_path / "out" / f"{split}.jsonl").utterances for split in OUTPUTS_OF_SPEECH}
    mine = {split: [u for u in utterances if u.kind == "user"] for split, utterances in splits.items()}
    assert len(mine["train"]) + len(mine["heldout_sentence"]) == 40
    assert len(mine["heldout_sentence"]) > 3
    assert not mine["heldout_voice"]
    for utterance in (*mine["train"], *mine["heldout_sentence"]):
        assert utterance.speaker == "ann"
        assert utterance.text.startswith("my text ")
        info = audio_info(utterance.audio)
        assert (info.sample_rate, info.num_samples, info.num_channels) == (16000, 16000, 1)


def spoil(manifest: Path, line: int, how: str) -> None:
    rows = manifest.read_text().splitlines()
    row = json.loads(rows[line])
    audio = manifest.parent / row["audio_filepath"]
    if how == "missing audio":
        audio.unlink()
    elif how == "corrupt audio":
        audio.write_bytes(b"RIFF and nothing more")
    elif how == "NaN audio":
        soundfile.write(audio, np.full(16000, np.nan), 16000, subtype="FLOAT")
    elif how == "short audio":
        soundfile.write(audio, np.zeros(100), 16000)
        rows[line] = json.dumps(row | {"duration": 100 / 16000})
    elif how == "half of the audio":
        audio.write_bytes(audio.read_bytes()[: audio.stat().st_size // 2])
    elif how == "empty transcript":
        rows[line] = json.dumps(row | {"text": " "})
    elif how == "no words":
        rows[line] = json.dumps(row | {"text": "?!"})
    else:
        rows[line] = "{not json"
    manifest.write_text("\n".join(rows) + "\n")


BAD = {
    "missing audio": r"line 3: no audio file .*2\.wav",
    "corrupt audio": r"2\.wav: not readable as audio",
    "NaN audio": r"2\.wav: NaN or infinite",
    "half of the audio": r"2\.wav: 0\.4[0-9]+ s of audio, but a duration of 1\.000 s",
    "short audio": r"2\.wav: only 0\.006 s long",
    "empty transcript": r"line 3: an empty transcript",
    "no words": r"manifest-0000003: no words in the transcript",
    "not JSON": r"line 3: not JSON",
}


@pytest.mark.parametrize("how", BAD)
def test_a_bad_record_is_named(recordings: Path, tmp_path: Path, how: str) -> None:
    spoil(recordings, 2, how)
    with pytest.raises(UserError, match=BAD[how] + r".*; 1 of 40 records are bad.*max_bad_share"):
        build(tmp_path / "out", manifest=str(recordings), **TINY)


def test_few_bad_records_are_left_out_and_counted(recordings: Path, tmp_path: Path) -> None:
    for line, how in enumerate(BAD):
        spoil(recordings, line, how)
    metrics = build(tmp_path / "out", manifest=str(recordings), max_bad_share=0.2, **TINY)
    assert (metrics["bad_records"], metrics["num_user_utterances"]) == (8, 32)
    bad = json.loads((tmp_path / "out" / "bad_records.json").read_text())["bad_records"]
    assert len(bad) == 8


def test_segments_of_a_recording_are_added_as_segments(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(1).normal(0, 0.1, 24000), 16000)
    rows = [
        {"audio_filepath": "a.wav", "offset": at / 2, "duration": 0.5, "text": f"part {at}", "id": str(at)}
        for at in range(3)
    ]
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    metrics = build(tmp_path / "out", manifest=str(tmp_path / "m.jsonl"), **TINY)
    assert (metrics["num_user_utterances"], metrics["bad_records"]) == (3, 0)
    found = [
        utterance
        for split in ("train", "heldout_sentence")
        for utterance in read_manifest(tmp_path / "out" / f"{split}.jsonl").utterances
        if utterance.kind == "user"
    ]
    source = soundfile.read(tmp_path / "a.wav")[0]
    for utterance in found:
        at = int(utterance.id.removeprefix("user-"))
        assert utterance.text == f"part {('zero', 'one', 'two')[at]}"
        assert (utterance.duration, utterance.offset) == (0.5, None)
        np.testing.assert_allclose(soundfile.read(utterance.audio)[0], source[at * 8000 : (at + 1) * 8000], atol=1e-4)


@pytest.mark.parametrize(
    "option", ["num_utterances=-1", "shares.story=0.5", "engines=festival", "heldout_share=0", "situations=1"]
)
def test_bad_options_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str) -> None:
    assert STAGE.main([f"out={tmp_path}", option]) == 2
    assert option.split("=")[0].split(".")[0] in capsys.readouterr().err


def test_recordings_that_look_wrong_are_counted(tmp_path: Path) -> None:
    files = write_odd_audio(tmp_path / "mine")
    manifest = tmp_path / "mine" / "manifest.jsonl"
    rows = [{"audio_filepath": file.name, "duration": SECONDS, "text": "red cat"} for file in files]
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    metrics = build(tmp_path / "out", manifest=str(manifest), max_bad_share=0.5, **TINY)
    assert (metrics["num_user_utterances"], metrics["bad_records"]) == (2, 1)
    check_warnings(tmp_path / "out", metrics)
