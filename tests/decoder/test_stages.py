"""The stages end to end: training, killing and resuming, resynthesis, and what they say about wrong input."""

from __future__ import annotations

import json
import multiprocessing
import threading
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from corpus.audio.files import read_audio
from corpus.audio.mel import LogMel
from corpus.manifest import Utterance, read_manifest, write_manifest
from corpus.tokens import TokenisedUtterance, read_tokens, write_tokens
from decoder.block_schedule import BlockSchedule
from decoder.model import SpeechDecoder
from decoder.resynthesise import STAGE as RESYNTHESISE
from decoder.train import STAGE as TRAIN
from decoder.train_vocoder import STAGE as TRAIN_VOCODER
from decoder.training.recordings import collate, draw, pair_examples, read_split
from decoder.training.voices import choose_voices
from runtime.errors import UserError
from runtime.fit import FittingLoop
from tests.support.changed_options import check_changed_options
from tests.support.odd_audio import SECONDS, check_warnings, write_odd_audio
from tests.support.permits import wait_for

VOCODER = ["model.width=16", "model.layers=1", "batch=2", "crop_frames=32", "fit.steps=12", "evaluate=1"]
FLOW = [f"{part}.{name}" for part in ("encoder", "flow.estimator") for name in ("width=32", "layers=1", "heads=2")]
SCHEDULE = BlockSchedule(Fraction(8), patch_frames=4, block_tokens=10, lookahead_tokens=0)
FIT = ["fit.warmup_steps=2", "fit.checkpoint_every=4", "fit.log_every=1"]


def vocoder_arguments(spoken: Path, out: str = "vocoder") -> list[str]:
    return [f"corpus={spoken}/corpus", f"out={spoken}/{out}", *VOCODER, *FIT]


def decoder_arguments(spoken: Path, out: str = "decoder") -> list[str]:
    inputs = [f"corpus={spoken}/corpus", f"tokens={spoken}/tokens", f"vocoder={spoken}/vocoder"]
    return [*inputs, f"out={spoken}/{out}", "voices=[all]", *FLOW, "batch=4", "fit.steps=12", *FIT]


@pytest.fixture
def trained(spoken: Path) -> Path:
    assert TRAIN_VOCODER.main(vocoder_arguments(spoken)) == 0
    assert TRAIN.main(decoder_arguments(spoken)) == 0
    return spoken


def test_the_chain_speaks(trained: Path) -> None:
    decoder = SpeechDecoder.from_pretrained(trained / "decoder" / "artefact")
    assert decoder.speakers == ["anna", "bert"]
    for vocoder in ("model", "griffin_lim", f"{trained}/vocoder"):
        out = trained / f"spoken-{Path(vocoder).name}"
        arguments = [f"tokens={trained}/tokens/heldout_sentence.parquet", f"decoder={trained}/decoder", f"out={out}"]
        assert RESYNTHESISE.main([*arguments, f"vocoder={vocoder}", "batch=3"]) == 0
        manifest = read_manifest(out / "manifest.jsonl")
        assert [item.text for item in manifest.utterances] == ["a tone"] * 4
        for item, spoken in zip(
            manifest.utterances, read_tokens(trained / "tokens" / "heldout_sentence.parquet").items, strict=True
        ):
            assert len(read_audio(item.audio)) == 1280 * len(spoken.tokens)
            assert item.speaker == spoken.speaker
    by_own, by_given = ((trained / f"spoken-{name}/audio").iterdir() for name in ("model", "vocoder"))
    assert {file.read_bytes() for file in by_own} == {file.read_bytes() for file in by_given}  # it is the same one


def test_a_vocoder_of_another_mel_is_refused(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = [word for word in vocoder_arguments(trained) if not word.startswith("out=")]
    assert TRAIN_VOCODER.main([*other, f"out={trained}/other", "mel.num_mels=60"]) == 0
    speak = [f"tokens={trained}/tokens/heldout_sentence.parquet", f"decoder={trained}/decoder", f"out={trained}/no"]
    assert "of another mel" in refusal(RESYNTHESISE, [*speak, f"vocoder={trained}/other"], capsys)
    again = [word for word in decoder_arguments(trained, "again") if not word.startswith("vocoder=")]
    taken = [f"vocoder={trained}/other", f"init={trained}/decoder"]
    assert "of another mel" in refusal(TRAIN, [*again, *taken], capsys)


def test_a_broken_resynthesis_goes_on_to_the_same_files(trained: Path) -> None:
    def speak(out: str) -> dict[str, bytes]:
        arguments = [f"tokens={trained}/tokens/heldout_sentence.parquet", f"decoder={trained}/decoder"]
        assert RESYNTHESISE.main([*arguments, f"out={trained}/{out}", "batch=2"]) == 0
        return {file.name: file.read_bytes() for file in sorted((trained / out / "audio").iterdir())}

    whole = speak("one")
    (trained / "one" / "done.json").unlink()
    (trained / "one" / "audio" / sorted(whole)[1]).unlink()
    assert speak("one") == whole == speak("two")


def run_held(main: Callable[[list[str]], int], arguments: list[str]) -> None:
    """Run a stage that never gets beyond a step after its first checkpoint, so that it is there to be killed."""
    advance, wait = FittingLoop.advance, threading.Event().wait
    FittingLoop.advance = lambda loop, loss: (loop.step == 6 and wait(), advance(loop, loss))[1]  # type: ignore[method-assign]
    main(arguments)


@pytest.mark.parametrize("stage", ["train_vocoder", "train"])
def test_kill_and_resume_end_with_the_same_bits(spoken: Path, stage: str) -> None:
    make = {"train_vocoder": vocoder_arguments, "train": decoder_arguments}[stage]
    if stage == "train":
        assert TRAIN_VOCODER.main(vocoder_arguments(spoken)) == 0
    main = {"train_vocoder": TRAIN_VOCODER.main, "train": TRAIN.main}[stage]
    assert main(make(spoken, "whole")) == 0
    process = multiprocessing.get_context("fork").Process(target=run_held, args=(main, make(spoken, "broken")))
    process.start()
    wait_for(lambda: list((spoken / "broken" / "checkpoint").glob("step-*.pt")) or not process.is_alive())
    assert process.is_alive()
    process.kill()
    process.join()
    assert not (spoken / "broken" / "done.json").exists()
    assert main(make(spoken, "broken")) == 0
    for file in ("artefact/model.safetensors", "metrics.json", "curve.jsonl"):
        assert (spoken / "broken" / file).read_bytes() == (spoken / "whole" / file).read_bytes(), file


def test_a_second_stage_starts_from_the_first(trained: Path) -> None:
    arguments = [word for word in decoder_arguments(trained, "second") if not word.startswith("voices")]
    arguments += [f"init={trained}/decoder", "fit.learning_rate=1e-9", "fit.final_learning_rate=0"]
    assert TRAIN.main([*arguments, "voices=[answer]"]) == 0
    first, second = (SpeechDecoder.from_pretrained(trained / out / "artefact") for out in ("decoder", "second"))
    assert second.speakers == first.speakers
    tokens = np.arange(6, dtype=np.uint16)
    np.testing.assert_allclose(first.decode(tokens, "anna"), second.decode(tokens, "anna"), atol=1e-4)


def test_learning_lowers_the_loss(spoken: Path) -> None:
    assert TRAIN_VOCODER.main(vocoder_arguments(spoken)) == 0
    arguments = [*decoder_arguments(spoken), "fit.steps=60", "fit.learning_rate=3e-3"]
    assert TRAIN.main(arguments) == 0
    rows = [json.loads(line) for line in (spoken / "decoder" / "curve.jsonl").read_text().splitlines()]
    assert rows[-1]["prior"] < 0.6 * rows[0]["prior"]
    assert rows[-1]["flow"] < 0.6 * rows[0]["flow"]


def refusal(stage: object, arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert stage.main(list(arguments)) == 2  # type: ignore[attr-defined]
    return " ".join(capsys.readouterr().err.split())


def test_wrong_input_is_explained(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tokens, decoder = f"tokens={trained}/tokens/heldout_sentence.parquet", f"decoder={trained}/decoder"
    out = f"out={trained}/wrong"
    assert "choose one of: anna, bert" in refusal(RESYNTHESISE, [tokens, decoder, out, "speaker=carl"], capsys)
    assert "no utterance of the voices carl" in refusal(RESYNTHESISE, [tokens, decoder, out, "voices=[carl]"], capsys)
    assert "decoder.train writes" in refusal(RESYNTHESISE, [tokens, f"decoder={trained}/tokens", out], capsys)
    assert "choose model, griffin_lim, or" in refusal(RESYNTHESISE, [tokens, decoder, out, "vocoder=hifi"], capsys)
    wrong = [word for word in decoder_arguments(trained, "wrong") if not word.startswith("voices")]
    assert "carl chosen" in refusal(TRAIN, [*wrong, "voices=[carl]"], capsys)
    (trained / "corpus" / "voices.json").unlink()
    assert "no answer voice" in refusal(TRAIN, [*wrong, "voices=[answer]"], capsys)


def test_tokens_of_another_length_are_bad_records(spoken: Path) -> None:
    utterances = read_split(spoken / "corpus", "train", [], 0.0)
    speech = read_tokens(spoken / "tokens" / "train.parquet")
    object.__setattr__(speech.items[2], "tokens", speech.items[2].tokens[:-1])
    with pytest.raises(UserError, match="tokens for audio of"):
        list(pair_examples(utterances, speech, LogMel(), SCHEDULE, ["anna", "bert"], max_bad_share=0.0))
    assert len(list(pair_examples(utterances, speech, LogMel(), SCHEDULE, ["anna", "bert"], max_bad_share=0.2))) == 7


def test_unreadable_audio_is_skipped_up_to_a_share(spoken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (spoken / "corpus" / "audio" / "train-3.flac").write_bytes(b"no sound")
    assert "train-3" in refusal(TRAIN_VOCODER, vocoder_arguments(spoken), capsys)
    assert TRAIN_VOCODER.main([*vocoder_arguments(spoken), "max_bad_share=0.2"]) == 0


def test_each_epoch_draws_everything_once() -> None:
    drawn = [index for step in range(10) for index in draw(20, 4, seed=3, step=step)]
    assert sorted(drawn[:20]) == sorted(drawn[20:]) == list(range(20))
    assert drawn[:20] != drawn[20:]
    assert draw(20, 4, seed=3, step=7) == draw(20, 4, seed=3, step=7) != draw(20, 4, seed=4, step=7)


def test_batches_are_padded_to_whole_tokens(spoken: Path) -> None:
    speech = read_tokens(spoken / "tokens" / "train.parquet")
    utterances = read_split(spoken / "corpus", "train", ["anna"], 0.0)
    examples = list(pair_examples(utterances, speech, LogMel(), SCHEDULE, ["anna"], 0.0))
    batch = collate(examples, SCHEDULE)
    assert batch.mel.shape == (4, 8 * batch.tokens.shape[1], 80)
    assert batch.is_real.sum(1).tolist() == [len(example.tokens) for example in examples]


def test_voices_by_name_all_and_answer(spoken: Path) -> None:
    assert choose_voices(spoken / "corpus", ["all"]) == ["anna", "bert"]
    assert choose_voices(spoken / "corpus", ["answer"]) == ["anna"]
    assert choose_voices(spoken / "corpus", ["bert", "answer"]) == ["anna", "bert"]


def test_changed_options_of_both_trainers(spoken: Path, capfd: pytest.CaptureFixture[str]) -> None:
    neutral = ["fit.checkpoint_every=3", "fit.threads=2"]
    vocoder = [word for word in vocoder_arguments(spoken) if not word.startswith("out=")]
    check_changed_options(TRAIN_VOCODER.main, vocoder, spoken / "vocoder", capfd, steps="fit.steps", neutral=neutral)
    decoder = [word for word in decoder_arguments(spoken) if not word.startswith("out=")]
    check_changed_options(TRAIN.main, decoder, spoken / "changed", capfd, steps="fit.steps", neutral=neutral)


def test_recordings_that_look_wrong_are_counted(spoken: Path) -> None:
    """In the training of the vocoder and of the flow model alike; audio without a header is a bad record."""
    utterances = read_manifest(spoken / "corpus" / "train.jsonl").utterances
    files = write_odd_audio(spoken / "odd")
    odd = [Utterance(file.name, file, SECONDS, "", "anna") for file in files]
    write_manifest(spoken / "corpus" / "train.jsonl", [*utterances, *odd])
    speech = read_tokens(spoken / "tokens" / "train.parquet")
    items = [TokenisedUtterance(one.id, np.zeros(13, np.uint16), "", SECONDS, "anna") for one in odd]
    write_tokens(
        spoken / "tokens" / "train.parquet",
        [*speech.items, *items],
        tokenizer=speech.tokenizer,
        codebook_size=speech.codebook_size,
        frame_rate=12.5,
    )
    for stage, arguments in ((TRAIN_VOCODER, vocoder_arguments(spoken)), (TRAIN, decoder_arguments(spoken))):
        metrics = stage.execute(stage.compose([*arguments, "max_bad_share=0.2", "fit.steps=30"]))  # type: ignore[attr-defined]
        check_warnings(spoken / stage.name.split("train_")[-1].replace("decoder.train", "decoder"), metrics)
