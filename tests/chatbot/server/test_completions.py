"""`/v1/chat/completions` through the unpatched openai SDK: laws of a spoken reply, and what is refused."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import httpx
import numpy as np
import openai
import pytest

from chatbot.engine.pcm import WIRE_RATE

from ..conftest import HANG_SECONDS, babble, held  # noqa: TID252
from .conftest import KEY, Live, read_sound, spoken, until

QUESTION = babble(1, 1.0)


def ask(client: openai.OpenAI, live: Live, **changes: Any) -> Any:
    request: dict[str, Any] = {"model": live.engine.model_name, "messages": [spoken(QUESTION)]}
    return client.chat.completions.create(**request | changes)


def aloud(form: str = "wav", voice: str = "default") -> dict[str, Any]:
    return {"modalities": ["text", "audio"], "audio": {"voice": voice, "format": form}}


def streamed(chunks: Any) -> dict[str, Any]:
    """The pieces of a stream put together."""
    whole: dict[str, Any] = {"content": "", "transcript": "", "pcm": b"", "heard": "", "reasons": []}
    for chunk in chunks:
        if chunk.usage is not None:
            whole["usage"] = chunk.usage
        for choice in chunk.choices:
            delta = choice.delta.model_dump()
            audio = delta.get("audio") or {}
            whole["content"] += delta["content"] or ""
            whole["heard"] += delta.get("heard") or ""
            whole["transcript"] += audio.get("transcript") or ""
            whole["pcm"] += base64.b64decode(audio.get("data") or "")
            whole |= {name: audio[name] for name in ("id", "expires_at") if audio.get(name)}
            whole["reasons"].append(choice.finish_reason)
    return whole


@pytest.mark.parametrize("form", [None, "wav", "mp3", "opus", "flac", "pcm16"])
def test_silence_is_answered_by_nothing(client: openai.OpenAI, live: Live, form: str | None) -> None:
    silent = [spoken(np.zeros(32_000, np.float32))]
    reply = ask(client, live, messages=silent, **(aloud(form) if form else {}))
    choice = reply.choices[0]
    assert (choice.finish_reason, reply.heard, reply.usage.total_tokens) == ("stop", "", 0)
    assert (choice.message.audio.transcript if form else choice.message.content) == ""
    if form == "wav":
        assert len(read_sound(base64.b64decode(choice.message.audio.data))[0]) == 0
    if form in (None, "pcm16"):
        told = streamed(ask(client, live, messages=silent, stream=True, **(aloud(form) if form else {})))
        assert (told["content"], told["transcript"], told["pcm"], told["reasons"][-1]) == ("", "", b"", "stop")


def test_a_spoken_reply(client: openai.OpenAI, live: Live) -> None:
    completion = ask(client, live, **aloud())
    (choice,) = completion.choices
    audio, usage = choice.message.audio, completion.usage
    samples, rate = read_sound(base64.b64decode(audio.data))
    assert rate == live.engine.sample_rate
    assert choice.message.content is None
    assert completion.heard is not None
    assert audio.expires_at > time.time()
    assert choice.finish_reason in ("stop", "length")
    tokens = usage.completion_tokens_details
    assert len(samples) == tokens.audio_tokens * rate * 0.08
    assert usage.completion_tokens == tokens.audio_tokens + tokens.text_tokens
    assert usage.prompt_tokens_details.audio_tokens == 13  # 1 s in whole tokens of 80 ms
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


def test_a_stream_tells_what_the_whole_tells(client: openai.OpenAI, live: Live) -> None:
    whole = ask(client, live, **aloud("pcm16"))
    pieces = streamed(ask(client, live, stream=True, stream_options={"include_usage": True}, **aloud("pcm16")))
    audio = whole.choices[0].message.audio
    assert pieces["pcm"] == base64.b64decode(audio.data)
    assert pieces["transcript"] == audio.transcript
    assert pieces["heard"] == whole.heard
    assert pieces["usage"] == whole.usage
    assert pieces["content"] == ""
    assert pieces["reasons"][-1] == whole.choices[0].finish_reason
    assert set(pieces["reasons"][:-1]) == {None}
    assert pieces["id"].startswith("audio_")


def test_a_written_reply_is_the_same_streamed(client: openai.OpenAI, live: Live) -> None:
    whole = ask(client, live)
    pieces = streamed(ask(client, live, stream=True))
    assert whole.choices[0].message.audio is None
    assert pieces["content"] == whole.choices[0].message.content
    assert pieces["pcm"] == b""


@pytest.mark.parametrize("form", ["wav", "mp3", "flac", "opus", "pcm16"])
def test_formats_hold_the_same_speech(client: openai.OpenAI, live: Live, form: str) -> None:
    completion = ask(client, live, **aloud(form))
    data = base64.b64decode(completion.choices[0].message.audio.data)
    seconds = completion.usage.completion_tokens_details.audio_tokens * 0.08
    if form == "pcm16":
        made = len(data) / 2 / WIRE_RATE
    else:
        samples, rate = read_sound(data)
        made = len(samples) / rate
    assert made == pytest.approx(seconds, abs=0.1)  # mp3 adds a little at both ends


@pytest.mark.parametrize(("rate", "channels", "kind"), [(44_100, 2, "WAV"), (8_000, 1, "MP3"), (48_000, 2, "MP3")])
def test_any_rate_and_channels_are_heard(
    client: openai.OpenAI, live: Live, rate: int, channels: int, kind: str
) -> None:
    samples = 0.1 * np.random.default_rng(2).standard_normal(rate, dtype=np.float32)  # no silence in it
    message = spoken(np.stack([samples] * channels, axis=1), rate, kind)
    usage = ask(client, live, messages=[message]).usage
    assert usage.prompt_tokens_details.audio_tokens in (13, 14)


def test_an_earlier_reply_is_named_by_its_id(client: openai.OpenAI, live: Live) -> None:
    first = ask(client, live, max_completion_tokens=8, **aloud()).choices[0].message
    named = [spoken(QUESTION), {"role": "assistant", "audio": {"id": first.audio.id}}, spoken(babble(3, 0.8))]
    written = [spoken(QUESTION), {"role": "assistant", "content": first.audio.transcript}, spoken(babble(3, 0.8))]
    one, other = ask(client, live, messages=named), ask(client, live, messages=written)
    assert one.choices[0].message.content == other.choices[0].message.content
    assert one.usage == other.usage
    as_received = [spoken(QUESTION), first, spoken(babble(3, 0.8))]
    assert ask(client, live, messages=as_received).usage == one.usage
    with pytest.raises(openai.BadRequestError) as told:
        ask(live.client("another-key"), live, messages=named)
    assert told.value.code == "audio_not_found"


def test_a_written_reply_is_cut_in_front_of_a_stop_text(client: openai.OpenAI, live: Live) -> None:
    """As lm-evaluation-harness asks: with stop texts, and a type in each message."""
    messages = [{"role": "user", "content": "words", "type": "text"}]
    whole = ask(client, live, modalities=["text"], messages=messages).choices[0].message.content
    middle = whole[len(whole) // 2 :][:3]
    for stop in (middle, ["never in it", middle]):
        cut = ask(client, live, modalities=["text"], messages=messages, stop=stop).choices[0].message.content
        assert cut == whole[: whole.index(middle)] != whole
    kept = ask(client, live, modalities=["text"], messages=messages, stop=["never in it"]).choices[0].message.content
    assert kept == whole


def test_a_limit_of_tokens_ends_the_reply(client: openai.OpenAI, live: Live) -> None:
    completion = ask(client, live, max_completion_tokens=2)
    assert completion.choices[0].finish_reason == "length"
    assert completion.usage.completion_tokens <= 2


def test_the_seed_decides_what_is_sampled(client: openai.OpenAI, live: Live) -> None:
    def said(seed: int, **changes: float) -> str:
        return str(ask(client, live, temperature=2, seed=seed, **changes).choices[0].message.content)

    assert said(1) == said(1)
    assert len({said(seed) for seed in range(4)}) > 1
    likeliest = ask(client, live, temperature=0).choices[0].message.content
    assert {said(seed, top_p=1e-6) for seed in range(2)} == {likeliest}


WRONG: list[tuple[dict[str, Any], str | None]] = [
    ({"messages": []}, "messages"),
    ({"messages": [{"role": "assistant", "content": "hello"}]}, "messages"),
    ({"messages": [{"role": "user", "content": "a" * 500}]}, "messages"),
    ({"messages": [{"role": "user", "content": " "}]}, None),
    ({"messages": [{"role": "tool", "content": "a"}]}, "messages.0"),
    ({"modalities": ["text", "audio"]}, "audio"),
    ({"audio": {"voice": "default", "format": "wav"}}, "modalities"),
    (aloud(voice="nobody"), "audio.voice"),
    (aloud("wav") | {"stream": True}, "audio.format"),
    ({"n": 2}, "n"),
    ({"temperature": -1}, "temperature"),
    ({"frequency_penalty": 0.5}, "frequency_penalty"),
    ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
    ({"stop": ["x"], "stream": True}, "stop"),
    ({"stop": [""]}, "stop.0"),
    ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
    ({"logprobs": True}, "logprobs"),
    ({"max_completion_tokens": 0}, "max_completion_tokens"),
    ({"response_format": {"type": "json_object"}}, "response_format.type"),
    ({"extra_body": {"top_k": 3}}, "top_k"),
    # Of a union the field is named, not a member's type.
    ({"messages": [{"role": "user", "content": 5}]}, "messages.0.content"),
    ({"messages": [{"role": "user", "content": [{"type": "text", "text": 5}]}]}, "messages.0.content.0.text"),
    ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages.0.content.0.text"),
    ({"audio": {"voice": 5, "format": "wav"}}, "audio.voice"),
    ({"audio": {"voice": {"id": 5}, "format": "wav"}}, "audio.voice.id"),
    ({"logit_bias": {"5": 1.0}}, "logit_bias"),
]

UNSET = ["top_logprobs", "logit_bias", "tools", "tool_choice", "parallel_tool_calls", "prediction", "reasoning_effort"]


def test_fields_that_ask_for_nothing_are_accepted(client: openai.OpenAI, live: Live) -> None:
    """Null, and the defaults of the SDK's own types, also of fields that this server does not know."""
    nothing = dict.fromkeys([*UNSET, "a_field_of_tomorrow"]) | {"n": 1, "logprobs": False, "tool_choice": "none"}
    message = spoken(QUESTION) | {"name": None, "refusal": None}
    completion = ask(client, live, extra_body=nothing, messages=[message], parallel_tool_calls=True)
    assert completion.usage == ask(client, live).usage


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"messages": [{"role": "user", "content": "half \ud83d"}]}, "messages[0].content"),
        ({"messages": [], "a\udc00": 1}, "a\\udc00"),
        ({"model": "\ud800", "messages": [{"role": "user", "content": "a"}]}, "model"),
    ],
)
def test_half_of_a_surrogate_pair_is_refused(live: Live, body: dict[str, Any], param: str) -> None:
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    sent = json.dumps({"model": live.engine.model_name} | body)  # as JavaScript writes it: an escape
    answer = httpx.post(f"{live.url}/v1/chat/completions", content=sent, headers=headers, timeout=HANG_SECONDS)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


def test_a_whole_surrogate_pair_is_a_character(client: openai.OpenAI, live: Live) -> None:
    sent = json.dumps({"model": live.engine.model_name, "messages": [{"role": "user", "content": "a \U0001f600"}]})
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    answer = httpx.post(f"{live.url}/v1/chat/completions", content=sent, headers=headers, timeout=HANG_SECONDS)
    assert answer.status_code == 200


@pytest.mark.parametrize(("changes", "param"), WRONG, ids=lambda value: str(value)[:40])
def test_what_cannot_be_done_is_refused(
    client: openai.OpenAI, live: Live, changes: dict[str, Any], param: str | None
) -> None:
    with pytest.raises(openai.BadRequestError) as told:
        ask(client, live, **changes)
    assert told.value.param == param
    assert told.value.type == "invalid_request_error"


@pytest.mark.parametrize("data", ["!", "AAAA", base64.b64encode(b"RIFF" + b"\0" * 60).decode()])
def test_what_is_no_audio_is_refused(client: openai.OpenAI, live: Live, data: str) -> None:
    part = {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}
    with pytest.raises(openai.BadRequestError) as told:
        ask(client, live, messages=[{"role": "user", "content": [part]}])
    assert told.value.param == "messages.0.content.0.input_audio.data"


def test_long_audio_is_refused(client: openai.OpenAI, live: Live) -> None:
    with pytest.raises(openai.BadRequestError) as told:  # more than the model hears at once
        ask(client, live, messages=[spoken(babble(4, 19))])
    assert "19.0 s of audio" in str(told.value)
    silence = np.zeros(16_000 * 3600, dtype=np.float32)
    with pytest.raises(openai.APIStatusError) as told_413:  # an hour in a small file
        ask(client, live, messages=[spoken(silence, kind="FLAC")])
    assert told_413.value.status_code == 413


def test_another_model_is_not_there(client: openai.OpenAI, live: Live) -> None:
    with pytest.raises(openai.NotFoundError) as told:
        ask(client, live, model="gpt-audio")
    assert told.value.code == "model_not_found"


def test_a_client_that_leaves_stops_its_reply(client: openai.OpenAI, live: Live) -> None:
    until(lambda: live.call(live.engine.load).talkers == 0)
    counter = live.app.state.metrics.replies.labels("dialogue", "cancelled")
    before = counter._value.get()
    with held(live.engine.models.decoder_worker):  # the reply goes on for as long as somebody listens
        stream = ask(client, live, stream=True, **aloud("pcm16"))
        next(iter(stream))
        assert counter._value.get() == before
        stream.close()
        until(lambda: live.call(live.engine.load).talkers == 0)
        until(lambda: counter._value.get() == before + 1)
    ask(client, live)


def test_talkers_beyond_the_limit_wait(client: openai.OpenAI, live: Live) -> None:
    until(lambda: live.call(live.engine.load).talkers == 0)
    taken = live.call(lambda: [live.engine.open() for _ in range(3)])
    try:
        with pytest.raises(openai.RateLimitError) as told:
            ask(client, live)
        assert int(told.value.response.headers["retry-after"]) >= 1
    finally:
        live.call(lambda: [talker.close() for talker in taken])
    ask(client, live)
