"""Generation by transformers keeps to its modality for every family, and equals the built-in one where both run."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lm.data.formats import asr_prompt, chat_prompt, tts_prompt
from lm.data.reply_format import ReplyFormat, ReplyState
from lm.generate import main
from lm.huggingface.model_configs import huggingface_config
from lm.training.model_config import LmModelConfig

SHAPES: dict[str, dict[str, Any]] = {
    "llama": {},
    "glm": {"qkv_bias": True, "rope_interleaved": True, "rope_share": 0.5},
    "glm4": {"qkv_bias": True, "rope_interleaved": True, "rope_share": 0.5, "sandwich_norm": True},
}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def export_random(name: str, tiny: Any, folder: Path) -> Path:
    """A random model of a family in a folder as lm.export writes it."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    shape = LmModelConfig(layers=1, hidden=32, heads=4, kv_heads=2, ffn=48, **SHAPES[name])
    content = huggingface_config(
        shape, num_ids=tiny.vocabulary.size, max_positions=256, dtype="fp32", eos=tiny.vocabulary.eos, pad=1
    )
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**content | {"initializer_range": 0.3}))
    model.save_pretrained(folder)
    tiny.vocabulary.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=["glm", "glm4"])
def exported(request: pytest.FixtureRequest, tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_random(request.param, tiny, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def llama(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_random("llama", tiny, tmp_path_factory.mktemp("llama"))


def test_every_token_is_of_an_allowed_kind(exported: Path, tiny: Any) -> None:
    from lm.inference.hf_generation import TransformersGenerator

    generator, v = TransformersGenerator.from_pretrained(exported), tiny.vocabulary
    prompts = [np.array(v.encode_text(text), dtype=np.int32) for text in tiny.texts[:6]]
    begin, end = v.special("begin_of_audio"), v.special("end_of_audio")
    options: dict[str, Any] = {"max_new_tokens": 12, "temperature": 1.0, "stop": [v.eos]}
    for row in generator.generate(prompts, allowed="text", **options):
        assert v.is_text(row[:-1]).all() and (v.is_text(row[-1:]).all() or row[-1] == v.eos)
    spoken = generator.generate(
        [tts_prompt("ka", "anna", v)] * 3, allowed="speech", seeds=[1, 2, 3], **options | {"stop": [end]}
    )
    for row in spoken:
        assert v.is_speech(row[:-1]).all() and (v.is_speech(row[-1:]).all() or row[-1] == end)
    assert len({tuple(row) for row in spoken}) == 3
    for row in generator.generate([prompt[:1] for prompt in prompts], allowed="speech", **options | {"stop": [end]}):
        assert row[0] == begin and v.is_speech(row[1:-1]).all()
    seen = 0
    for row in generator.generate(prompts, allowed="any", **options | {"max_new_tokens": 60}):
        is_inside = False
        for id in row.tolist():
            assert id != v.pad and is_inside == bool(v.is_speech(id) or id == end)
            is_inside = (is_inside or id == begin) and id != end
            seen += id == begin
    assert seen > 0


def test_spans_without_marks(exported: Path, tiny: Any) -> None:
    """Text and speech tokens follow each other without a mark, also within one answer."""
    from lm.inference.hf_generation import TransformersGenerator

    generator, v = TransformersGenerator.from_pretrained(exported), tiny.vocabulary
    prompts = [np.array(v.encode_text(text), dtype=np.int32) for text in tiny.texts[:6]]
    options: dict[str, Any] = {"max_new_tokens": 40, "temperature": 1.0, "stop": [v.eos], "has_marks": False}
    marks, mixed = [v.special("begin_of_audio"), v.special("end_of_audio"), v.pad], 0
    for row in generator.generate(prompts, allowed="any", **options):
        assert not np.isin(row, marks).any()
        mixed += v.is_speech(row).any() and v.is_text(row).any()
    assert mixed > 0
    for row in generator.generate(prompts, allowed="speech", **options):
        assert v.is_speech(row[:-1]).all() and (v.is_speech(row[-1:]).all() or row[-1] == v.eos)
    for row in generator.generate(prompts, allowed="text", **options):
        assert v.is_text(row[:-1]).all()


@pytest.mark.parametrize("transcribes", [False, True])
def test_a_streaming_reply_alternates(transcribes: bool, exported: Path, tiny: Any) -> None:
    """Blocks of 2 text and 3 speech tokens; only the last block may be another; the user's next turn ends it."""
    from lm.inference.hf_generation import TransformersGenerator

    generator, v = TransformersGenerator.from_pretrained(exported), tiny.vocabulary
    format = ReplyFormat(kind="streaming", text_block=2, speech_block=3, transcribes=transcribes)
    options: dict[str, Any] = {"max_new_tokens": 30, "temperature": 1.0, "stop": v.end_ids, "reply": format}
    prompts = [chat_prompt(tiny.codes(text), v) for text in tiny.texts[:40]]
    whole = 0
    for row in generator.generate(prompts, **options):
        state = ReplyState(format, v)
        for id in row.tolist():
            state.push(id)  # raises where the id may not come
        kinds = "".join("s" if v.is_speech(id) else "t" if v.is_text(id) else "." for id in row.tolist())
        if transcribes:
            assert row[0] == v.special("transcript")
            kinds = kinds[1:].partition(".")[2]
        whole += kinds.startswith("ttssst")
        assert re.fullmatch(r"(ttsss)*(t{0,2}s*)?\.?", kinds), kinds
    assert whole > 0 or transcribes


def test_neighbours_do_not_matter(exported: Path, tiny: Any) -> None:
    """Rows are padded on the left; each is the answer it would be alone, greedy and sampled; seeds tell them apart."""
    from lm.inference.hf_generation import TransformersGenerator

    generator, v = TransformersGenerator.from_pretrained(exported), tiny.vocabulary
    prompts = [tts_prompt(text, "anna", v) for text in tiny.texts[:3]]
    for temperature in (0.0, 0.7):
        options: dict[str, Any] = {"max_new_tokens": 8, "temperature": temperature, "top_p": 0.9, "allowed": "any"}
        options["stop"] = [v.eos]
        together = generator.generate(prompts, **options)
        for row, prompt in zip(together, prompts, strict=True):
            assert row.tolist() == generator.generate([prompt], **options)[0].tolist()
    assert len({tuple(row) for row in generator.generate([prompts[0]] * 3, seeds=[1, 2, 1], **options)}) == 2


@pytest.mark.parametrize("allowed", ["text", "speech"])
@pytest.mark.parametrize("temperature", [0.0, 0.8])
@pytest.mark.parametrize("family", SHAPES)
def test_equals_the_built_in_generation(
    family: str, allowed: str, temperature: float, tiny: Any, tmp_path: Path
) -> None:
    from lm.inference.generation import Generator
    from lm.inference.hf_generation import TransformersGenerator

    v, model = tiny.vocabulary, export_random(family, tiny, tmp_path)
    prompts = [tts_prompt(text, "anna", v) for text in tiny.texts[:4]]
    if allowed == "text":
        prompts = [asr_prompt(tiny.codes(text), v) for text in tiny.texts[:4]]
    stop = [v.special("end_of_audio") if allowed == "speech" else v.eos]
    options: dict[str, Any] = {"max_new_tokens": 12, "stop": stop, "allowed": allowed, "temperature": temperature}
    ours = Generator.from_pretrained(model).generate(prompts, **options)
    theirs = TransformersGenerator.from_pretrained(model).generate(prompts, **options)
    assert [row.tolist() for row in ours] == [row.tolist() for row in theirs]


def test_the_command(llama: Path, tiny: Any, capsys: pytest.CaptureFixture[str]) -> None:
    model = str(llama)
    assert main([model, "--task", "tts", "--text", "ka ki", "--max-new-tokens", "9", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["prompt"] == tts_prompt("ka ki", "anna", tiny.vocabulary).tolist() and len(answer["ids"]) <= 9
    assert answer["codes"] == [
        id - tiny.vocabulary.speech_offset for id in answer["ids"] if id >= tiny.vocabulary.speech_offset
    ]
    assert main([model, "--task", "asr", "--speech", "3 9", "--max-new-tokens", "5"]) == 0
    shown = capsys.readouterr().out
    assert "<|asr|> <|begin_of_audio|> ‹2 speech: 3 9›" in shown and "->" in shown
    streaming = ["--task", "chat", "--speech", "3 9", "--reply", "streaming", "--text-block", "2", "--json"]
    assert main([model, *streaming, "--max-new-tokens", "9"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["codes"] and answer["text"]
    assert main([model, "--text", "ka", "--speech", "3 9", "--marks", "false", "--max-new-tokens", "1", "--json"]) == 0
    prompt = json.loads(capsys.readouterr().out)["prompt"]
    assert prompt == [*tiny.vocabulary.encode_text("ka"), *tiny.vocabulary.speech_ids(np.array([3, 9])).tolist()]
    for arguments, words in (
        ([model], "no text and no speech"),
        ([model, "--task", "asr", "--text", "x"], "no speech for asr"),
        ([model, "--speech", "3 99"], "0 to 31"),
        ([model, "--text", "a", "--top-p", "0"], "option top_p: found 0.0. give a value that is above 0 and at most 1"),
        ([model, "--task", "tts", "--text", "a", "--allowed", "text"], "inside a speech block"),
        ([model, "--text", "a", "--reply", "streaming"], "set task=chat"),
        (
            [model, "--task", "chat", "--text", "a", "--reply", "speech", "--allowed", "text"],
            "leave one of the two out",
        ),
        ([str(llama.parent), "--text", "a"], "no vocabulary"),
    ):
        assert main(arguments) == 2
        assert words in capsys.readouterr().err


def test_the_command_ends_where_somebody_elses_turn_begins(
    tiny: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    folder, v = export_random("llama", tiny, tmp_path / "model"), tiny.vocabulary
    model = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():  # one of two opposite rows has the largest logit, whatever the hidden state
        head = model.get_output_embeddings().weight.zero_()
        head[v.special("user")] = torch.randn(head.shape[1])
        head[v.special("system")] = -head[v.special("user")]
    model.save_pretrained(folder)
    assert main([str(folder), "--text", "ka ki", "--temperature", "0", "--max-new-tokens", "6", "--json"]) == 0
    (end,) = json.loads(capsys.readouterr().out)["ids"]
    assert end in (v.special("user"), v.special("system"))
