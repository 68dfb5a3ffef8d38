"""A model that reads speech as vectors, exported: losses and answers are those of its training, also from sound."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from corpus.audio.files import read_audio, write_audio
from lm.data.clips import AudioClip, ClipDocument, ClipRecord
from lm.data.corpora import open_corpus, write_corpus
from lm.data.formats import asr_document, asr_prompt
from lm.data.loss_mask import loss_mask
from lm.data.text_tokenizers import train_bpe
from lm.data.vocabulary import Vocabulary, build_vocabulary
from lm.export import STAGE as EXPORT
from lm.huggingface.config import ExportConfig
from lm.inference.lent_vectors import fill_placeholders
from lm.inference.listening_model import HeardPrompt, ListeningModel
from lm.train import STAGE as TRAIN
from lm.training.config import LmTrainConfig
from lm.training.loop_config import LoopConfig
from lm.training.model_config import LmModelConfig
from lm.training.speech_config import ConnectorConfig, SpeechConfig
from runtime.errors import UserError
from runtime.stage import Run
from tests.support.small_speech_model import TEXTS, make_speech_tokenizer, noise
from tests.support.tiny_lm import LOOP, MODEL
from tokenizer.hearing.load import load_encoder

# One document is never cut, and no row of the embedding is padding, which would have a share in the losses of training.
WHOLE = {"packing": "best_fit", "sequence_length": 64, "steps": 8, "vocabulary_multiple": 1}


def export(trained: Path, vocabulary: Path) -> dict[str, Any]:
    config = ExportConfig(out=str(trained / "export"), checkpoint=str(trained), vocabulary=str(vocabulary))
    return EXPORT.run(config, Run(trained / "export"))


def heard_loss(model: ListeningModel, folder: Path, vectors: Any) -> float:
    """The mean loss of the validation documents' text, by the exported model."""
    corpus = open_corpus(folder, model.vocabulary)
    table = corpus.clip_table("valid")
    features = np.fromfile(vectors.folder / "features.bin", dtype=np.float16).reshape(-1, 12)
    losses, count = 0.0, 0
    for number, document in enumerate(corpus.documents("valid")):
        spans = table.of(number)
        stored = [features[int(one["first"]) : int(one["first"] + one["frames"])] for one in spans]
        clips = model.connect([torch.from_numpy(one.astype(np.float32)) for one in stored])
        with model.generator.model.vectors.lent(clips) as ids:
            row = fill_placeholders(document, ids, model.vocabulary)
            found = model.generator.log_probabilities([row])[0]
        counted = loss_mask(document, model.vocabulary, loss="text_without_marks")[1:].astype(bool)
        losses, count = losses - float(found[counted].sum()), count + int(counted.sum())
    return losses / count


@pytest.mark.parametrize("connector", [{}, {"kind": "linear"}], ids=["mlp", "linear"])
def test_an_exported_model_has_the_losses_of_its_training(
    connector: dict[str, Any], vectors: Any, run_ranks: Any, tmp_path: Path
) -> None:
    trained = run_ranks(lambda: vectors.train(tmp_path, connector=connector, **WHOLE), 1)[0]
    metrics = run_ranks(lambda: export(tmp_path, vectors.folder / "vocabulary"), 1)[0]
    assert metrics["logit_difference"] < 1e-4 and not metrics["encoder"]
    model = ListeningModel.from_pretrained(tmp_path / "export")
    for form in ("asr", "interleaved"):
        loss = heard_loss(model, vectors.folder / form, vectors)
        assert loss == pytest.approx(trained.metrics[f"val_loss.{form}"], rel=1e-3)
    with pytest.raises(UserError, match="takes no sound"):
        model.hear([np.zeros(16000, dtype=np.float32)])


class Recorded(NamedTuple):
    """Corpora of recordings, the tokenizer that hears them, and the sound of each validation clip."""

    folder: Path
    vocabulary: Vocabulary
    audios: list[np.ndarray]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    folder = tmp_path_factory.mktemp("recorded")
    make_speech_tokenizer().save_pretrained(folder / "tokenizer")
    encoder = load_encoder(folder / "tokenizer", layer="back")
    record = ClipRecord(
        kind="audio", encoder=encoder.fingerprint, source=str(folder / "tokenizer"), layer="back",
        positions_per_second=encoder.positions_per_second, width=encoder.width, stride=2,
    )  # fmt: skip
    vocabulary = build_vocabulary(train_bpe(TEXTS * 4, 300), num_speech_tokens=1, speech_tokenizer="none")
    vocabulary.save_pretrained(folder / "vocabulary")
    documents, audios = [], []
    for number in range(24):
        audio = noise(number, 0.5 + number / 12)
        write_audio(folder / f"{number}.wav", audio)
        positions = encoder.num_positions(len(audio))
        size = (folder / f"{number}.wav").stat().st_size
        clip = AudioClip(folder / f"{number}.wav", 0, size, len(audio), positions)
        run = np.zeros(record.num_placeholders(positions), dtype=np.uint16)
        documents.append(ClipDocument(asr_document(run, TEXTS[number % 2], vocabulary), [clip]))
        audios.append(read_audio(folder / f"{number}.wav"))
    write_corpus(folder / "asr", "asr", vocabulary, documents[4:], documents[:4], {}, clips=record)
    return Recorded(folder, vocabulary, audios)


@pytest.mark.parametrize("parts", [["connector", "lm"], ["connector", "encoder", "lm"]], ids=["frozen", "trained"])
def test_an_exported_model_hears_what_it_heard_in_training(
    parts: list[str], recorded: Recorded, run_ranks: Any, tmp_path: Path
) -> None:
    def train() -> Any:
        config = LmTrainConfig(
            out=str(tmp_path),
            vocabulary=str(recorded.folder / "vocabulary"),
            corpora={"asr": str(recorded.folder / "asr")},
            model=LmModelConfig(**MODEL | {"vocabulary_multiple": 1}),
            train=LoopConfig(**LOOP | {"sequence_length": 64, "steps": 6, "packing": "best_fit"}),
            speech=SpeechConfig(train=parts, connector=ConnectorConfig(kind="stack", stride=2)),
        )
        return TRAIN.run(config, Run(tmp_path))

    metrics = run_ranks(train, 1)[0]
    assert run_ranks(lambda: export(tmp_path, recorded.folder / "vocabulary"), 1)[0]["encoder"]
    shutil.move(tmp_path / "export", tmp_path / "moved")  # the folder holds all that it needs
    model = ListeningModel.from_pretrained(tmp_path / "moved")
    losses, count = 0.0, 0
    for number, clip in enumerate(model.hear(recorded.audios[:4])):
        document = asr_document(model.placeholders(clip), TEXTS[number % 2], recorded.vocabulary)
        with model.generator.model.vectors.lent([clip]) as ids:
            found = model.generator.log_probabilities([fill_placeholders(document, ids, model.vocabulary)])[0]
        counted = loss_mask(document, model.vocabulary, loss="text_without_marks")[1:].astype(bool)
        losses, count = losses - float(found[counted].sum()), count + int(counted.sum())
    assert losses / count == pytest.approx(metrics["val_loss.asr"], rel=1e-3)

    # Alone or among others, a prompt is answered the same, and another sound makes another answer likely.
    heard = model.hear(recorded.audios[:6])
    prompts = [HeardPrompt(asr_prompt(model.placeholders(one), model.vocabulary), [one]) for one in heard]
    together = model.generate(prompts, max_new_tokens=8, stop=[model.vocabulary.eos], temperature=1.0, seeds=[1] * 6)
    alone = [
        model.generate([one], max_new_tokens=8, stop=[model.vocabulary.eos], temperature=1.0, seeds=[1])[0]
        for one in prompts
    ]
    assert [row.tolist() for row in together] == [row.tolist() for row in alone]
    document = asr_document(model.placeholders(heard[0]), TEXTS[0], recorded.vocabulary)
    likely = []
    for clip in (heard[0], heard[5][: len(heard[0])], heard[0] * 0):
        with model.generator.model.vectors.lent([clip]) as ids:
            likely.append(model.generator.log_probabilities([fill_placeholders(document, ids, model.vocabulary)])[0])
    assert np.nanmax(abs(likely[1] - likely[0])) > 1e-4  # vectors themselves have no probability
    assert np.nanmax(abs(likely[2] - likely[0])) > 1e-2

    own = (tmp_path / "moved" / "hearing" / "encoder.safetensors").exists()
    assert own == ("encoder" in parts)
    (tmp_path / "moved" / "hearing" / "connector.safetensors").write_bytes(b"torn")
    with pytest.raises(UserError, match="not a whole speech input"):
        ListeningModel.from_pretrained(tmp_path / "moved")


def test_a_folder_without_speech_input_is_refused(recorded: Recorded) -> None:
    with pytest.raises(UserError, match="no speech input"):
        ListeningModel.from_pretrained(recorded.folder)
