"""`/v1/audio/speech` and `/v1/audio/transcriptions` through the unpatched openai SDK."""

from __future__ import annotations

import base64
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest

from chatbot.engine.pcm import WIRE_RATE, decode_pcm16
from corpus.audio.files import resample
from runtime.errors import UserError
from text2token.gate import GateConfig
from text2token.reading.config import AloudConfig, ModelReaderConfig, SpeechEndpointConfig
from text2token.reading.endpoint import EndpointReader
from text2token.reading.model import ModelReader
from text2token.speech_generation import SynthesisRequest

from ..conftest import babble  # noqa: TID252
from .conftest import Live, read_sound, sound_file

TEXT = "the capital of france"


def speak(client: openai.OpenAI, live: Live, **changes: Any) -> Any:
    request: dict[str, Any] = {"model": live.engine.model_name, "voice": "default", "input": TEXT}
    return client.audio.speech.create(**request | changes)


def write(client: openai.OpenAI, live: Live, **changes: Any) -> Any:
    request: dict[str, Any] = {"model": live.engine.model_name, "file": ("q.wav", sound_file(babble(1, 1.0)))}
    return client.audio.transcriptions.create(**request | changes)


def test_formats_hold_the_same_speech(client: openai.OpenAI, live: Live) -> None:
    wav = speak(client, live, response_format="wav")
    assert wav.response.headers["content-type"] == "audio/wav"
    assert struct.unpack("<I", wav.content[40:44])[0] == 0xFFFFFFFF  # sent before its length is known
    samples, rate = read_sound(wav.content)
    assert rate == live.engine.sample_rate
    flac, _ = read_sound(speak(client, live, response_format="flac").content)
    assert np.abs(samples - flac).max() < 2**-14
    pcm = speak(client, live, response_format="pcm").content
    assert np.abs(decode_pcm16(pcm) - resample(samples, rate, WIRE_RATE)).max() < 0.01
    assert speak(client, live).response.headers["content-type"] == "audio/mpeg"
    for form in ("mp3", "opus"):
        made, rate = read_sound(speak(client, live, response_format=form).content)
        assert len(made) / rate == pytest.approx(len(samples) / live.engine.sample_rate, abs=0.1)


def test_events_hold_the_same_speech(client: openai.OpenAI, live: Live) -> None:
    pcm = speak(client, live, response_format="pcm").content
    events = speak(client, live, response_format="pcm", stream_format="sse").text
    told = [json.loads(line.removeprefix("data: ")) for line in events.splitlines() if line]
    assert b"".join(base64.b64decode(event["audio"]) for event in told[:-1]) == pcm
    assert told[-1]["type"] == "speech.audio.done"
    assert told[-1]["usage"]["output_tokens"] == pytest.approx(len(pcm) / 2 / WIRE_RATE / 0.08, abs=0.5)


def test_voices_differ(client: openai.OpenAI, live: Live) -> None:
    one, other = (speak(client, live, voice=voice, response_format="wav").content for voice in live.engine.voices)
    assert one != other
    assert speak(client, live, voice="alloy", response_format="wav").content == one
    assert speak(client, live, voice={"id": live.engine.voices[0]}, response_format="wav").content == one


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"voice": "nobody"}, "voice"),
        ({"speed": 2.0}, "speed"),
        ({"response_format": "aac"}, "response_format"),
        ({"instructions": "whisper"}, "instructions"),
        ({"input": ""}, "input"),
        ({"input": "a" * 500}, "input"),
        ({"input": "a" * 190}, None),  # a word of more than the tiny model's context holds
    ],
)
def test_what_cannot_be_said_is_refused(
    client: openai.OpenAI, live: Live, changes: dict[str, Any], param: str | None
) -> None:
    with pytest.raises(openai.BadRequestError) as told:
        speak(client, live, **changes)
    assert told.value.param == param


def test_transcriptions_tell_the_same(client: openai.OpenAI, live: Live) -> None:
    plain = write(client, live)
    verbose = write(client, live, response_format="verbose_json")
    *_, done = write(client, live, stream=True)
    assert plain.usage.input_token_details.audio_tokens == 13
    assert write(client, live, response_format="text") == plain.text + "\n"
    assert (verbose.text, verbose.duration) == (plain.text, 1.0)
    assert (done.type, done.text, done.usage.total_tokens) == (
        "transcript.text.done",
        plain.text,
        plain.usage.total_tokens,
    )
    stereo = sound_file(np.stack([babble(1, 1.0)] * 2, axis=1))
    assert write(client, live, file=("q.wav", stereo)).text == plain.text


def test_nobody_speaks_and_nothing_is_written_down(client: openai.OpenAI, live: Live) -> None:
    silence = ("q.wav", sound_file(np.zeros(32_000, np.float32)))
    assert write(client, live, file=silence).text == ""
    assert write(client, live, file=silence, response_format="verbose_json").duration == 2.0
    assert [event.type for event in write(client, live, file=silence, stream=True)][-1] == "transcript.text.done"


@pytest.mark.parametrize(
    ("changes", "status", "param"),
    [
        ({"file": ("q.wav", b"no audio at all")}, 400, "file"),
        ({"file": ("q.wav", b"")}, 400, "file"),
        ({"file": ("q.flac", sound_file(np.zeros(16_000 * 3600, np.float32), kind="FLAC"))}, 413, "file"),
        ({"file": ("q.wav", sound_file(np.full(16_000, np.nan, np.float32), subtype="FLOAT"))}, 400, None),
        ({"prompt": "dear model"}, 400, "prompt"),
        ({"temperature": 0.5}, 400, "temperature"),
        ({"response_format": "srt"}, 400, "response_format"),
        ({"model": "whisper-1"}, 404, "model"),
        ({"timestamp_granularities": ["word"]}, 400, "timestamp_granularities[]"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_cannot_be_written_is_refused(
    client: openai.OpenAI, live: Live, changes: dict[str, Any], status: int, param: str | None
) -> None:
    with pytest.raises(openai.APIStatusError) as told:
        write(client, live, **changes)
    assert (told.value.status_code, told.value.param) == (status, param)


def test_spans_are_read_aloud_by_the_server_as_by_its_models(
    live: Live, chain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """text2token.aloud with reader=endpoint on this route, and with reader=model on the models behind it."""
    monkeypatch.setenv("OPENAI_API_KEY", live.options.api_keys[0])
    voices = [*live.engine.voices]
    server = SpeechEndpointConfig(url=f"{live.url}/v1", model=live.engine.model_name, voices=voices)
    reader = EndpointReader(AloudConfig(texts="t", out="o", reader="endpoint", endpoint=server))
    reader.check()
    (read,) = reader.read([SynthesisRequest(TEXT, voices[1], 1)])
    assert read.verdict == "good" and len(read.audio) > 0
    gate = GateConfig(min_per_letter=0, min_distinct_share=0, allowance=100)
    models = ModelReaderConfig(model=str(chain / "lm" / "model"), decoder=str(chain / "decoder"), gate=gate)
    config = AloudConfig(texts="t", out="o", reader="model", model=models)
    twice = [ModelReader(config).read([SynthesisRequest(TEXT, "anna", seed) for seed in range(8)]) for _ in range(2)]
    assert [one.audio.tolist() for one in twice[0]] == [one.audio.tolist() for one in twice[1]]
    good = [one for one in twice[0] if one.verdict == "good"]
    assert good and all(len(one.audio) % 1280 == 0 and np.abs(one.audio).max() > 0 for one in good)
    with pytest.raises(UserError, match="no tag for it"):
        ModelReader(config).read([SynthesisRequest(TEXT, "dora", 1)])
