"""Stages that take a chatbot's bundle, on one of a model that hears vectors: respond, calibrate."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from chatbot.bundle import STAGE as BUNDLE
from chatbot.calibrate import STAGE as CALIBRATE
from chatbot.calibrate import CalibrateConfig
from chatbot.engine.silence import without_silence
from chatbot.respond import STAGE as RESPOND
from chatbot.respond import RespondConfig
from chatbot.settings import ChatSettings
from corpus.audio.files import read_audio
from lm.data.formats import chat_prompt
from lm.inference.listening_model import HeardPrompt, ListeningModel
from runtime.artefact import file_digest
from runtime.errors import UserError

from .conftest import CAPITALS, hearing_bundle_config


def responded(chain: Path, bundle: Path, out: Path) -> list[dict[str, Any]]:
    manifest = str(chain / "corpus" / "heldout_sentence.jsonl")
    RESPOND.execute(RespondConfig(out=str(out), bundle=str(bundle), manifest=manifest, batch=2))
    return [json.loads(line) for line in (out / "answers.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("name", ["whole", "streamed"])
def test_answers_are_those_of_the_model(name: str, chain: Path, hearing_chain: Path, tmp_path: Path) -> None:
    rows = responded(chain, hearing_chain / name / "bundle", tmp_path)
    assert len(rows) == len(CAPITALS) and any(row["reply_audio"] for row in rows)
    model = ListeningModel.from_pretrained(hearing_chain / name / "lm")
    reply = ChatSettings.load(hearing_chain / name / "bundle" / "bundle").reply
    for row in rows:
        clips = model.hear([without_silence(read_audio(tmp_path / row["audio"]), reply.kept_silence)])
        prompt = HeardPrompt(chat_prompt(model.placeholders(clips[0]), model.vocabulary), clips)
        (made,) = model.generate([prompt], max_new_tokens=reply.max_text_tokens, stop=model.vocabulary.end_ids)
        assert row["said"] == model.vocabulary.decode_text(made) and row["heard"] is None
        assert (row["seconds"] > 0) == (row["reply_audio"] is not None)


def test_a_calibrated_bundle_is_unsure(chain: Path, hearing_chain: Path, tmp_path: Path) -> None:
    given = hearing_chain / "streamed" / "bundle" / "bundle"
    manifest = str(chain / "corpus" / "heldout_sentence.jsonl")
    config = CalibrateConfig(out=str(tmp_path / "out"), bundle=str(given), manifest=manifest, wanted_loss=0.3, batch=3)
    metrics = CALIBRATE.execute(config)
    assert metrics["questions"] == len(CAPITALS) and 0 < metrics["min_confidence"] < 1 and metrics["loss"] <= 0.3
    rows = [json.loads(line) for line in (tmp_path / "out" / "confidences.jsonl").read_text().splitlines()]
    assert {row["medium"] for row in rows} == {"speech", "text"} and len({row["confidence"] for row in rows}) > 4
    made = tmp_path / "out" / "bundle"
    for part in ("hearing", "lm", "reader", "decoder"):
        assert file_digest(made / part) == file_digest(given / part)
    settings = ChatSettings.load(made)
    assert settings.reply.min_confidence == metrics["min_confidence"]
    settings.reply.min_confidence = 1.0
    settings.save(made)
    assert {row["said"] for row in responded(chain, made, tmp_path / "answers")} == {settings.reply.not_understood}


def test_a_model_that_speaks_a_template_is_refused(chain: Path, hearing_chain: Path, tmp_path: Path) -> None:
    data = shutil.copytree(hearing_chain / "whole" / "chat_data" / "chat", tmp_path / "data" / "chat")
    record = json.loads((data / "corpus.json").read_text())
    (data / "corpus.json").write_text(json.dumps(record | {"has_targets": True}))
    options = {"out": str(tmp_path / "bundle"), "data": str(tmp_path / "data")}
    with pytest.raises(UserError, match="data/chat: documents in the chat template of a base model"):
        BUNDLE.execute(hearing_bundle_config(chain, hearing_chain / "whole", **options))
