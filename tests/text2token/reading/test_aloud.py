"""text2token.aloud: audio of spans in tars that others read, the same bytes however it is run, spans that stay text."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from corpus.audio.files import encode_audio
from runtime.chat_endpoint import RequestConfig
from runtime.errors import UserError
from tests.support.chat_server import Reply, chat_server
from tests.support.commands import Commands
from tests.support.permits import Permits, wait_for
from tests.support.small_synthesis import write_texts
from text2token import aloud
from text2token.reading.config import AloudConfig, SpeechEndpointConfig
from text2token.reading.endpoint import EndpointReader
from text2token.speech_generation import SynthesisRequest
from text2token.synthesis.inspection import mark_spans, read_documents

ESPEAK = ["voices.engines=espeak", "voices.count=3"]  # without flite, which is not installed everywhere


def words(folder: Path, out: str, *more: str) -> list[str]:
    if not (folder / "texts.jsonl").exists():
        write_texts(folder / "texts.jsonl", 14)
        write_texts(folder / "heldout.jsonl", 3, seed=9)
    sources = [f"texts={folder / 'texts.jsonl'}", f"texts_heldout={folder / 'heldout.jsonl'}"]
    return [*sources, f"out={folder / out}", "unit_documents=4", *ESPEAK, *more]


def unit_files(folder: Path) -> dict[str, bytes]:
    found = [path for split in ("train", "valid") for path in (folder / split).rglob("*") if ".try" not in path.name]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(found)}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("aloud")
    assert aloud.STAGE.main(words(folder, "whole")) == 0
    return folder / "whole"


def metrics_of(folder: Path) -> dict[str, Any]:
    metrics: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
    return metrics


def test_each_good_span_has_its_audio_at_its_place(whole: Path) -> None:
    documents = list(read_documents(whole))
    spans = [span for document in documents for span in document.spans]
    assert {span.verdict for span in spans} == {"good"} and all(span.num_words >= 5 for span in spans)
    assert len({span.speaker for span in spans}) == 3
    assert 0.15 < metrics_of(whole)["realised_ratio"] < 0.45 and "hours" in metrics_of(whole)
    places = sorted(whole.glob("*/*.tar"))
    contents = {path: path.read_bytes() for path in places}
    by_unit = [list(read_unit_spans(path)) for path in places]
    for path, clips in zip(places, by_unit, strict=True):
        for offset, size, samples in clips:
            audio, rate = soundfile.read(io.BytesIO(contents[path][offset : offset + size]))
            assert (rate, len(audio)) == (16_000, samples) and np.abs(audio).max() > 0.1
    assert sum(map(len, by_unit)) == len(spans)
    assert "‹espeak-" in mark_spans(next(one for one in documents if one.spans))
    card = (whole / "README.md").read_text()
    assert f"realised share of speech: {metrics_of(whole)['realised_ratio']:.4f}" in card and "| espeak-f2 |" in card


def read_unit_spans(tar: Path) -> Any:
    from text2token.synthesis.unit_file import read_unit

    for document in read_unit(tar.with_suffix(".parquet"))[0]:
        yield from (span.clip for span in document.spans)


def test_lhotse_webdataset_and_tokenizer_encode_read_the_tars(whole: Path) -> None:
    import webdataset
    from lhotse import CutSet

    from tokenizer.encoding.bulk_speech import UnitAudioReader, find_split

    tar = sorted((whole / "train").glob("*.tar"))[0]
    fields = {"cuts": [str(tar.with_suffix(".cuts.jsonl"))], "recording": [str(tar)]}
    cuts = list(CutSet.from_shar(fields=fields))
    spans = [span for document in read_documents(whole) for span in document.spans]
    assert [cut.supervisions[0].text for cut in cuts] == [span.spoken for span in spans[: len(cuts)]]
    samples = list(webdataset.WebDataset(str(tar), shardshuffle=False))
    assert [one["__key__"] for one in samples] == [cut.id for cut in cuts]
    for one, cut in zip(samples, cuts, strict=True):
        audio, rate = soundfile.read(io.BytesIO(one["flac"]), dtype="float32")
        np.testing.assert_array_equal(audio, cut.load_audio()[0])
        assert cut.sampling_rate == rate and cut.supervisions[0].speaker.startswith("espeak-")
    split = find_split(whole, "train", unit_utterances=10, max_bad_share=0)
    assert split is not None
    reader = UnitAudioReader(16_000, AloudConfig(texts="t", out="o").room, 1)
    read = [one for unit in split.units for one in reader.read(unit)]
    assert [one.text for one in read] == [span.spoken for span in spans[: len(read)]]  # type: ignore[union-attr]


def test_two_workers_give_the_same_bytes(whole: Path) -> None:
    assert aloud.STAGE.main(words(whole.parent, "two", "processes=2")) == 0
    assert unit_files(whole.parent / "two") == unit_files(whole)


def test_kill_9_then_again_gives_the_same_bytes(whole: Path, commands: Commands) -> None:
    out, permits = whole.parent / "killed", Permits(whole.parent / "permits")
    permits.give(3)
    child = commands.sabotaged(f"permits={permits.folder}", "text2token.aloud", *words(whole.parent, out.name))
    wait_for(lambda: len([path for path in unit_files(out) if path.endswith(".tar")]) >= 2)
    child.kill()
    child.wait()
    kept = {path.name: path.stat().st_ino for path in out.glob("train/pass-*.tar") if ".try" not in path.name}
    assert 2 <= len(kept) < 4
    assert aloud.STAGE.main(words(whole.parent, out.name)) == 0
    assert unit_files(out) == unit_files(whole)
    assert all((out / "train" / name).stat().st_ino == inode for name, inode in kept.items())  # nothing twice


def test_sentences_and_spans_that_fail_the_gate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = ["spans.policy=sentence", "spans.ratio=0.4", "max_seconds=1.5", "gate.max_per_letter=5", "retries=0"]
    assert aloud.STAGE.main(words(tmp_path, "out", *more, "max_rejected_share=1")) == 0
    spans = [(one, span) for one in read_documents(tmp_path / "out") for span in one.spans]
    assert {span.verdict for _, span in spans} == {"good", "too_long"}
    assert all(document.text[span.end : span.end + 1] in (".", " ", "") for document, span in spans)
    assert all((span.clip is None) == (span.verdict != "good") for _, span in spans)
    assert max(span.clip.samples for _, span in spans if span.clip is not None) <= 1.5 * 16_000
    more[2] = "max_seconds=0.1"
    assert aloud.STAGE.main(words(tmp_path, "none", *more)) == 2
    assert "spans fail the gate, most as 'too_long'" in capsys.readouterr().err


def test_mistakes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for more, message in (
        (["speakers.dora=1"], "speakers.dora: no such voice. give some of espeak-f2"),
        (["reader=endpoint"], "option endpoint.url"),
        (["reader=model"], "option model.model"),
        (["reader=parrot"], "option reader"),
        (["reader=endpoint", "endpoint.url=http://127.0.0.1:9/v1", "requests.retries=0"], "no audio for a word"),
    ):
        assert aloud.STAGE.main(words(tmp_path, "out", *more)) == 2
        assert message in capsys.readouterr().err


def answer(body: dict[str, Any]) -> Reply:
    """A tone of 0.15 s a word; refuses "secret", hums nothing for "hush", is no audio for "noise"."""
    if "secret" in body["input"]:
        return 400, {"error": {"code": "refused"}}
    if "noise" in body["input"]:
        return 200, b"no audio"
    time = np.arange(int(24_000 * 0.15 * len(body["input"].split()))) / 24_000
    tone = (0.3 * np.sin(2 * np.pi * 300 * time)).astype(np.float32)
    return 200, encode_audio(tone * (0 if "hush" in body["input"] else 1), 24_000, body["response_format"].upper())


def endpoint_config(url: str, **more: Any) -> AloudConfig:
    options = SpeechEndpointConfig(url=url, model="tts", voices=["alloy", "echo"], format="flac")
    requests = RequestConfig(retries=1, wait_seconds=0)
    return AloudConfig(texts="t", out="o", reader="endpoint", endpoint=options, requests=requests, **more)


def test_an_endpoint_is_asked_for_each_span_and_its_refusals_are_verdicts() -> None:
    with chat_server(answer) as server:
        reader = EndpointReader(endpoint_config(server.url))
        reader.check()
        texts = ["one two three", "a secret", "four five", "noise", "..."]
        read = reader.read([SynthesisRequest(text, "echo", 1) for text in texts])
        assert [len(one.audio) for one in read] == [7200, 0, 4800, 0, 0]  # at 16 kHz
        assert [one.verdict for one in read] == ["good", "unanswered", "good", "unanswered", "empty"]
        first = next(body for body in server.asked if body["input"] == "one two three")
        assert first == {"model": "tts", "input": "one two three", "voice": "echo", "response_format": "flac"}
        assert sum(body["input"] == "noise" for body in server.asked) == 2  # tried again
    refused = pytest.raises(UserError, match=r"status 401.*endpoint\.url, endpoint\.model and the key")
    with chat_server(lambda body: (401, {"error": "no key"})) as server, refused:
        EndpointReader(endpoint_config(server.url)).check()


def test_an_endpoint_fills_a_corpus_and_silence_stays_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = ["a quiet hush of five words here"] + ["one two three four five six seven eight"] * 7
    lines = [json.dumps({"id": f"t{number}", "text": text}) for number, text in enumerate(texts)]
    (tmp_path / "texts.jsonl").write_text("\n".join(lines) + "\n")
    with chat_server(answer) as server:
        arguments = [f"texts={tmp_path / 'texts.jsonl'}", f"out={tmp_path / 'out'}", "reader=endpoint", "retries=0"]
        arguments += [f"endpoint.url={server.url}", "endpoint.voices=[alloy]", "gate.min_per_letter=0", "spans.ratio=1"]
        assert aloud.STAGE.main([*arguments, "spans.policy=sentence"]) == 0
    verdicts = [span.verdict for one in read_documents(tmp_path / "out") for span in one.spans]
    assert verdicts == ["silent", *["good"] * 7]
    assert "draws anew" in (tmp_path / "out/README.md").read_text()
    with chat_server(lambda body: answer(body) if body["input"] == "one" else (500, {})) as server:
        arguments = [word for word in arguments if not word.startswith(("out=", "endpoint.url="))]
        more = [f"endpoint.url={server.url}", f"out={tmp_path / 'broken'}", "requests.retries=0"]
        assert aloud.STAGE.main([*arguments, *more, "spans.policy=sentence"]) == 2
    assert "8 of 8 spans have no answer" in capsys.readouterr().err
