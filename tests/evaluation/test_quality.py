"""The whole table of speech quality."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import soundfile
import torch

from corpus.audio.files import read_audio, write_audio
from corpus.audio.mel import LogMel
from corpus.manifest import Utterance, write_manifest
from decoder.config import VocoderConfig
from decoder.vocoder import Vocoder
from evaluation import quality_score
from evaluation.judges.external_models import dnsmos_ratings
from evaluation.quality import STAGE
from evaluation.speech.config import NORMALISERS, QualityConfig
from evaluation.speech.measured_speech import MeasuredHeader, MeasuredSource, MeasuredSpeech, write_measured
from evaluation.speech.quality_measurement import measure
from evaluation.speech.speech_scoring import score_speech
from runtime.artefact import read_json
from runtime.errors import UserError
from runtime.stage import Run
from tests.support.commands import Commands
from tests.support.permits import Permits, wait_for

ROOT = Path(__file__).resolve().parents[2]

RATE = 16000


@pytest.fixture
def made(tmp_path: Path, spoken: dict[str, Path], sentences: list[str]) -> Path:
    """A corpus, a perfect resynthesis and a noisy one that lacks an utterance; one text is outside of the world."""
    generator = np.random.default_rng(0)
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "sentences.txt").write_text("\n".join(sentences) + "\n")
    items = [
        Utterance(f"u{number}", file, len(read_audio(file)) / RATE, text if number else "france is what", "anna")
        for number, (text, file) in enumerate(list(spoken.items())[:3])
    ]
    write_manifest(tmp_path / "corpus" / "heldout_sentence.jsonl", items)
    for name, noise in (("perfect", 0.0), ("noisy", 0.05)):
        copies = []
        for item in items[: 3 if name == "perfect" else 2]:
            audio, file = read_audio(item.audio), tmp_path / name / "audio" / f"{item.id}.flac"
            write_audio(file, audio + noise * generator.standard_normal(len(audio)).astype(np.float32))
            copies.append(Utterance(item.id, file, item.duration, item.text, "anna"))
        write_manifest(tmp_path / name / "manifest.jsonl", copies)
    return tmp_path


class Loudness(torch.nn.Module):
    """Stands for a naturalness predictor: the same call, a score that is easy to check."""

    def forward(self, audio: torch.Tensor, sample_rate: int) -> torch.Tensor:
        return audio.abs().max() * sample_rate


def test_the_whole_table(made: Path) -> None:
    predictor = made / "utmos.pt"
    torch.jit.script(Loudness()).save(str(predictor))  # type: ignore[no-untyped-call]
    options = {"out": str(made / "out"), "corpus": str(made / "corpus"), "processes": 1, "sheets": 1}
    folders = {"perfect": str(made / "perfect"), "noisy": str(made / "noisy")}
    metrics = STAGE.execute(QualityConfig(resynthesis=folders, utmos=str(predictor), **options))  # type: ignore[arg-type]
    assert metrics["recordings.utterances"] == metrics["perfect.utterances"] == 3 and metrics["noisy.utterances"] == 2
    assert metrics["perfect.judge_wer"] == metrics["recordings.judge_wer"]
    assert metrics["perfect.mel_cepstral_distance"] == 0 < metrics["noisy.mel_cepstral_distance"]
    assert metrics["noisy.stoi"] < metrics["perfect.stoi"] and metrics["noisy.pesq"] < metrics["perfect.pesq"]
    assert metrics["recordings.utmos"] == pytest.approx(metrics["perfect.utmos"])
    assert metrics["recordings.utmos"] > 100  # a tenth of the sample rate, say: it was called with it
    assert "recordings.stoi" not in metrics and "noisy.voice_likeness" not in metrics
    rows = [json.loads(line) for line in (made / "out" / "details.jsonl").read_text().splitlines()]
    assert len(rows) == 8
    assert [row["id"] for row in rows if "judge" not in row] == ["u0", "u0", "u0"]  # outside of the closed world
    text = (made / "out" / "quality.md").read_text()
    assert "| recordings | 3 |" in text and "| noisy | 2 |" in text and "time warping" in text
    assert (made / "out" / "sheets" / "01.png").stat().st_size > 5000
    assert not (made / "out" / "sheets" / "02.png").exists()
    assert metrics["recordings.hop_modulation"] == metrics["perfect.hop_modulation"] > metrics["noisy.hop_modulation"]
    assert "hop modulation, %" in text
    page = (made / "out" / "listening.html").read_text()
    linked = [made / "out" / file for file in re.findall(r'src="(sounds/[^"]+)"', page)]
    assert [file.stem for file in linked] == ["01-recordings", "01-perfect", "01-noisy"]
    assert read_audio(linked[1]).tobytes() == read_audio(made / "perfect/audio/u0.flac").tobytes()
    assert page.count("<td>recordings</td>") == 2  # in the table and on the sheet


def test_the_command_line_names_rows(made: Path) -> None:
    arguments = [f"out={made}/line", f"corpus={made}/corpus", f"resynthesis.perfect={made}/perfect", "processes=1"]
    assert STAGE.main([*arguments, "sheets=0", "limit=1"]) == 0
    assert "| perfect | 1 |" in (made / "line" / "quality.md").read_text()


def test_a_vocoder_has_a_row_of_recordings_through_it_alone(
    made: Path, spoken: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    vocoder = Vocoder(VocoderConfig(width=16, layers=1)).eval()
    vocoder.save_pretrained(made / "vocoder" / "artefact")
    arguments = [f"out={made}/copied", f"corpus={made}/corpus", f"resynthesis.noisy={made}/noisy", "processes=1"]
    assert STAGE.main([*arguments, f"vocoder={made}/vocoder", "frame_rate=86.1328125"]) == 2
    assert "frame_rate: 86.1328125, but" in capsys.readouterr().err  # a buzz at 100 Hz would not be found
    assert STAGE.main([*arguments, f"vocoder={made}/vocoder", "sheets=1"]) == 0
    metrics = json.loads((made / "copied" / "metrics.json").read_text())
    assert metrics["copy_synthesis.utterances"] == 2 and metrics["copy_synthesis.mel_cepstral_distance"] > 1
    assert metrics["copy_synthesis.hop_modulation"] > metrics["recordings.hop_modulation"]
    recorded, copied = read_audio(next(iter(spoken.values()))), read_audio(made / "copied/copy_synthesis/u0.flac")
    assert len(copied) == len(recorded)
    padded = torch.from_numpy(np.pad(recorded, (0, -len(recorded) % 160)))[None]
    expected = vocoder(LogMel()(padded))[0, : len(recorded)].detach().numpy()
    np.testing.assert_allclose(copied, np.clip(expected, -1, 1), atol=1e-4)
    assert (made / "copied" / "sounds" / "01-copy_synthesis.flac").is_file()


def test_a_table_has_what_was_measured(tmp_path: Path) -> None:
    spoken = {"id": "a", "speaker": "", "text": "one two three four"}
    rows = [spoken | {"judge": "one two three five", "stoi": 0.5}, spoken | {"id": "b", "judge": "one two three four"}]
    write_rows(tmp_path, {"recordings": [spoken], "made": [rows[0], rows[1] | {"stoi": None}]})
    scores = score_speech(tmp_path, tmp_path, "spoken", 1)
    made = scores["made"].means
    assert {name: mean.micro for name, mean in made.items()} == {"judge_wer": 0.125, "stoi": 0.5}
    assert made["judge_wer"].interval == (0, 0.25) and made["stoi"].items == 1
    text = (tmp_path / "quality.md").read_text()
    assert (
        "| recordings | 1 | - | - |" in text and "| made | 2 | 12.50 (0.00 to 25.00) | 0.500 (0.500 to 0.500) |" in text
    )
    stamps = {one["stamp"]["rule"]: one["stamp"] for one in read_json(tmp_path / "scores.json")["scores"]}
    assert stamps["judge_wer"] | {"recogniser": "a judge", "items": 2, "failures": 0} == stamps["judge_wer"]
    assert stamps["stoi"] | {"recogniser": "", "normaliser": "", "items": 1, "failures": 1} == stamps["stoi"]


def write_rows(folder: Path, rows: Mapping[str, Sequence[dict[str, Any]]]) -> None:
    sources = tuple(MeasuredSource(name=name, data_digest="d", audio_digest="a", left_out=0) for name in rows)
    header = MeasuredHeader(
        data="corpus", limit=0, seed=1, frame_rate=100.0, sources=sources, measured_by={"judge": "a judge"}
    )
    named = {name: [row | {"part": name} for row in some] for name, some in rows.items()}
    write_measured(folder, MeasuredSpeech(header, named, {}))


def test_normalisers_differ_in_what_they_call_an_error(tmp_path: Path) -> None:
    row = {"id": "a", "speaker": "", "text": "it's two o'clock mister brown", "asr": "It is 2 o'clock, Mr. Brown."}
    write_rows(tmp_path, {"recordings": [row]})
    errors = {
        form: score_speech(tmp_path, tmp_path, form, 1)["recordings"].means["asr_wer"].micro for form in NORMALISERS
    }
    assert errors["whisper"] == 0 < errors["spoken"]
    write_rows(tmp_path, {"recordings": [{"id": "a", "speaker": "", "text": "你好世界", "asr": "你好世间"}]})
    assert score_speech(tmp_path, tmp_path, "whisper", 1)["recordings"].means["asr_wer"].micro == 0.25
    stamp = read_json(tmp_path / "scores.json")["scores"][0]["stamp"]
    assert stamp["normaliser"].startswith("by character")


def test_a_measurement_that_is_missing_or_broken_is_explained(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no measured\.json"):
        score_speech(tmp_path, tmp_path, "spoken", 1)
    write_rows(tmp_path, {"recordings": [{"id": "a", "speaker": "", "text": "one"}]})
    with (tmp_path / "details.jsonl").open("a") as file:
        file.write('{"part": "another"}\n')
    with pytest.raises(UserError, match=r"details\.jsonl, line 2: a row of no source"):
        score_speech(tmp_path, tmp_path, "spoken", 1)


def test_scoring_again_gives_the_same_bytes(made: Path) -> None:
    folders = [f"resynthesis.{name}={made}/{name}" for name in ("perfect", "noisy")]
    assert STAGE.main([f"out={made}/out", f"corpus={made}/corpus", *folders, "processes=1", "sheets=0"]) == 0
    assert quality_score.STAGE.main([f"measured={made}/out", f"out={made}/again"]) == 0
    for name in ("scores.json", "quality.md"):
        assert (made / "out" / name).read_bytes() == (made / "again" / name).read_bytes()
    scores = read_json(made / "out" / "scores.json")["scores"]
    judged = next(one for one in scores if one["stamp"]["model"] == "noisy" and one["stamp"]["rule"] == "judge_wer")
    stamp, (mean,) = judged["stamp"], judged["score"]["means"].values()
    assert stamp["items"] == 1 and judged["score"]["notes"] == {"not measured": 1}  # u0 is outside of the world
    assert stamp["recogniser"].startswith("closed world ") and stamp["normaliser"] and stamp["data_digest"]
    assert mean["interval"][0] <= mean["micro"] <= mean["interval"][1]
    hops = {one["stamp"]["model"]: one["score"]["means"] for one in scores if one["stamp"]["rule"] == "hop_modulation"}
    assert set(hops) == {"recordings", "perfect", "noisy"}
    for means in hops.values():
        low, high = means["hop_modulation"]["interval"]
        assert 0 <= low < means["hop_modulation"]["micro"] < high
    digests = {(one["stamp"]["model"], one["stamp"]["data_digest"]) for one in scores}
    assert len(digests) == 3  # one a source, and that of the source that lacks an utterance is another
    assert len({digest for _, digest in digests}) == 2


def test_a_recogniser_is_kept_file_by_file_through_a_kill(made: Path, commands: Commands) -> None:
    """The corpus's own judge in the recogniser's place: it hears what it would hear in one go."""
    words = [f"corpus={made}/corpus", f"resynthesis.perfect={made}/perfect", f"asr={made}/corpus", "processes=1"]
    words += ["limit=2"]
    permits = Permits(made / "permits")
    permits.give(2)
    hook, out = f"files={permits.folder}", f"out={made}/killed"
    job = commands.sabotaged(hook, "evaluation.quality", out, *words, "sheets=0")
    journal = made / "killed" / "recognised.jsonl"
    wait_for(lambda: journal.exists() and journal.read_bytes().count(b"\n") == 2)
    job.kill()
    job.wait()
    first = journal.read_bytes()
    for out in ("killed", "whole"):
        assert STAGE.main([f"out={made}/{out}", *words, "sheets=0"]) == 0
    assert journal.read_bytes().startswith(first) and journal.read_bytes().count(b"\n") == 4
    for name in ("details.jsonl", "roughness.jsonl", "measured.json", "scores.json", "quality.md", "metrics.json"):
        assert (made / "killed" / name).read_bytes() == (made / "whole" / name).read_bytes()


def test_a_segment_of_a_longer_recording_is_heard_alone(made: Path) -> None:
    manifest = made / "corpus" / "heldout_sentence.jsonl"
    records = [json.loads(line) for line in manifest.read_text().splitlines()]
    audio = read_audio(made / "corpus" / records[1]["audio_filepath"])
    write_audio(made / "long.wav", np.concatenate([read_audio(made / "corpus" / records[0]["audio_filepath"]), audio]))
    start = len(read_audio(made / "corpus" / records[0]["audio_filepath"])) / RATE
    records[1] |= {"audio_filepath": "../long.wav", "offset": start, "duration": len(audio) / RATE}
    manifest.write_text("".join(json.dumps(record) + "\n" for record in records))
    assert (
        STAGE.main([f"out={made}/out", f"corpus={made}/corpus", f"resynthesis.perfect={made}/perfect", "processes=1"])
        == 0
    )
    rows = [json.loads(line) for line in (made / "out" / "details.jsonl").read_text().splitlines()]
    heard = {row["part"]: row["judge"] for row in rows if row["id"] == "u1"}
    assert heard["recordings"] == heard["perfect"] == rows[1]["text"]


def test_a_recording_that_is_gone_is_named(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = json.loads((made / "corpus" / "heldout_sentence.jsonl").read_text().splitlines()[1])
    gone = made / "gone.flac"
    text = (made / "corpus" / "heldout_sentence.jsonl").read_text().replace(record["audio_filepath"], "../gone.flac")
    (made / "corpus" / "heldout_sentence.jsonl").write_text(text)
    assert STAGE.main([f"out={made}/out", f"corpus={made}/corpus", f"resynthesis.perfect={made}/perfect"]) == 2
    assert str(gone.name) in capsys.readouterr().err


def test_a_recogniser_that_is_not_there_is_refused_first(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [f"corpus={made}/corpus", f"resynthesis.perfect={made}/perfect", f"asr={made}/perfect"]
    assert STAGE.main([f"out={made}/out", *words]) == 2
    error = capsys.readouterr().err
    assert "option asr=" in error and "no recogniser there" in error
    assert not (made / "out" / "heard").exists()


def test_wrong_options_are_explained() -> None:
    with pytest.raises(UserError, match="name at least one"):
        QualityConfig(out="x", corpus="x", resynthesis={})
    with pytest.raises(UserError, match="recordings' own row"):
        QualityConfig(out="x", corpus="x", resynthesis={"recordings": "x"})
    with pytest.raises(UserError, match="vocoder's own row"):
        QualityConfig(out="x", corpus="x", resynthesis={"copy_synthesis": "x"})


def test_ratings_without_their_package_are_refused_before_anything_is_measured(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    config = QualityConfig(
        out=str(made / "out"), corpus="nowhere", resynthesis={"perfect": str(made / "perfect")}, dnsmos=True
    )
    with pytest.raises(UserError, match=r"dnsmos=true.*onnxruntime is not installed.*speechweave\[quality\]"):
        measure(config, cast(Run, None))


def test_predicted_ratings(made: Path) -> None:
    config = QualityConfig(
        out=str(made / "out"),
        corpus=str(made / "corpus"),
        resynthesis={"noisy": str(made / "noisy")},
        dnsmos=True,
        processes=1,
        sheets=0,
        limit=1,
    )
    metrics = STAGE.execute(config)
    assert metrics["recordings.dnsmos_ovrl"] > metrics["noisy.dnsmos_ovrl"] > 1
    assert metrics["recordings.dnsmos_bak"] > metrics["noisy.dnsmos_bak"] + 0.5  # noise was added behind the speech
    assert "DNSMOS P.808" in (made / "out" / "quality.md").read_text()


def test_ratings_of_sound_beyond_full_scale(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "loud.wav", 4 * np.sin(np.arange(RATE) / 20), RATE, subtype="FLOAT")
    ratings = dnsmos_ratings(tmp_path / "loud.wav")
    assert all(0.5 < value < 5 for value in ratings.values())
