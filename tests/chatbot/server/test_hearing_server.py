"""A model that hears vectors behind HTTP: asked by the openai SDK in speech, four at once, and with bad audio."""

from __future__ import annotations

import base64
import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest

from chatbot.engine.silence import without_silence
from chatbot.settings import ChatSettings
from corpus.audio.files import Samples, read_audio
from lm.data.formats import chat_prompt
from lm.inference.listening_model import HeardPrompt, ListeningModel

from ..conftest import babble  # noqa: TID252
from .conftest import Live, read_sound, sound_file, spoken

QUESTION = babble(31, 1.3)
ALOUD: dict[str, Any] = {"modalities": ["text", "audio"], "audio": {"voice": "default", "format": "wav"}}


@pytest.fixture
def client(hearing_live: Live) -> openai.OpenAI:
    return hearing_live.client()


def ask(client: openai.OpenAI, live: Live, *messages: Any, **options: Any) -> Any:
    return client.chat.completions.create(model=live.engine.model_name, messages=list(messages), **options)


@pytest.fixture(scope="module")
def model(hearing_chain: Path) -> ListeningModel:
    return ListeningModel.from_pretrained(hearing_chain / "streamed" / "lm")


def answer_of(model: ListeningModel, hearing_chain: Path, audio: Samples, tmp_path: Path) -> str:
    """The exported model's own answer to a 16-bit sound file's question."""
    (tmp_path / "question.wav").write_bytes(sound_file(audio))
    reply = ChatSettings.load(hearing_chain / "streamed" / "bundle" / "bundle").reply
    clips = model.hear([without_silence(read_audio(tmp_path / "question.wav"), reply.kept_silence)])
    prompt = HeardPrompt(chat_prompt(model.placeholders(clips[0]), model.vocabulary), clips)
    ends = model.vocabulary.end_ids
    (made,) = model.generate([prompt], max_new_tokens=reply.max_text_tokens, stop=ends)
    return model.vocabulary.decode_text(made)


def test_four_talkers_are_answered_as_by_the_model_itself(
    client: openai.OpenAI, hearing_live: Live, hearing_chain: Path, model: ListeningModel, tmp_path: Path
) -> None:
    questions = [babble(40 + number, 0.6 + 0.4 * number) for number in range(4)]
    wanted = [answer_of(model, hearing_chain, question, tmp_path) for question in questions]
    assert len(set(wanted)) == 4
    with ThreadPoolExecutor(4) as pool:
        replies = list(pool.map(lambda question: ask(client, hearing_live, spoken(question), **ALOUD), questions))
    seconds = 0.0
    for reply, text in zip(replies, wanted, strict=True):
        audio = reply.choices[0].message.audio
        assert audio.transcript == text and reply.heard is None and reply.is_understood
        samples, rate = read_sound(base64.b64decode(audio.data))
        usage, seconds = reply.usage, seconds + len(samples) / rate
        assert usage.completion_tokens_details.audio_tokens == round(len(samples) / rate * 12.5)
        assert usage.prompt_tokens_details.audio_tokens > 3 and not usage.prompt_tokens_details.text_tokens
    assert seconds > 0
    alone = ask(client, hearing_live, spoken(questions[2]), **ALOUD).choices[0].message.audio
    assert alone.data == replies[2].choices[0].message.audio.data


def test_a_written_answer_and_its_stream(client: openai.OpenAI, hearing_live: Live) -> None:
    written = ask(client, hearing_live, spoken(QUESTION)).choices[0].message.content
    chunks = list(ask(client, hearing_live, spoken(QUESTION), stream=True))
    assert "".join(one.choices[0].delta.content or "" for one in chunks) == written != ""
    pcm: dict[str, Any] = {"modalities": ["text", "audio"], "audio": {"voice": "anna", "format": "pcm16"}}
    whole = ask(client, hearing_live, spoken(QUESTION), **pcm).choices[0].message.audio
    chunks = list(ask(client, hearing_live, spoken(QUESTION), stream=True, **pcm))
    told = [one.choices[0].delta.model_dump().get("audio") or {} for one in chunks]
    assert "".join(one.get("transcript") or "" for one in told) == whole.transcript == written
    assert b"".join(base64.b64decode(one.get("data") or "") for one in told) == base64.b64decode(whole.data)


def test_words_and_speech_in_one_message(client: openai.OpenAI, hearing_live: Live) -> None:
    """The instruction belongs to the question's message, as in the model's training."""
    part = spoken(QUESTION)["content"][0]
    mixed = {"role": "user", "content": [{"type": "text", "text": "say this again"}, part]}
    first = ask(client, hearing_live, mixed)
    assert first.usage.prompt_tokens_details.text_tokens and first.usage.prompt_tokens_details.audio_tokens
    assert first.choices[0].message.content != ask(client, hearing_live, spoken(QUESTION)).choices[0].message.content
    said = {"role": "assistant", "content": first.choices[0].message.content}
    later = ask(client, hearing_live, mixed, said, {"role": "user", "content": "and then?"})
    assert later.usage.prompt_tokens_details.audio_tokens == first.usage.prompt_tokens_details.audio_tokens


@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000])
def test_clips_of_other_rates_are_heard(client: openai.OpenAI, hearing_live: Live, rate: int) -> None:
    time = np.arange(int(1.2 * rate)) / rate
    tones = (0.3 * np.sin(2 * np.pi * 440 * time) * (np.sin(20 * time) > 0)).astype(np.float32)
    usage = ask(client, hearing_live, spoken(tones, sample_rate=rate)).usage
    assert 5 <= usage.prompt_tokens_details.audio_tokens <= 8  # 1.2 s at 6.25 a second


def test_what_cannot_be_heard_is_refused_or_unanswered(client: openai.OpenAI, hearing_live: Live) -> None:
    nothing = ask(client, hearing_live, spoken(np.zeros(16_000, np.float32)))
    assert (nothing.choices[0].message.content, nothing.heard, nothing.usage.total_tokens) == ("", "", 0)
    with pytest.raises(openai.APIStatusError, match=r"90\.0 s|20 s") as long:
        ask(client, hearing_live, spoken(babble(5, 90.0), kind="FLAC"))
    assert long.value.status_code in (400, 413)
    with pytest.raises(openai.BadRequestError, match="16\\.0 s of audio"):
        ask(client, hearing_live, spoken(babble(5, 16.0)))
    broken = spoken(QUESTION)
    data = broken["content"][0]["input_audio"]["data"]
    broken["content"][0]["input_audio"]["data"] = base64.b64encode(base64.b64decode(data)[:30]).decode()
    with pytest.raises(openai.BadRequestError):
        ask(client, hearing_live, broken)


def test_transcriptions_are_refused_by_name(client: openai.OpenAI, hearing_live: Live) -> None:
    file = ("question.wav", io.BytesIO(sound_file(QUESTION)))
    with pytest.raises(openai.BadRequestError, match=r"writes no transcripts .* transcribes=true"):
        client.audio.transcriptions.create(model=hearing_live.engine.model_name, file=file)


def test_texts_are_read_aloud(client: openai.OpenAI, hearing_live: Live) -> None:
    said = client.audio.speech.create(
        model=hearing_live.engine.model_name, voice="default", input="the ball", response_format="wav"
    )
    assert len(read_sound(said.content)[0])
    settings = httpx.get(f"{hearing_live.url}/page/settings.json").json()
    assert settings["has_transcripts"] is False and settings["voices"] == ["anna", "bert"]
