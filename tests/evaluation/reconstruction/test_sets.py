"""A tokenizer and a decoder on any manifest: raw measures kept through a kill, scored with stamps, mistakes named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from corpus.audio.files import read_audio, write_audio
from corpus.manifest import Utterance, write_manifest
from corpus.text.word_errors import corpus_word_errors
from decoder.config import BackboneConfig, DecoderConfig, FlowConfig, VocoderConfig
from decoder.model import SpeechDecoder
from decoder.vocoder import Vocoder
from evaluation import decoder_set, quality_score, tokenizer_set
from runtime.artefact import read_json
from tests.support.commands import Commands
from tests.support.permits import Permits, wait_for
from tokenizer.backbones.config import TokenizerModelConfig
from tokenizer.labels import Labels
from tokenizer.model import SpeechTokenizer
from tokenizer.quantisers.config import QuantiserConfig
from tokenizer.scoring.robustness import cuts

ROOT = Path(__file__).resolve().parents[3]
RATE, CODES = 16000, 32
RAW = ("details.jsonl", "roughness.jsonl", "measured.json")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, spoken: dict[str, Path], sentences: list[str]) -> Path:
    """Four sentences of two voices in a manifest of any name, a closed world, an untrained tokenizer and decoder."""
    folder = tmp_path_factory.mktemp("made")
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"width": 32, "heads": 2, "subsampling_channels": 8, "feed_forward": 2, "num_labels": 40}
    config = TokenizerModelConfig(**sizes, chunk=4, left_context=8)
    tokenizer = SpeechTokenizer(config, QuantiserConfig(codebook_size=CODES), Labels.from_texts(list(spoken), 40))
    tokenizer.front.initialise()
    tokenizer.eval()
    audios = [read_audio(file) for file in spoken.values()]
    with tokenizer.inference():
        hidden_BTD, _ = tokenizer.hidden(audios)
    tokenizer.quantiser.start(hidden_BTD.flatten(0, 1).clone())
    tokenizer.save_pretrained(folder / "tokenizer")
    tiny = BackboneConfig(width=16, layers=1, heads=2)
    options = DecoderConfig(
        encoder=tiny,
        flow=FlowConfig(estimator=tiny, steps=1),
        codebook_size=CODES,
        speakers=["anna", "bert"],
        tokenizer=tokenizer.fingerprint,
    )
    vocoder = Vocoder(VocoderConfig(width=16, layers=1))
    SpeechDecoder(options, vocoder).eval().save_pretrained(folder / "decoder")
    other = DecoderConfig(**{**vars(options), "tokenizer": "another"})
    SpeechDecoder(other, vocoder).eval().save_pretrained(folder / "strange_decoder")
    (folder / "world").mkdir()
    (folder / "world" / "sentences.txt").write_text("\n".join(sentences) + "\n")
    items = [
        Utterance(f"u{number}", file, len(audio) / RATE, text, ("anna", "bert")[number % 2])
        for number, ((text, file), audio) in enumerate(zip(spoken.items(), audios, strict=True))
    ]
    write_manifest(folder / "mine.jsonl", items[:4])
    return folder


def words(made: Path, out: str, *more: str, data: str = "mine.jsonl") -> list[str]:
    return [f"out={made}/{out}", f"data={made}/{data}", f"tokenizer={made}/tokenizer", *more]


def listened(made: Path) -> list[str]:
    return [f"decoder={made}/decoder", f"recogniser={made}/world", "normaliser=spoken", "sheets=1"]


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "details.jsonl").read_text().splitlines()]


def test_a_tokenizer_on_any_manifest(made: Path) -> None:
    noise = ["noise.kinds=[babble]", "noise.snrs=[20,0]", "noise.max_utterances=3"]
    assert tokenizer_set.STAGE.main(words(made, "tokens", *listened(made), *noise)) == 0
    folder = made / "tokens"
    metrics, rows = read_json(folder / "metrics.json"), rows_of(folder)
    assert [row["part"] for row in rows] == [
        *["tokens"] * 4,
        *["babble_20db"] * 3,
        *["babble_0db"] * 3,
        *["recordings"] * 4,
        *["resynthesised"] * 4,
    ]
    clean = [row for row in rows if row["part"] == "tokens"]
    rate = corpus_word_errors([row["text"] for row in clean], [row["with_vq"] for row in clean]).rate
    assert metrics["tokens.wer_with_vq"] == pytest.approx(rate, abs=1e-6)
    loud, faint = ([row["ued"] for row in rows if row["part"] == f"babble_{snr}db"] for snr in (0, 20))
    assert metrics["babble_0db.ued"] == pytest.approx(sum(one for one, _ in loud) / sum(of for _, of in loud), abs=1e-6)
    assert metrics["babble_0db.ued"] >= metrics["babble_20db.ued"] and [of for _, of in loud] == [of for _, of in faint]
    assert metrics["resynthesised.judge_wer"] > metrics["recordings.judge_wer"] == 0  # random weights against espeak
    assert metrics["frame_rate_hz"] == 12.5 and metrics["bits_per_second"] == 12.5 * 5
    assert 1 <= metrics["perplexity"] <= CODES and metrics["decoding.rtf"] > 0 < metrics["encoding.rtf"]
    text = (folder / "quality.md").read_text()
    assert "| babble_0db | 3 |" in text and "| resynthesised | 4 |" in text and "bits per second 62.5" in text
    stamps = {
        (one["stamp"]["model"], one["stamp"]["rule"]): one["stamp"]
        for one in read_json(folder / "scores.json")["scores"]
    }
    heard = stamps["resynthesised", "judge_wer"]
    assert heard["data_digest"] == stamps["tokens", "wer_with_vq"]["data_digest"] and heard["items"] == 4
    assert heard["recogniser"].startswith("closed world") and heard["settings"]["data"] == "mine.jsonl"
    assert stamps["babble_0db", "ued"]["data_digest"] != heard["data_digest"]  # the first utterances only
    assert quality_score.STAGE.main([f"measured={folder}", f"out={made}/tokens_again"]) == 0
    assert (folder / "scores.json").read_bytes() == (made / "tokens_again" / "scores.json").read_bytes()
    assert (folder / "listening.html").exists() and len(list((folder / "speech" / "audio").iterdir())) == 4


def test_a_tokenizer_alone(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tokenizer_set.STAGE.main(words(made, "alone", "noise.snrs=[]", "limit=2")) == 0
    assert "reconstruction is not measured (give decoder=)" in capsys.readouterr().out
    assert {row["part"] for row in rows_of(made / "alone")} == {"tokens"}
    assert tokenizer_set.STAGE.main(words(made, "refused", "dnsmos=true")) == 2
    assert "option dnsmos" in (error := capsys.readouterr().err) and "give decoder=" in error
    assert not (made / "refused").exists()


def test_a_decoder_goes_on_after_a_kill_and_ends_with_the_same_bytes(made: Path, commands: Commands) -> None:
    permits = Permits(made / "permits")
    permits.give(1)
    options = words(made, "killed", *listened(made), "limit=3")
    job = commands.sabotaged(f"permits={permits.folder}", "evaluation.decoder_set", *options)
    spoken = made / "killed" / "speech" / "manifest.jsonl"
    wait_for(lambda: spoken.exists() and not list(permits.folder.glob("*")))  # it has spoken, and begins to listen
    job.kill()
    job.wait()
    assert not (made / "killed" / "scores.json").exists()
    encoded = (made / "killed" / "encoded.jsonl").read_bytes()
    for out in ("killed", "whole"):
        assert decoder_set.STAGE.main(words(made, out, *listened(made), "limit=3")) == 0
    assert (made / "killed" / "encoded.jsonl").read_bytes() == encoded
    for name in (*RAW, "scores.json", "quality.md", "tokens.parquet"):
        assert (made / "killed" / name).read_bytes() == (made / "whole" / name).read_bytes(), name
    metrics = read_json(made / "whole" / "metrics.json")
    assert metrics["resynthesised.mel_cepstral_distance"] > 0 and metrics["resynthesised.utterances"] == 3
    # Tokens that were encoded before give the same speech.
    tokens = [f"tokens={made}/whole/tokens.parquet", f"data={made}/mine.jsonl", f"out={made}/from_tokens", "limit=3"]
    assert decoder_set.STAGE.main([*tokens, *listened(made)]) == 0
    assert (made / "from_tokens" / "details.jsonl").read_bytes() == (made / "whole" / "details.jsonl").read_bytes()
    tokens = [f"tokens={made}/whole/tokens.parquet", f"data={made}/mine.jsonl", f"out={made}/too_few"]
    assert decoder_set.STAGE.main([*tokens, *listened(made)]) == 2


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("", "an empty manifest"),
        ('{"wav": "a.wav", "sentence": "a"}\n', "line 1: no audio_filepath"),
        ('{"audio_filepath": "gone.wav", "duration": 1, "text": "a"}\n', "no audio file"),
        ('{"audio_filepath": "noise.wav", "duration": 1, "text": "a"}\n', "1 of 1 records are bad"),
    ],
)
def test_bad_manifests_are_explained(made: Path, capsys: pytest.CaptureFixture[str], lines: str, message: str) -> None:
    (made / "noise.wav").write_bytes(b"no sound")
    (made / "bad.jsonl").write_text(lines)
    for stage in (tokenizer_set.STAGE, decoder_set.STAGE):
        assert stage.main(words(made, "bad", *listened(made), data="bad.jsonl")) == 2
        assert message in capsys.readouterr().err


def test_wrong_options_are_explained(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def error(stage: Any, *options: str) -> str:
        assert stage.main(words(made, "wrong", *options)) == 2
        return capsys.readouterr().err

    decoder = f"decoder={made}/decoder"
    assert "is no closed world" in error(decoder_set.STAGE, decoder)
    assert "no recogniser there" in error(decoder_set.STAGE, decoder, f"recogniser={made}/tokenizer")
    assert "nowhere" in error(decoder_set.STAGE, decoder, f"recogniser={made}/nowhere")
    strange = f"decoder={made}/strange_decoder"
    for stage in (tokenizer_set.STAGE, decoder_set.STAGE):
        assert "a decoder of tokenizer another" in error(stage, strange, "recogniser=none")
    assert "give either tokenizer" in error(decoder_set.STAGE, decoder, f"tokens={made}/x", "recogniser=none")
    assert "no utterance of carl" in error(decoder_set.STAGE, decoder, "recogniser=none", "speaking.voices=[carl]")


def test_voices_that_the_decoder_does_not_know_are_named(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records = [json.loads(line) for line in (made / "mine.jsonl").read_text().splitlines()]
    records[2]["speaker"] = "carl"
    (made / "carl.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    options = [f"decoder={made}/decoder", "recogniser=none", "sheets=0"]
    assert decoder_set.STAGE.main(words(made, "carl", *options, data="carl.jsonl")) == 2
    error = capsys.readouterr().err
    assert "1 of 4 utterances" in error and "(u2) of 'carl'" in error and "speaking.speaker=TAG (anna, bert)" in error
    known = [*options, "speaking.voices=[known]", "limit=2"]
    assert decoder_set.STAGE.main([*words(made, "known", *known, data="carl.jsonl")]) == 0
    assert [row["id"] for row in rows_of(made / "known") if row["part"] == "resynthesised"] == ["u0", "u1"]
    assert decoder_set.STAGE.main([*words(made, "bert", *options, "speaking.voices=[bert]", "limit=2")]) == 0
    assert [row["id"] for row in rows_of(made / "bert") if row["part"] == "recordings"] == ["u1", "u3"]
    options += ["speaking.speaker=anna"]
    assert decoder_set.STAGE.main(words(made, "carl", *options, data="carl.jsonl")) == 0
    assert "resynthesised.asr_wer" not in read_json(made / "carl" / "metrics.json")


def test_an_utterance_that_cannot_be_read_is_left_out_and_counted(made: Path) -> None:
    shutil.copy(made / "mine.jsonl", made / "five.jsonl")
    write_audio(made / "short.wav", np.zeros(RATE, np.float32))
    with (made / "five.jsonl").open("a") as file:
        record = {"audio_filepath": "short.wav", "duration": 9, "text": "a", "id": "long", "speaker": "anna"}
        file.write(json.dumps(record) + "\n")
    options = [f"decoder={made}/decoder", "recogniser=none", "sheets=0", "max_bad_share=0.2"]
    assert decoder_set.STAGE.main(words(made, "five", *options, data="five.jsonl")) == 0
    scores = read_json(made / "five" / "scores.json")["scores"]
    assert {one["stamp"]["left_out"] for one in scores} == {1} and {row["id"] for row in rows_of(made / "five")} == {
        "u0",
        "u1",
        "u2",
        "u3",
    }


def test_no_part_of_one_utterance_is_noised() -> None:
    """Its babble would be silence: there is no other utterance."""
    assert cuts(64) == [0, 64] and cuts(65) == [0, 65] and cuts(66) == [0, 64, 66] and cuts(129) == [0, 64, 129]
