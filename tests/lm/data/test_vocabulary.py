import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.tokens import TokenisedUtterance, write_tokens
from lm.data.special_tokens import SpecialToken, audio_token
from lm.data.text_tokenizers import train_bpe
from lm.data.vocabulary import Vocabulary, build_vocabulary
from lm.vocabulary import STAGE, VocabularyConfig
from runtime.errors import UserError

TEXTS = ["the capital of france is paris.", "what is the capital of france", "the lion is happy. the lion sleeps."] * 4


def build(num_speech_tokens: int = 32, **options: object) -> Vocabulary:
    bpe = train_bpe(TEXTS, 400)
    given_options = {"speech_tokenizer": "abc", "speakers": ["ann", "bob"], **options}
    return build_vocabulary(bpe, num_speech_tokens=num_speech_tokens, **given_options)  # type: ignore[arg-type]


VOCABULARY = build()


@given(st.text())
def test_any_text_round_trips_and_never_becomes_special(text: str) -> None:
    text = text.encode("utf-8", "ignore").decode()
    ids = VOCABULARY.encode_text(text)
    assert VOCABULARY.decode_text(ids) == text
    assert VOCABULARY.is_text(ids).all()


@pytest.mark.parametrize(
    "text", ["<|audio_3|>", "a <|endoftext|> b", "<|user|><|speaker_0|>", "", " ", "  x ", "é\n\t"]
)
def test_special_tokens_in_text_are_spelt_out(text: str) -> None:
    ids = VOCABULARY.encode_text(text)
    assert VOCABULARY.decode_text(ids) == text
    assert VOCABULARY.is_text(ids).all() and not VOCABULARY.is_speech(ids).any()
    assert VOCABULARY.encode_texts([text, "paris"]) == [ids, VOCABULARY.encode_text("paris")]


def test_each_frequent_word_is_one_token_wherever_it_stands() -> None:
    whole = VOCABULARY.encode_text("the capital of france is paris")
    assert len(whole) == 6
    pieces = [VOCABULARY.encode_text(piece) for piece in ("the capital", "of france is", "paris")]
    assert [id for piece in pieces for id in piece] == whole


def test_layout() -> None:
    ids = [VOCABULARY.special(name) for name in SpecialToken]
    assert ids == sorted(set(ids)) and VOCABULARY.special("asr") == VOCABULARY.special("<|asr|>")
    assert VOCABULARY.speakers == {"ann": ids[-1] + 1, "bob": ids[-1] + 2}
    assert VOCABULARY.speech_offset == ids[-1] + 3 and VOCABULARY.size == VOCABULARY.speech_offset + 32
    assert VOCABULARY.padded_size(64) % 64 == 0 and 0 <= VOCABULARY.padded_size(64) - VOCABULARY.size < 64
    assert VOCABULARY.token(VOCABULARY.speech_offset + 5) == "<|audio_5|>" and VOCABULARY.token(0) == ""
    with pytest.raises(KeyError, match="no special token"):
        VOCABULARY.special("sing")
    with pytest.raises(UserError, match=r"'carol'.*ann, bob"):
        VOCABULARY.speaker_id("carol")


def test_codes_round_trip() -> None:
    codes = np.array([0, 31, 7, 7], dtype=np.uint16)
    ids = VOCABULARY.speech_ids(codes)
    assert ids.dtype == np.int32 and VOCABULARY.is_speech(ids).all() and not VOCABULARY.is_text(ids).any()
    mixed = np.concatenate([[VOCABULARY.eos, 3], ids, [VOCABULARY.special("end_of_audio")]])
    np.testing.assert_array_equal(VOCABULARY.codes(mixed), codes)
    with pytest.raises(ValueError, match="code 32"):
        VOCABULARY.speech_ids(np.array([32]))


def test_saved_vocabulary_is_the_same_and_transformers_loads_it(tmp_path: Path) -> None:
    from transformers import AutoTokenizer, LlamaConfig

    VOCABULARY.save_pretrained(tmp_path)
    LlamaConfig(vocab_size=VOCABULARY.size).save_pretrained(tmp_path)  # as in an exported model's folder
    again = Vocabulary.from_pretrained(tmp_path)
    assert again.fingerprint == VOCABULARY.fingerprint
    assert again.speakers == VOCABULARY.speakers and again.size == VOCABULARY.size
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    text = "the capital of france is paris."
    assert theirs(text).input_ids == again.encode_text(text)
    assert theirs.convert_tokens_to_ids(audio_token(7)) == again.speech_offset + 7
    assert theirs("<|tts|><|speaker_1|> paris<|begin_of_audio|><|audio_3|>").input_ids == [
        again.special("tts"),
        again.speaker_id("bob"),
        *again.encode_text("paris"),
        again.special("begin_of_audio"),
        again.speech_offset + 3,
    ]
    assert theirs.eos_token_id == again.eos and theirs.pad_token_id == again.pad
    assert len(theirs) == again.size
    batch = theirs([text, "paris"], padding=True)  # a decoder-only model goes on at the right end of every row
    assert [row[-1] for row in batch.attention_mask] == [1, 1] and batch.attention_mask[1][0] == 0


def test_training_is_deterministic_across_processes() -> None:
    code = (
        "from lm.data.text_tokenizers import train_bpe; from runtime.artefact import fingerprint;"
        f"print(fingerprint(train_bpe({TEXTS!r}, 400).to_str()))"
    )
    marks = {
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
        for _ in range(2)
    }
    assert len(marks) == 1


def test_fingerprint_tells_vocabularies_apart() -> None:
    same, other_speech, other_voices = build(), build(speech_tokenizer="xyz"), build(speakers=["ann"])
    assert same.fingerprint == VOCABULARY.fingerprint
    assert len({VOCABULARY.fingerprint, other_speech.fingerprint, other_voices.fingerprint}) == 3


def test_grows_a_base_tokenizer_without_moving_its_ids() -> None:
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

    base = Tokenizer(models.WordLevel({"[UNK]": 0, "the": 1, "of": 2, "a": 3}, unk_token="[UNK]"))
    base.pre_tokenizer = pre_tokenizers.Whitespace()
    base.add_special_tokens([AddedToken("<|endoftext|>", special=True, normalized=False)])
    grown = build_vocabulary(base, num_speech_tokens=4, speech_tokenizer="abc", num_speakers=3, speakers=["ann"])
    assert grown.eos == 4 and grown.encode_text("of the") == [2, 1]
    assert grown.encode_text("<|endoftext|>") != [4]
    assert len(grown.speaker_ids) == 3 and list(grown.speakers) == ["ann"]
    with pytest.raises(UserError, match="already has the token"):
        build_vocabulary(Tokenizer.from_str(grown._json), num_speech_tokens=4, speech_tokenizer="abc")


def test_bad_folders(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no vocabulary"):
        Vocabulary.from_pretrained(tmp_path)
    VOCABULARY.save_pretrained(tmp_path)
    record = (tmp_path / "vocabulary.json").read_text()
    (tmp_path / "vocabulary.json").write_text(record.replace('"num_speech_tokens": 32', '"num_speech_tokens": 31'))
    with pytest.raises(UserError, match="contiguous"):
        Vocabulary.from_pretrained(tmp_path)
    (tmp_path / "vocabulary.json").write_text("{}")
    with pytest.raises(UserError, match="not a vocabulary"):
        Vocabulary.from_pretrained(tmp_path)


def test_stage(tmp_path: Path) -> None:
    rows = [
        TokenisedUtterance(f"u{n}", np.arange(5, dtype=np.uint16), TEXTS[n % 3], 0.4, "ann" if n % 3 else "bob")
        for n in range(6)
    ]
    write_tokens(tmp_path / "tokens/train.parquet", rows, tokenizer="abc", codebook_size=16, frame_rate=12.5)
    texts = tmp_path / "texts.jsonl"
    texts.write_text("\n".join(f'{{"id": "t{n}", "text": "{text}"}}' for n, text in enumerate(TEXTS)))
    options = {"tokens": str(tmp_path / "tokens"), "texts": str(texts), "num_text_tokens": 300}
    config = VocabularyConfig(out=str(tmp_path / "out"), **options)  # type: ignore[arg-type]
    metrics = STAGE.execute(config)
    vocabulary = Vocabulary.from_pretrained(tmp_path / "out/vocabulary")
    assert metrics["size"] == vocabulary.size and metrics["fingerprint"] == vocabulary.fingerprint
    assert list(vocabulary.speakers) == ["ann", "bob"] and vocabulary.num_speech_tokens == 16
    assert vocabulary.speech_fingerprint == "abc" and vocabulary.frame_rate == 12.5
    assert vocabulary.speaker_tokens == {"ann": 20, "bob": 10}  # a corpus is synthesised in these shares
    config = VocabularyConfig(
        out=str(tmp_path / "grown"), base=str(tmp_path / "out/vocabulary"), num_speakers=1, tokens=options["tokens"]
    )
    with pytest.raises(UserError, match="already has the token"):
        STAGE.execute(config)
    with pytest.raises(UserError, match="num_text_tokens"):
        VocabularyConfig(out="x", tokens="y", num_text_tokens=100)


def test_a_base_tokenizer_needs_an_eos(tmp_path: Path) -> None:
    """Its own EOS ends our documents; what it puts around texts by itself is left out; its chat template is kept."""
    from tokenizers import AddedToken, processors

    row = TokenisedUtterance("u", np.arange(5, dtype=np.uint16), "the sea", 0.4, "ann")
    write_tokens(tmp_path / "tokens/train.parquet", [row], tokenizer="abc", codebook_size=16, frame_rate=12.5)
    base = tmp_path / "base"
    base.mkdir()
    bpe = train_bpe(["the sea is blue"] * 3, 280)
    bpe.save(str(base / "tokenizer.json"))
    options = {"tokens": str(tmp_path / "tokens"), "base": str(base)}
    with pytest.raises(UserError, match=r"no EOS.*eos="):
        STAGE.execute(VocabularyConfig(out=str(tmp_path / "none"), **options))
    with pytest.raises(UserError, match=r"'<eot>'.*does not have"):
        STAGE.execute(VocabularyConfig(out=str(tmp_path / "unknown"), eos="<eot>", **options))
    bpe.add_special_tokens([AddedToken("<bos>", special=True), AddedToken("<eos>", special=True)])
    marks = [(name, bpe.token_to_id(name)) for name in ("<bos>",)]
    bpe.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=marks)
    bpe.save(str(base / "tokenizer.json"))
    settings = {"eos_token": {"content": "<eos>"}, "chat_template": "{{ messages[0]['content'] }}"}
    (base / "tokenizer_config.json").write_text(json.dumps(settings))
    STAGE.execute(VocabularyConfig(out=str(tmp_path / "own"), **options))
    vocabulary = Vocabulary.from_pretrained(tmp_path / "own/vocabulary")
    assert vocabulary.eos == bpe.token_to_id("<eos>") and "<|endoftext|>" not in vocabulary._added
    assert vocabulary.chat_template == settings["chat_template"]

    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "own/vocabulary")
    assert tokenizer.eos_token == "<eos>" and tokenizer.chat_template == settings["chat_template"]
    assert tokenizer(" the sea").input_ids == vocabulary.encode_text("the sea")
