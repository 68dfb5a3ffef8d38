"""text2token.pack of audio: documents with clips of the tars, or with stored vectors of the same."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from lm.data.clips import FeatureShards, speech_runs
from lm.data.corpora import CorpusInfo, open_corpus
from lm.data.text_tokenizers import train_bpe
from lm.data.vector_config import VectorsConfig
from lm.data.vocabulary import VECTORS, Vocabulary, build_vocabulary
from runtime.errors import UserError
from tests.support.small_speech_model import make_speech_tokenizer
from tests.support.small_synthesis import write_texts
from text2token import aloud, pack
from text2token.packing.clip_spans import StoredSpans
from text2token.synthesis.inspection import read_documents
from tokenizer.features import STAGE as FEATURES
from tokenizer.hearing.load import load_encoder

STRIDE = 2


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """texts.jsonl, tokenizer/, vocabulary/, and aloud/: 12 and 3 documents read by two voices."""
    root = tmp_path_factory.mktemp("packed")
    texts = write_texts(root / "texts.jsonl", 12)
    write_texts(root / "heldout.jsonl", 3, seed=9)
    make_speech_tokenizer().save_pretrained(root / "tokenizer")
    bpe = train_bpe(texts, 300)
    build_vocabulary(bpe, num_speech_tokens=1, speech_tokenizer=VECTORS).save_pretrained(root / "vocabulary")
    arguments = [f"texts={root / 'texts.jsonl'}", f"texts_heldout={root / 'heldout.jsonl'}", f"out={root / 'aloud'}"]
    voices = ["voices.engines=espeak", "voices.count=2", "unit_documents=5", "spans.mean_words=5", "spans.ratio=0.5"]
    assert aloud.STAGE.main([*arguments, *voices]) == 0
    assert run_features(root, root / "aloud", "features") == 0
    return root


def run_features(root: Path, corpus: Path, out: str) -> int:
    words = [f"encoder={root / 'tokenizer'}", f"corpus={corpus}", "splits=[train,valid]", f"out={root / out}"]
    return FEATURES.main(words)


def run_pack(world: Path, out: str, *more: str) -> int:
    given = [f"synthesised={world / 'aloud'}", f"vocabulary={world / 'vocabulary'}", f"out={world / out}"]
    replaced = {word.split("=")[0] for word in more}
    kept = [word for word in given if word.split("=")[0] not in replaced]
    return pack.STAGE.main([*kept, f"vectors.stride={STRIDE}", *more])


def opened(world: Path, out: str) -> CorpusInfo:
    return open_corpus(world / out / "interleaved", Vocabulary.from_pretrained(world / "vocabulary"))


@pytest.fixture(scope="module")
def heard(world: Path) -> CorpusInfo:
    assert run_pack(world, "heard", f"vectors.encoder={world / 'tokenizer'}") == 0
    return opened(world, "heard")


def corpus_bytes(info: CorpusInfo) -> dict[str, bytes]:
    files = [path for path in info.folder.rglob("unit-*") if path.suffix in (".bin", ".idx", ".npy")]
    return {str(path.relative_to(info.folder)): path.read_bytes() for path in files}


def documents_of(info: CorpusInfo) -> list[Any]:
    """Ids of each document, and the places of its clips."""
    return [
        (ids.tolist(), [(table.shard(int(span["shard"])).resolve(), span.tolist()[1:]) for span in table.of(number)])
        for split in ("train", "valid")
        for table in [info.clip_table(split)]
        for number, ids in enumerate(info.documents(split))
    ]


def test_text_is_kept_and_each_run_of_positions_is_a_spans_audio(world: Path, heard: CorpusInfo) -> None:
    v = Vocabulary.from_pretrained(world / "vocabulary")
    encoder = load_encoder(world / "tokenizer")
    assert heard.clips is not None and heard.clips.encoder == encoder.fingerprint
    spoken = list(read_documents(world / "aloud"))
    number = 0
    for split, count in (("train", 12), ("valid", 3)):
        table = heard.clip_table(split)
        documents = list(heard.documents(split))
        assert len(documents) == count
        for row, ids in enumerate(documents):
            document = spoken[number]
            number += 1
            left = "".join(piece for piece in document.pieces() if isinstance(piece, str))
            assert v.decode_text(ids).replace(" ", "") == left.replace(" ", "")
            runs, spans = speech_runs(ids, v), table.of(row)
            assert len(runs) == len(spans) == len(document.spans)
            for (start, stop), span, planned in zip(runs, spans, document.spans, strict=True):
                content = table.shard(int(span["shard"])).read_bytes()
                encoded = content[int(span["offset"]) : int(span["offset"] + span["bytes"])]
                audio, _ = soundfile.read(io.BytesIO(encoded))
                assert planned.clip is not None and len(audio) == planned.clip.samples == span["samples"]
                assert stop - start == -(-encoder.num_positions(len(audio)) // STRIDE)
    assert max(len(one.spans) for one in spoken) > 1
    names = json.loads((heard.folder / "train/unit-000000.files.json").read_text())["files"]
    assert names and all(name.startswith("../../aloud/") for name in names)  # both can be moved together
    card = (heard.folder / "README.md").read_text()
    made = heard.provenance
    assert (
        f"{made['realised_ratio']:.4f} of the words" in card and "12.5 vectors a second of 16, 2 to a position" in card
    )
    assert made["audio_hours"] * 3600 == pytest.approx(
        sum(span.clip.samples for one in spoken[:12] for span in one.spans if span.clip) / 16_000, abs=0.2
    )


def test_the_cut_into_units_changes_no_document(world: Path, heard: CorpusInfo) -> None:
    assert run_pack(world, "one", f"vectors.encoder={world / 'tokenizer'}", "unit_files=1") == 0
    cut = opened(world, "one")
    assert len(cut.shards("train")) == 3 and len(heard.shards("train")) == 1
    assert documents_of(cut) == documents_of(heard)


def test_stored_vectors_have_the_same_ids_and_are_the_encoders(world: Path, heard: CorpusInfo) -> None:
    assert run_pack(world, "stored", f"vectors.features={world / 'features'}") == 0
    stored = opened(world, "stored")
    assert stored.clips is not None and stored.clips.fingerprint == heard.clips.fingerprint  # type: ignore[union-attr]
    audio, vectors = corpus_bytes(heard), corpus_bytes(stored)
    assert all(audio[name] == vectors[name] for name in audio if not name.endswith("spans.npy"))
    encoder = load_encoder(world / "tokenizer")
    tables = heard.clip_table("train"), stored.clip_table("train")
    shards = FeatureShards(tables[1])
    for document in range(12):
        for number, span in enumerate(tables[0].of(document)):
            content = tables[0].shard(int(span["shard"])).read_bytes()
            encoded = content[int(span["offset"]) : int(span["offset"] + span["bytes"])]
            samples, _ = soundfile.read(io.BytesIO(encoded), dtype="float32")
            (wanted,) = encoder.encode([samples])
            np.testing.assert_allclose(shards.read(document, number), wanted.numpy(), atol=2e-3, rtol=2e-3)


def test_a_smaller_ratio_takes_clips_out(world: Path, heard: CorpusInfo) -> None:
    assert run_pack(world, "less", f"vectors.encoder={world / 'tokenizer'}", "ratio=0.1") == 0
    less = opened(world, "less")
    assert 0 < less.clip_table("train").num_clips < heard.clip_table("train").num_clips
    assert less.provenance["unused_spans"] > 0
    assert 0.03 < less.provenance["realised_ratio"] < heard.provenance["realised_ratio"]


def test_spans_beyond_max_seconds_stay_text(world: Path, heard: CorpusInfo) -> None:
    assert run_pack(world, "short", f"vectors.encoder={world / 'tokenizer'}", "vectors.max_seconds=2") == 0
    short = opened(world, "short")
    rejected: dict[str, Any] = short.provenance["rejected"]
    assert rejected["no_vector"] + short.clip_table("train").num_clips == heard.clip_table("train").num_clips


def test_mistakes(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    codes = build_vocabulary(train_bpe(["a b"], 260), num_speech_tokens=8, speech_tokenizer="abc")
    codes.save_pretrained(tmp_path / "codes")
    lines = (world / "texts.jsonl").read_text().splitlines()[:3]
    (tmp_path / "texts.jsonl").write_text("\n".join(lines))
    other = [f"texts={tmp_path / 'texts.jsonl'}", "voices.engines=espeak", "seed=5", f"out={tmp_path / 'other'}"]
    assert aloud.STAGE.main(other) == 0
    encoder = f"vectors.encoder={world / 'tokenizer'}"
    for more, message in (
        ([], "audio of text2token.aloud. give vectors.encoder"),
        ([encoder, f"vocabulary={tmp_path / 'codes'}"], "a speech block of 8 tokens"),
        ([f"vectors.features={world / 'features'}", f"synthesised={tmp_path / 'other'}"], "features of other speech"),
        ([f"vectors.encoder={tmp_path}"], "no speech encoder"),
        ([encoder, "vectors.layer=top"], "layer top of an artefact of tokenizer.train"),
    ):
        assert run_pack(world, "wrong", *more) == 2
        assert message in capsys.readouterr().err


def test_features_that_were_changed_are_refused(world: Path, tmp_path: Path) -> None:
    """Vectors of other audio under the same keys: the lengths differ."""
    v = Vocabulary.from_pretrained(world / "vocabulary")
    spans = StoredSpans(VectorsConfig(features=str(world / "features")), v)
    cut = json.loads((world / "aloud/train/pass-0-unit-000000.cuts.jsonl").read_text().splitlines()[0])
    clip = next(one.spans[0].clip for one in read_documents(world / "aloud") if one.spans)
    assert clip is not None and spans.span(Path("a.tar"), cut["id"], clip) is not None
    assert spans.span(Path("a.tar"), "none-of-them", clip) is None
    with pytest.raises(UserError, match=r"utterance train-pass-0.*vectors of .* s, where a\.tar has"):
        spans.span(Path("a.tar"), cut["id"], clip._replace(samples=clip.samples + 1))
