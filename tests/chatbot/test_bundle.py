from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from chatbot.bundle import STAGE
from chatbot.engine.bundle_parts import Bundle
from chatbot.settings import ChatSettings, ReplySettings
from runtime.artefact import file_digest
from runtime.errors import UserError

from .conftest import bundle_config, make_decoder, make_tokenizer, make_vocabulary, prepare_config, save_lm


def test_a_bundle_holds_copies_of_its_parts(chain: Path) -> None:
    for part, source in (("tokenizer", "tokenizer/artefact"), ("lm", "lm/model"), ("decoder", "decoder/artefact")):
        assert file_digest(chain / "bundle" / "bundle" / part) == file_digest(chain / source)
    settings = ChatSettings.load(chain / "bundle" / "bundle")
    assert (settings.voice, settings.reply.transcribe_first, settings.reply.plain_words) == ("anna", True, True)


def test_a_bundle_can_be_moved(chain: Path, tmp_path: Path) -> None:
    shutil.copytree(chain / "bundle" / "bundle", tmp_path / "elsewhere")
    assert Bundle.from_pretrained(tmp_path / "elsewhere").settings.voice == "anna"


def test_transcribe_first_follows_from_the_data(chain: Path, tmp_path: Path) -> None:
    from chatbot.prepare import STAGE as PREPARE

    PREPARE.execute(prepare_config(chain, out=str(tmp_path / "data"), transcribe_first=False))
    metrics = STAGE.execute(bundle_config(chain, out=str(tmp_path / "out"), data=str(tmp_path / "data")))
    assert metrics["transcribe_first"] is False


def test_typed_texts_reach_the_model_as_it_has_learnt_them() -> None:
    typed = "What is 2 plus 3, Mary?"
    assert ReplySettings(plain_words=True).as_learnt(typed) == "what is two plus three mary"
    assert ReplySettings(plain_words=True).as_learnt("?!") == "?!"
    assert ReplySettings().as_learnt(typed) == typed


def test_settings_come_back(tmp_path: Path) -> None:
    reply = ReplySettings(transcribe_first=False, top_p=0.8, decoder_steps=4)
    settings = ChatSettings(tokenizer="a", vocabulary="b", voice="c", reply=reply)
    settings.save(tmp_path)
    assert ChatSettings.load(tmp_path) == settings


@pytest.mark.parametrize("part", ["tokenizer", "decoder", "lm", "data"])
def test_parts_of_another_chain_are_refused(chain: Path, tmp_path: Path, part: str) -> None:
    other = make_tokenizer(seed=5)
    folder = tmp_path / part
    if part == "tokenizer":
        other.save_pretrained(folder)
    elif part == "decoder":
        make_decoder(other.fingerprint).save_pretrained(folder)
    elif part == "lm":
        save_lm(folder, make_vocabulary(other.fingerprint))
    else:
        shutil.copytree(chain / "chat_data" / "chat", folder)
        record = folder / "corpus.json"
        record.write_text(record.read_text().replace('"vocabulary": "', '"vocabulary": "0'))
    with pytest.raises(UserError, match=r"speech tokenizer|a corpus of vocabulary"):
        STAGE.execute(bundle_config(chain, out=str(tmp_path / "out"), **{part: str(folder)}))
    assert not (tmp_path / "out" / "bundle").exists()


def test_missing_parts_are_named(chain: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no config.json in it"):
        STAGE.execute(bundle_config(chain, out=str(tmp_path / "out"), lm=str(chain / "tokenizer")))
    with pytest.raises(UserError, match="no chat corpus"):
        data = tmp_path / "data"
        data.mkdir()
        (data / "corpus.json").write_text('{"format": "text"}')
        STAGE.execute(bundle_config(chain, out=str(tmp_path / "out"), data=str(data)))
    with pytest.raises(UserError, match="is no voice of this decoder"):
        STAGE.execute(bundle_config(chain, out=str(tmp_path / "out"), voice="carl"))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: shutil.rmtree(folder / "decoder"), "no folder decoder/"),
        (lambda folder: (folder / "chat.yaml").unlink(), r"no chatbot bundle \(no chat.yaml\)"),
        (lambda folder: (folder / "chat.yaml").write_text("format: 7\n"), "no chat settings of format 1"),
        (lambda folder: (folder / "chat.yaml").write_text("a: [\n"), "not YAML"),
        (lambda folder: change(folder, "reply", {"top_q": 1}), "top_q"),
        (lambda folder: change(folder, "reply", {"top_p": 3.0}), "option reply.top_p: found 3.0"),
        (lambda folder: change(folder, "vocabulary", "0"), "but chat.yaml says 0"),
        (lambda folder: (folder / "tokenizer" / "model.safetensors").write_bytes(b"x"), "weights"),
        (lambda folder: (folder / "lm" / "vocabulary.json").unlink(), "no vocabulary"),
    ],
)
def test_spoilt_bundles_are_explained(chain: Path, tmp_path: Path, spoil: object, words: str) -> None:
    shutil.copytree(chain / "bundle" / "bundle", tmp_path / "bundle")
    assert callable(spoil)
    spoil(tmp_path / "bundle")
    with pytest.raises(UserError, match=words):
        Bundle.from_pretrained(tmp_path / "bundle")


def change(folder: Path, key: str, value: object) -> None:
    plain = yaml.safe_load((folder / "chat.yaml").read_text())
    plain[key] = plain[key] | value if isinstance(value, dict) else value
    (folder / "chat.yaml").write_text(yaml.safe_dump(plain))
