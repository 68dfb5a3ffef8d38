import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from corpus.text.spoken_words import spoken_words
from corpus.text.word_errors import corpus_word_errors, word_errors
from corpus.tokens import TokenisedUtterance, read_tokens, write_tokens
from corpus.world.voices import espeak_voice
from lm.data.formats import tts_document
from lm.data.loss_mask import loss_mask
from lm.data.text_tokenizers import train_bpe
from lm.data.vocabulary import Vocabulary, build_vocabulary
from runtime.artefact import write_json
from runtime.errors import UserError
from tests.support import small_synthesis
from text2token import evaluate_spans, pack, synthesize
from text2token.evaluate import STAGE
from text2token.gate import GOOD, MISREAD
from text2token.packing.config import PackConfig
from text2token.readback.config import ReadbackConfig, SpanReadbackConfig
from text2token.synthesis.inspection import read_documents
from text2token.synthesis.unit_file import SpokenSpan
from tokenizer.backbones.config import TokenizerModelConfig
from tokenizer.labels import Labels
from tokenizer.model import SpeechTokenizer
from tokenizer.quantisers.config import QuantiserConfig

TEXTS = ["the lion sleeps", "a cat likes the ball", "paris", "the red house"]


@pytest.fixture(scope="module")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained tokenizer: what it reads is nonsense, but always the same nonsense for the same tokens."""
    torch.manual_seed(0)
    config = TokenizerModelConfig(
        width=32, heads=2, subsampling_channels=8, feed_forward=2, chunk=4, left_context=8, num_labels=40, upsampling=2
    )
    made = SpeechTokenizer(config, QuantiserConfig(codebook_size=16), Labels.from_texts(TEXTS, 40))
    made.front.initialise()
    made.eval()
    with made.inference():
        hidden_BTD, _ = made.hidden([np.random.default_rng(0).normal(0, 0.1, 64000)])
    made.quantiser.start(hidden_BTD.flatten(0, 1).clone())
    folder = tmp_path_factory.mktemp("tokenizer") / "artefact"
    made.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def items() -> list[TokenisedUtterance]:
    random = np.random.default_rng(0)
    return [
        TokenisedUtterance(f"u{n}", random.integers(0, 16, 6 + len(text)).astype(np.uint16), text, 1.0, "ann", kind="x")
        for n, text in enumerate(TEXTS)
    ]


@pytest.fixture(scope="module")
def inputs(
    tmp_path_factory: pytest.TempPathFactory, tokenizer_folder: Path, items: list[TokenisedUtterance]
) -> dict[str, str]:
    """A model that knows the real tokens of these sentences by heart."""
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("inputs")
    mark = SpeechTokenizer.from_pretrained(tokenizer_folder).fingerprint
    write_tokens(folder / "tokens/heldout_sentence.parquet", items, tokenizer=mark, codebook_size=16, frame_rate=12.5)
    vocabulary = build_vocabulary(
        train_bpe(TEXTS * 2, 300), num_speech_tokens=16, speech_tokenizer=mark, speakers=["ann"]
    )
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary.size,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=128,
        max_position_embeddings=256,
    )
    model = LlamaForCausalLM(config)
    memorise(model, [tts_document(item.text, item.tokens, "ann", vocabulary) for item in items], vocabulary)
    model.save_pretrained(folder / "model")
    vocabulary.save_pretrained(folder / "model")
    return {"model": str(folder / "model"), "tokens": str(folder / "tokens"), "tokenizer": str(tokenizer_folder)}


def memorise(model: torch.nn.Module, rows: list[np.ndarray], vocabulary: Vocabulary) -> None:
    longest = max(map(len, rows))
    ids = torch.full((len(rows), longest), vocabulary.pad)
    labels = torch.full((len(rows), longest), -100)
    for at, row in enumerate(rows):
        ids[at, : len(row)] = torch.from_numpy(row)
        is_target = torch.from_numpy(loss_mask(row, vocabulary) > 0)
        labels[at, : len(row)][is_target] = torch.from_numpy(row.astype(np.int64))[is_target]
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    loss = torch.tensor(9.0)
    for _ in range(300):
        loss = model(ids, labels=labels).loss
        if loss < 0.01:
            break
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.05


@pytest.fixture(scope="module")
def reader_folder(
    tmp_path_factory: pytest.TempPathFactory, tokenizer_folder: Path, items: list[TokenisedUtterance]
) -> Path:
    """The same tokenizer (its tokens are) with a post-VQ half that reads these sentences."""
    reader = SpeechTokenizer.from_pretrained(tokenizer_folder)
    reader.train()
    texts = [torch.tensor(reader.labels.encode(item.text)) for item in items]
    codes = [torch.from_numpy(item.tokens.astype(np.int64)) for item in items]
    lengths, counts = (torch.tensor([len(row) for row in rows]) for rows in (codes, texts))
    vectors_BTD = reader.quantiser.vectors(torch.nn.utils.rnn.pad_sequence(codes, batch_first=True)).detach()
    optimizer = torch.optim.Adam(reader.parameters(), lr=3e-3)
    for _ in range(300):
        log_probs_BFV, frames_B = reader.ctc_log_probs(reader.back(vectors_BTD, lengths), lengths)
        loss = torch.nn.functional.ctc_loss(log_probs_BFV.transpose(0, 1), torch.cat(texts), frames_B, counts)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        reader.eval()
        if reader.read_tokens([item.tokens for item in items]) == TEXTS:
            break
        reader.train()
    assert reader.read_tokens([item.tokens for item in items]) == TEXTS
    folder = tmp_path_factory.mktemp("reader") / "artefact"
    reader.save_pretrained(folder)
    return folder


def test_a_model_that_knows_the_real_tokens_reads_as_they_do(inputs: dict[str, str], tmp_path: Path) -> None:
    own = {"speakers_from": "heldout_sentence", **inputs}
    metrics = STAGE.execute(ReadbackConfig(out=str(tmp_path / "out"), temperature=0, **own))  # type: ignore[arg-type]
    rows = [json.loads(line) for line in (tmp_path / "out/readback.jsonl").read_text().splitlines()]
    assert [row["text"] for row in rows] == TEXTS and metrics["utterances"] == 4
    assert all(row["heard"] == row["heard_in_real_tokens"] and row["tokens"] == row["real_tokens"] for row in rows)
    assert metrics["length_ratio"] == 1.0 and metrics["rejected_share"] == 0.0
    assert metrics["readback_wer"] == metrics["readback_wer_of_good"] == metrics["readback_wer_of_real_tokens"] > 0
    for name in ("repeated_share", "used_codes", "speaker_guessed"):
        assert metrics[name] == metrics[f"{name}_of_real_tokens"]
    kept = read_tokens(tmp_path / "out/generated/heldout_sentence.parquet")
    assert [(item.id, item.text, len(item.tokens)) for item in kept.items] == [
        (row["id"], text, row["tokens"]) for row, text in zip(rows, TEXTS, strict=True)
    ]
    assert [json.loads(line)["speaker"] for line in (tmp_path / "out/speakers.jsonl").open()] == ["ann"]
    some = ReadbackConfig(out=str(tmp_path / "some"), speakers_from="", num_utterances=2, **inputs)  # type: ignore[arg-type]
    assert STAGE.execute(some)["utterances"] == 2


def test_refusals(inputs: dict[str, str], tmp_path: Path, model_folder: Path) -> None:
    with pytest.raises(UserError, match="no utterance of split heldout_sentence"):
        STAGE.execute(ReadbackConfig(out=str(tmp_path / "out"), kinds=["y"], **inputs))  # type: ignore[arg-type]
    other = {**inputs, "model": str(model_folder)}
    with pytest.raises(UserError, match=r"tokens of speech tokenizer .* but the vocabulary is of abc"):
        STAGE.execute(ReadbackConfig(out=str(tmp_path / "out"), **other))  # type: ignore[arg-type]


def test_written_sentences_are_read_in_words(inputs: dict[str, str], tmp_path: Path) -> None:
    """The model gets the words, and they are the reference."""
    speech = read_tokens(Path(inputs["tokens"]) / "heldout_sentence.parquet")
    priced = [replace(item, text="It's $5, Dr. Lee!") for item in speech.items[:1]]
    write_tokens(
        tmp_path / "tokens/heldout_sentence.parquet",
        priced,
        tokenizer=speech.tokenizer,
        codebook_size=speech.codebook_size,
        frame_rate=speech.frame_rate,
    )
    given = inputs | {"tokens": str(tmp_path / "tokens"), "speakers_from": ""}
    STAGE.execute(ReadbackConfig(out=str(tmp_path / "out"), **given))  # type: ignore[arg-type]
    (row,) = [json.loads(line) for line in (tmp_path / "out/readback.jsonl").read_text().splitlines()]
    assert row["text"] == "it's five dollars doctor lee"


def test_spans_of_a_synthesis_are_read_back(inputs: dict[str, str], tmp_path: Path) -> None:
    """The sampled spans are those of the units' files; the card of the packed corpus shows their errors."""
    words = small_synthesis.words(tmp_path, Path(inputs["model"]), "synthesis", "seed=1")
    assert synthesize.STAGE.main(words) == 0
    voice = replace(espeak_voice("f2", 50), name="ann").describe()
    (tmp_path / "corpus").mkdir()
    write_json(tmp_path / "corpus/voices.json", {"answer": "ann", "voices": [voice]})
    write_tokens(
        tmp_path / "tokens/train.parquet",
        read_tokens(Path(inputs["tokens"]) / "heldout_sentence.parquet").items,
        tokenizer=SpeechTokenizer.from_pretrained(inputs["tokenizer"]).fingerprint,
        codebook_size=16,
        frame_rate=12.5,
    )
    whole = {"synthesised": str(tmp_path / "synthesis"), "tokenizer": inputs["tokenizer"]}
    spoken = whole | {"corpus": str(tmp_path / "corpus"), "tokens": str(tmp_path / "tokens")}

    metrics = evaluate_spans.STAGE.execute(SpanReadbackConfig(out=str(tmp_path / "all"), num_spans=0, **spoken))  # type: ignore[arg-type]
    rows = [json.loads(line) for line in (tmp_path / "all/spans.jsonl").read_text().splitlines()]
    spans = [
        (document, number, span)
        for document in read_documents(tmp_path / "synthesis")
        if document.id.startswith("texts-")  # the training split
        for number, span in enumerate(document.spans)
        if span.verdict == GOOD
    ]
    assert [(row["document"], row["span"]) for row in rows] == [(document.id, number) for document, number, _ in spans]
    assert [row["text"] for row in rows] == [spoken_words(doc.text[span.start : span.end]) for doc, _, span in spans]
    tokenizer = SpeechTokenizer.from_pretrained(inputs["tokenizer"])
    assert [row["heard"] for row in rows] == tokenizer.read_tokens([span.tokens for _, _, span in spans])
    assert all(row["heard_in_real_tokens"] is not None and row["new_pairs"] is not None for row in rows)
    errors = corpus_word_errors([row["text"] for row in rows], [row["heard"] for row in rows])
    assert metrics["span_wer"] == round(errors.rate, 4)
    assert metrics["span_wer_of_real_tokens"] > 0 and metrics["read_spans"] == len(rows) > 5

    some = {"num_spans": 5, **spoken}
    for out in ("some", "again"):
        evaluate_spans.STAGE.execute(SpanReadbackConfig(out=str(tmp_path / out), **some))  # type: ignore[arg-type]
    sample = (tmp_path / "some/spans.jsonl").read_bytes()
    assert sample == (tmp_path / "again/spans.jsonl").read_bytes()
    drawn = [json.loads(line) for line in sample.splitlines()]
    places = [(row["document"], row["span"], row["tokens"]) for row in drawn]
    left = iter([(row["document"], row["span"], row["tokens"]) for row in rows])
    assert len(places) == 5 and all(place in left for place in places)  # in the order of the synthesis

    packed = {"synthesised": whole["synthesised"], "vocabulary": inputs["model"], "out": str(tmp_path / "packed")}
    pack.STAGE.execute(PackConfig(span_readback=str(tmp_path / "all"), **packed))  # type: ignore[arg-type]
    card = (tmp_path / "packed/interleaved/README.md").read_text()
    assert f"word error rate of {len(rows):,} spans" in card and f"{metrics['span_wer']:.2%}" in card
    (tmp_path / "corpus/voices.json").write_text('{"answer": "ann", "voices": []}')
    with pytest.raises(UserError, match="no voice for the speaker 'ann'"):
        evaluate_spans.STAGE.execute(SpanReadbackConfig(out=str(tmp_path / "refused"), **spoken))  # type: ignore[arg-type]


def test_span_readback_refuses(inputs: dict[str, str], reference: Path, tmp_path: Path, model_folder: Path) -> None:
    config = {"synthesised": str(reference / "whole"), "tokenizer": inputs["tokenizer"], "out": str(tmp_path / "out")}
    with pytest.raises(UserError, match="but the spans are of abc"):
        evaluate_spans.STAGE.execute(SpanReadbackConfig(**config))  # type: ignore[arg-type]
    (tmp_path / "other").mkdir()
    (tmp_path / "other/spans.jsonl").write_text("")
    write_json(tmp_path / "other/metrics.json", {"synthesis": "another", "span_wer": 0.5})
    packed = {"synthesised": str(reference / "whole"), "vocabulary": str(model_folder), "out": str(tmp_path / "packed")}
    with pytest.raises(UserError, match="the read-back of another synthesis"):
        pack.STAGE.execute(PackConfig(span_readback=str(tmp_path / "other"), **packed))  # type: ignore[arg-type]
    with pytest.raises(UserError, match="no read-back of spans"):
        pack.STAGE.execute(PackConfig(span_readback=str(tmp_path), **packed))  # type: ignore[arg-type]


def test_spans_that_are_misread_are_spoken_again_or_stay_text(
    inputs: dict[str, str], reader_folder: Path, tmp_path: Path
) -> None:
    """The check takes from a synthesis exactly the spans above the bound; retries get some of them back."""

    def synthesised(out: str, *more: str) -> dict[tuple[str, int], SpokenSpan]:
        options = ["seed=1", "temperature=1.5", "top_p=1.0", "gate.max_per_letter=9", *more]
        assert synthesize.STAGE.main(small_synthesis.words(tmp_path, Path(inputs["model"]), out, *options)) == 0
        documents = list(read_documents(tmp_path / out))
        rows = [(document, number) for document in documents for number in range(len(document.spans))]
        return {(f"{at} {document.id}", number): document.spans[number] for at, (document, number) in enumerate(rows)}

    free = {key: span for key, span in synthesised("free", "retries=0").items() if span.verdict == GOOD}
    tokenizer = SpeechTokenizer.from_pretrained(reader_folder)
    heard = tokenizer.read_tokens([span.tokens for span in free.values()])
    rates = {
        key: word_errors(span.spoken, transcript).rate
        for (key, span), transcript in zip(free.items(), heard, strict=True)
    }
    bound = 0.8
    assert min(rates.values()) < bound < max(rates.values())
    checked = [f"readback={reader_folder}", f"readback_wer={bound}"]

    once = synthesised("once", "retries=0", *checked)
    for key, span in free.items():
        assert once[key].verdict == (GOOD if rates[key] <= bound else MISREAD)
        assert once[key].tokens.tolist() == (span.tokens.tolist() if rates[key] <= bound else [])
    again = synthesised("again", "retries=6", *checked)
    good = {key: span for key, span in again.items() if span.verdict == GOOD}
    saved = {key for key in good if once[key].verdict == MISREAD}
    assert saved and all(again[key].tokens.tolist() == once[key].tokens.tolist() for key in good.keys() - saved)
    transcripts = tokenizer.read_tokens([span.tokens for span in good.values()])
    for span, transcript in zip(good.values(), transcripts, strict=True):
        assert word_errors(span.spoken, transcript).rate <= bound
    misread = sum(span.verdict == MISREAD for span in again.values())
    assert json.loads((tmp_path / "again/metrics.json").read_text())["rejected_misread"] == misread > 0
    config = {"synthesised": str(tmp_path / "again"), "vocabulary": inputs["model"], "out": str(tmp_path / "packed")}
    pack.STAGE.execute(PackConfig(**config))  # type: ignore[arg-type]
    in_training = sum(span.verdict == MISREAD for (key, _), span in again.items() if "texts-" in key)
    assert f"| misread | {in_training} |" in (tmp_path / "packed/interleaved/README.md").read_text()


def test_the_check_of_spans_refuses(
    inputs: dict[str, str], model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = small_synthesis.words(tmp_path, model_folder, "out")
    assert synthesize.STAGE.main([*words, f"readback={inputs['tokenizer']}"]) == 2
    assert "the vocabulary is of abc" in capsys.readouterr().err
    assert synthesize.STAGE.main([*words, "readback_wer=0.2"]) == 2
    assert "no effect without readback=" in capsys.readouterr().err
