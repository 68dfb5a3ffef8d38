"""One response: the order of its events, and that the SDK's types know them all."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from chatbot.engine.events import AudioDelta, ReplyDone, Status, TextDelta, Usage
from chatbot.engine.pcm import decode_base64
from chatbot.realtime.reply import Event, RealtimeResponse
from chatbot.realtime.settings import Settings
from corpus.audio.files import resample
from tests.support.realtime_events import check_server_event

SPEECH = (np.random.default_rng(0).standard_normal(22050) * 0.1).astype(np.float32)
SPOKEN = [TextDelta(text="hello"), AudioDelta(samples=SPEECH[:15000]), TextDelta(text=" you")]
SPOKEN += [AudioDelta(samples=SPEECH[15000:])]


def make(reply: RealtimeResponse, pieces: list[Any], done: ReplyDone) -> list[Event]:
    events = [reply.created(), *reply.begin_item("item_0")]
    for piece in pieces:
        events += reply.say(piece)
    events += [*reply.end_item(done, "item_0"), reply.done(done)]
    for number, event in enumerate(events):
        check_server_event({"event_id": f"event_{number}", **event})
    return events


def reply_of(modality: str = "audio") -> RealtimeResponse:
    settings = Settings(voice="anna", modality=modality)
    return RealtimeResponse(settings, engine_rate=22050, conversation_id="conv_1", metadata={"topic": "x"})


def test_a_spoken_reply() -> None:
    reply = reply_of()
    usage = Usage(input_text=3, input_audio=5, output_text=2, output_audio=13)
    events = make(reply, SPOKEN, ReplyDone(status="completed", usage=usage))
    kinds = [event["type"] for event in events]
    deltas = "response.output_audio.delta"
    assert [kind for kind in kinds if kind != deltas] == [
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
        "response.output_audio_transcript.delta",
        "response.output_audio_transcript.delta",
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
    ]
    sent = b"".join(decode_base64(event["delta"]) for event in events if event["type"] == deltas)
    heard = np.frombuffer(sent, "<i2").astype(np.float32) / 32768
    np.testing.assert_allclose(heard, resample(SPEECH, 22050, 24000), atol=1 / 32768)
    assert reply.seconds == pytest.approx(1.0)
    response = events[-1]["response"]
    assert response["status_details"] is None and response["metadata"] == {"topic": "x"}
    assert response["output"][0]["content"] == [{"type": "output_audio", "transcript": "hello you"}]
    used = response["usage"]
    assert (used["total_tokens"], used["input_tokens"], used["output_tokens"]) == (23, 8, 15)
    assert used["output_token_details"] == {"text_tokens": 2, "audio_tokens": 13}
    ids = {event.get("response_id", reply.id) for event in events} | {response["id"]}
    assert ids == {reply.id}


def test_a_written_reply() -> None:
    events = make(reply_of("text"), [TextDelta(text="hello"), TextDelta(text=" you")], ReplyDone(status="completed"))
    kinds = [event["type"] for event in events]
    assert kinds[4:7] == ["response.output_text.delta"] * 2 + ["response.output_text.done"]
    assert events[6]["text"] == "hello you"
    assert events[-1]["response"]["output"][0]["content"] == [{"type": "output_text", "text": "hello you"}]


@pytest.mark.parametrize(
    ("status", "reason", "details"),
    [
        ("cancelled", "", {"type": "cancelled", "reason": "turn_detected"}),
        ("incomplete", "context", {"type": "incomplete", "reason": "max_output_tokens"}),
        (
            "failed",
            "no",
            {"type": "failed", "error": {"type": "server_error", "code": "reply_failed", "message": "no"}},
        ),
    ],
)
def test_a_reply_that_does_not_end_well(status: Status, reason: str, details: dict[str, Any]) -> None:
    reply = reply_of()
    reply.cancelled = "turn_detected" if status == "cancelled" else None
    events = make(reply, SPOKEN, ReplyDone(status=status, reason=reason))
    assert events[-1]["response"]["status_details"] == details
    assert events[-2]["item"]["status"] == "incomplete"


def test_a_reply_that_said_nothing_has_no_item() -> None:
    event = reply_of().done(ReplyDone(status="cancelled"))
    check_server_event({"event_id": "e", **event})
    assert event["response"]["output"] == []


def test_sound_that_never_left_does_not_count() -> None:
    reply = reply_of()
    events = reply.say(AudioDelta(samples=np.zeros(33075, np.float32)))  # 1.5 s
    assert len(events) > 2
    before = reply.sent_samples
    reply.take_back(events[1:])
    assert reply.sent_samples == len(decode_base64(events[0]["delta"])) // 2 < before and reply.lost_sound
