"""Talking on the page, by button, keyboard and voice: what was said arrives whole, what comes back is played whole."""

from __future__ import annotations

import re

import numpy as np
import pytest

from chatbot.engine.speech_detector import load_network
from evaluation.served_chat.browser import take_played

from ..conftest import held  # noqa: TID252


def holes(heard: np.ndarray, sent: np.ndarray) -> int:
    """How many silences lie between the samples of ``sent`` in ``heard``; every sample must be there, in order."""
    count, at = 0, 0
    expected = sent.astype(np.float32) / 32768
    expected = expected[np.flatnonzero(expected)[0] :]  # the tap leaves out silence before the first sound
    while len(expected):
        part = heard[at : at + len(expected)]
        differs = np.flatnonzero(part != expected[: len(part)])
        same = int(differs[0]) if len(differs) else len(part)
        expected, at = expected[same:], at + same
        if len(expected):
            assert at < len(heard), f"the last {len(expected)} samples were not played"
            silence = np.flatnonzero(heard[at:])
            assert heard[at] == 0 and len(silence), f"another sample than the server sent, at {at}"
            at += int(silence[0])
            expected = expected[np.flatnonzero(expected)[0] :]
            count += 1
    assert not heard[at:].any(), "more was played than the server sent"
    return count


def similarity(sound: np.ndarray, inside: np.ndarray) -> float:
    """The highest correlation of ``sound`` with an equally long part of ``inside``, by FFT."""
    size = len(sound) + len(inside)
    product = np.fft.irfft(np.fft.rfft(inside, size) * np.conj(np.fft.rfft(sound, size)), size)[: len(inside)]
    place = int(np.argmax(product[: max(1, len(inside) - len(sound) + 1)]))
    part = inside[place : place + len(sound)]
    return float(part @ sound / np.sqrt((part @ part) * (sound @ sound)))


def ask_by_keyboard(talk) -> None:
    """Hold the space bar while the fake microphone speaks."""
    talk.page.focus("#talk")
    talk.page.keyboard.down("Space")
    talk.phase("listening")
    talk.until(lambda: len(talk.sound(talk.is_sent("input_audio_buffer.append"), "audio")) > 1.9 * 24000)
    talk.page.keyboard.up("Space")


def test_push_to_talk_by_keyboard(visit, utterance) -> None:
    """The space bar held: the server gets the microphone's sound, and the page plays the server's samples."""
    talk = visit(is_tapped=True).ready()
    talk.page.uncheck("#echo")  # the browser's own removal of echo changes the sound
    ask_by_keyboard(talk)
    talk.wait(".assistant[data-state=done]")
    talk.phase("idle")

    heard = talk.sound(talk.is_sent("input_audio_buffer.append"), "audio") / 32768
    tones = np.split(utterance, 16)  # one by one: the browser's fake microphone stumbles on a busy machine
    assert np.median([similarity(tone, heard) for tone in tones]) > 0.99
    assert [who for who, _, _ in talk.turns()] == ["user", "assistant"]
    [transcript] = talk.is_received("conversation.item.input_audio_transcription.completed")
    spoken = "".join(event["delta"] for event in talk.is_received("response.output_audio_transcript.delta"))
    assert [said for _, said, _ in talk.turns()] == [
        transcript["transcript"] or "(nothing heard)",
        spoken or "(nothing)",
    ]

    sent = talk.sound(talk.is_received("response.output_audio.delta"), "delta")
    assert len(sent) > 0
    dry = re.match(r"\d+|once", talk.page.inner_text("#gaps")).group()
    assert holes(take_played(talk.page), sent) == (1 if dry == "once" else int(dry))
    assert re.fullmatch(r"\d+\.\d\d s", talk.page.inner_text("#latency"))
    assert not talk.is_received("error")

    talk.page.keyboard.down("Space")  # the file is over: the microphone is silent now
    talk.phase("listening")
    talk.page.wait_for_timeout(400)
    talk.page.keyboard.up("Space")
    talk.page.get_by_role("alert").get_by_text("Nothing was heard").wait_for()
    assert len(talk.is_sent("response.create")) == 1, "silence is no question"


def test_barge_in_is_silent_and_tells_what_was_heard(visit, server) -> None:
    """The space bar pressed during an answer: no more of it sounds, and the server learns how much did."""
    talk = visit(is_tapped=True).ready()
    with held(server.engine.models.decoder_worker, jobs=1) as permits:  # the answer begins, and does not end by itself
        ask_by_keyboard(talk)
        speaking = talk.page.locator("body[data-phase=speaking]")
        for tenths in range(1, 3000):
            if speaking.count():
                break
            talk.page.wait_for_timeout(100)
            if not tenths % 50:  # on a busy machine the first batch may be another answer's, or too short to sound
                permits.release()
        talk.phase("speaking")
        talk.page.keyboard.down("Space")
        talk.until(lambda: talk.is_received("conversation.item.truncated"))
    [truncate] = talk.is_sent("conversation.item.truncate")
    heard = take_played(talk.page)
    talk.page.wait_for_timeout(300)
    assert not take_played(talk.page).any(), "sound after the barge-in"
    sent = talk.sound(talk.is_received("response.output_audio.delta"), "delta")
    assert 0 <= truncate["audio_end_ms"] <= 1000 * len(heard) / 24000 + 1
    assert len(np.flatnonzero(heard)) <= len(sent)
    assert talk.turns()[1][2] == "stopped"
    talk.page.keyboard.press("Escape")
    talk.page.keyboard.up("Space")
    talk.phase("idle")
    talk.until(lambda: talk.is_sent("input_audio_buffer.clear"))  # what was said into a dropped turn is forgotten
    assert len(talk.is_sent("response.create")) == 1
    assert not talk.is_received("error")


def test_hands_free_needs_no_key(visit) -> None:
    """Speech and a pause are enough."""
    talk = visit().ready()
    talk.page.uncheck("#echo")
    talk.page.get_by_label("Hands-free").check(force=True)
    talk.page.get_by_role("button", name="Open microphone").click()
    talk.wait(".assistant:is([data-state=done], [data-state=stopped])")
    assert talk.is_received("input_audio_buffer.speech_stopped")
    assert not talk.is_sent("response.create"), "the server asks itself"
    assert [who for who, _, _ in talk.turns()][:2] == ["user", "assistant"]
    talk.page.get_by_role("button", name="Close microphone").click()
    talk.phase("idle", "speaking")
    talk.until(lambda: talk.is_sent("input_audio_buffer.clear"))
    before = len(talk.is_sent("input_audio_buffer.append"))
    talk.page.wait_for_timeout(200)
    assert len(talk.is_sent("input_audio_buffer.append")) == before, "a closed microphone sends nothing"


def test_hands_free_noise_is_shown_as_nothing_heard(visit, server) -> None:
    pytest.importorskip("silero_vad", reason="silero-vad is not installed")
    reply, models = server.engine.bundle.settings.reply, server.engine.models
    before, models.speech_network = reply.min_speech_probability, load_network()
    reply.min_speech_probability = 0.9
    try:
        talk = visit().ready()
        talk.page.uncheck("#echo")
        talk.page.get_by_label("Hands-free").check(force=True)
        talk.page.get_by_role("button", name="Open microphone").click()
        talk.wait(".user[data-state=done]")
        talk.phase("waiting")
    finally:
        reply.min_speech_probability = before
    assert [said for _, said, _ in talk.turns()] == ["(nothing heard)"]
    assert not talk.is_received("response.created")


def test_a_tap_latches_the_button(visit) -> None:
    """Who cannot hold taps twice; a screen reader's click does the same."""
    talk = visit().ready()
    button = talk.page.locator("#talk")
    button.dispatch_event("click")  # no pointer
    talk.phase("listening")
    assert button.inner_text() == "Tap to send"
    talk.until(lambda: len(talk.is_sent("input_audio_buffer.append")) > 12)
    button.dispatch_event("click")
    talk.wait(".assistant")
    talk.until(lambda: talk.is_sent("input_audio_buffer.commit"))


def test_a_typed_question_by_keyboard_alone(visit, server) -> None:
    """From the address bar to an answer in text and back to silence, without a pointer."""
    talk = visit().ready()
    keys = talk.page.keyboard
    keys.press("Tab")
    assert talk.page.evaluate("() => document.activeElement.className") == "skip"
    keys.press("Enter")
    assert talk.page.evaluate("() => location.hash") == "#talk"
    keys.press("/")
    keys.type("what is the capital of france")
    with held(server.engine.models.decoder_worker):  # an answer that does not end before it is stopped
        keys.press("Enter")
        talk.phase("thinking")
        keys.press("Escape")
        talk.phase("idle")
        talk.until(lambda: talk.is_received("response.done"))
    assert talk.turns()[0] == ("user", "what is the capital of france", "done")
    talk.page.uncheck("#spoken")
    talk.page.fill("#question", "name the capital of italy")
    keys.press("Enter")
    talk.until(lambda: len(talk.is_received("response.done")) == 2)
    talk.until(lambda: talk.turns()[-1][2] == "done")
    last = talk.is_received("response.done")[-1]["response"]
    assert last["output_modalities"] == ["text"]
    written = "".join(event["delta"] for event in talk.is_received("response.output_text.delta"))
    assert talk.turns()[-1] == ("assistant", written or "(nothing)", "done")
    assert not talk.is_received("error")


def test_an_answer_stopped_before_it_began_stays_silent(visit) -> None:
    """Escape in the moment between asking for the answer and hearing that the server makes one."""
    stop_at_once = """
        const send = WebSocket.prototype.send;
        WebSocket.prototype.send = function (text) {
          send.call(this, text);
          if (JSON.parse(text).type !== "response.create") return;
          queueMicrotask(() => document.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape" })));
        };
    """
    talk = visit(script=stop_at_once, is_tapped=True).ready()
    talk.page.fill("#question", "what is the capital of japan")
    talk.page.keyboard.press("Enter")
    talk.until(lambda: talk.is_received("response.done"))
    assert [event["type"] for event in talk.sent][-2:] == ["response.create", "response.cancel"]
    talk.page.wait_for_timeout(200)
    assert not take_played(talk.page).any()
    talk.phase("idle")
