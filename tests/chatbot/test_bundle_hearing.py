"""Bundles of models that hear vectors: their parts, and parts that do not belong together."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from chatbot.bundle import STAGE
from chatbot.engine.bundle_parts import Bundle
from chatbot.engine.engine import Engine
from chatbot.engine.options import EngineOptions
from chatbot.question_limits import QuestionLimits
from chatbot.settings import ChatSettings, HearingSettings
from lm.data.hearing_folder import is_listening_model
from runtime.artefact import file_digest
from runtime.errors import UserError

from .conftest import hearing_bundle_config, make_decoder, make_tokenizer, make_vocabulary, save_lm


def test_a_bundle_of_a_hearing_model_holds_copies_of_its_parts(chain: Path, hearing_chain: Path) -> None:
    source, folder = hearing_chain / "whole", hearing_chain / "whole" / "bundle" / "bundle"
    parts = {"lm": source / "lm/model", "hearing": source / "lm/hearing"}
    parts |= {"reader": chain / "lm/model", "decoder": chain / "decoder/artefact"}
    assert {part: file_digest(folder / part) for part in parts} == {part: file_digest(parts[part]) for part in parts}
    assert not (folder / "tokenizer").exists()
    assert is_listening_model(source / "lm") and not is_listening_model(folder)  # evaluations serve the latter
    settings = ChatSettings.load(folder)
    record = json.loads((source / "lm" / "hearing" / "hearing.json").read_text())
    assert settings.hearing == HearingSettings(encoder=record["encoder"], positions_per_second=6.25)
    assert (settings.voice, settings.reply.transcribe_first, settings.can_transcribe) == ("anna", False, False)
    bundle = Bundle.from_pretrained(folder)
    assert bundle.vocabulary.fingerprint != bundle.spoken_vocabulary.fingerprint
    assert QuestionLimits.of_bundle(folder).longest == bundle.longest_question == 15.0
    # 12 tokens of text and the marks are kept for the answer, and none for speech, which the reader makes.
    assert bundle.max_prompt_tokens == 512 - 12 - 8


def test_settings_without_hearing_are_as_before(chain: Path) -> None:
    assert "hearing" not in yaml.safe_load((chain / "bundle" / "bundle" / "chat.yaml").read_text())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"reader": ""}, "option reader: found ''.*give a text-to-token model"),
        ({"tokenizer": "tokenizer"}, "option tokenizer: .*leave it out: the model hears by the encoder"),
        ({"lm": "lm/model"}, "option tokenizer: found ''.*give the tokenizer"),
        ({"lm": "lm/model", "tokenizer": "tokenizer"}, "speech as vectors, but the language model's export has no"),
    ],
)
def test_parts_that_are_missing_or_too_many_are_named(
    chain: Path, hearing_chain: Path, tmp_path: Path, changes: dict[str, str], words: str
) -> None:
    folder = hearing_chain / "whole"
    where = {"lm": folder, "tokenizer": chain}
    given = {name: str(where[name] / value) if value else value for name, value in changes.items() if name in where}
    with pytest.raises(UserError, match=words):
        STAGE.execute(hearing_bundle_config(chain, folder, out=str(tmp_path / "out"), **(changes | given)))


def test_parts_of_other_trainings_are_refused(chain: Path, hearing_chain: Path, tmp_path: Path) -> None:
    def bundled(**changes: object) -> None:
        STAGE.execute(hearing_bundle_config(chain, hearing_chain / "whole", out=str(tmp_path / "out"), **changes))

    other = make_tokenizer(seed=5)
    make_decoder(other.fingerprint).save_pretrained(tmp_path / "decoder")
    with pytest.raises(UserError, match=r"the decoder: made for speech tokenizer .* but the reader's tokens are of"):
        bundled(decoder=str(tmp_path / "decoder"))
    save_lm(tmp_path / "reader", make_vocabulary(other.fingerprint))
    with pytest.raises(UserError, match=r"the decoder: made for speech tokenizer"):
        bundled(reader=str(tmp_path / "reader"))
    with pytest.raises(UserError, match=r"a corpus for encoder .* and stride 2, but the model hears by"):
        bundled(data=str(hearing_chain / "streamed" / "chat_data"))
    with pytest.raises(UserError, match=r"a corpus of vocabulary .* but the language model's is"):
        bundled(data=str(chain / "chat_data"))


def change_yaml(folder: Path, change: Callable[[dict[str, dict[str, object]]], object]) -> None:
    plain = yaml.safe_load((folder / "chat.yaml").read_text())
    change(plain)
    (folder / "chat.yaml").write_text(yaml.safe_dump(plain))


def change_record(folder: Path, **changes: object) -> None:
    file = folder / "hearing" / "hearing.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: shutil.rmtree(folder / "hearing"), "no folder hearing/"),
        (lambda folder: shutil.rmtree(folder / "reader"), "no folder reader/"),
        (lambda folder: change_record(folder, encoder="another"), "where the model was trained with another"),
        (lambda folder: change_record(folder, source=""), "no encoder in its hearing/"),
        (lambda folder: (folder / "hearing" / "connector.safetensors").write_bytes(b"x"), "not a whole speech input"),
        (lambda folder: change_yaml(folder, lambda plain: plain["hearing"].update(encoder="b")), "chat.yaml says b at"),
        (lambda folder: change_yaml(folder, lambda plain: plain["hearing"].update(ears=2)), "ears"),
        (lambda folder: change_yaml(folder, lambda plain: plain.update(vocabulary="0")), "but chat.yaml says 0"),  # type: ignore[call-overload]
        (lambda folder: change_yaml(folder, lambda plain: plain["reply"].update(format="streaming")), "text_guided"),
    ],
)
def test_spoilt_bundles_of_hearing_models_are_explained(
    hearing_chain: Path, tmp_path: Path, spoil: Callable[[Path], object], words: str
) -> None:
    shutil.copytree(hearing_chain / "whole" / "bundle" / "bundle", tmp_path / "bundle")
    spoil(tmp_path / "bundle")
    with pytest.raises(UserError, match=words):
        Bundle.from_pretrained(tmp_path / "bundle")


def test_an_endpoint_takes_no_vectors(hearing_chain: Path) -> None:
    options = EngineOptions(backend_url="http://127.0.0.1:9/v1")
    with pytest.raises(UserError, match="a model that hears vectors, which no endpoint takes"):
        Engine.from_pretrained(hearing_chain / "whole" / "bundle", options)
