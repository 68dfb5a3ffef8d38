"""A bundle's reader: a text-to-token model of its own for texts that are read aloud."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import numpy as np
import pytest

from chatbot.bundle import STAGE
from chatbot.engine.bundle_parts import Bundle
from chatbot.engine.engine import Engine
from lm.data.formats import tts_prompt
from lm.data.vocabulary import Vocabulary
from lm.inference.generation import Generator
from runtime.errors import UserError

from ..conftest import bundle_config, make_vocabulary, save_lm  # noqa: TID252

TEXT = "The capital of France."


@pytest.fixture(scope="module")
def readers(chain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("readers")
    vocabulary = Vocabulary.from_pretrained(chain / "vocabulary" / "vocabulary")
    save_lm(folder / "reader" / "model", vocabulary, positions=128, seed=7)
    STAGE.execute(bundle_config(chain, out=str(folder / "out"), reader=str(folder / "reader")))
    return folder


def read(bundle: Path) -> int:
    """Samples of the text read aloud."""

    async def main() -> int:
        engine = Engine.from_pretrained(bundle)
        samples = [block async for block in engine.speak(TEXT)]
        await engine.close()
        return len(np.concatenate(samples)) if samples else 0

    return asyncio.run(main())


def test_texts_are_read_by_the_reader(chain: Path, readers: Path) -> None:
    bundle = Bundle.from_pretrained(readers / "out")
    assert bundle.reader is not None and bundle.max_length == 256
    prompt = tts_prompt(bundle.settings.reply.as_learnt(TEXT), "anna", bundle.vocabulary)
    most, stop = min(25 + 12 * len(prompt), 128 - len(prompt)), [bundle.vocabulary.special("end_of_audio")]
    made = {}
    for name, folder in (("reader", readers / "reader" / "model"), ("lm", chain / "lm" / "model")):
        generator = Generator.from_pretrained(folder)
        room = min(25 + 12 * len(prompt), generator.max_length - len(prompt)) if name == "lm" else most
        (row,) = generator.generate([prompt], max_new_tokens=room, stop=stop, allowed="speech")
        codes = bundle.vocabulary.codes(row)
        made[name] = len(bundle.decoder.decode_batch([codes], ["anna"])[0])
    assert made["reader"] != made["lm"]
    assert read(readers / "out") == made["reader"]
    assert read(chain / "bundle") == made["lm"]


def test_a_reader_of_another_vocabulary_is_refused(chain: Path, tmp_path: Path) -> None:
    save_lm(tmp_path / "reader", make_vocabulary("another"))
    with pytest.raises(UserError, match=r"the reader: vocabulary .* but the language model's is"):
        STAGE.execute(bundle_config(chain, out=str(tmp_path / "out"), reader=str(tmp_path / "reader")))
    shutil.rmtree(tmp_path / "reader")
    with pytest.raises(UserError, match=r"no config\.json in it"):
        STAGE.execute(bundle_config(chain, out=str(tmp_path / "out"), reader=str(tmp_path)))
