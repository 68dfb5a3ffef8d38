"""Encode speed of the speech tokenizer relative to s3tokenizer v2 and Whisper large's front half, in one run.

    pip install --no-deps s3tokenizer==0.3.0           (see below)
    python -m benchmarks.tokenizer                     one CPU thread, float32 and bfloat16, batches of 1 and 8
    python -m benchmarks.tokenizer device=cuda 'batches=[1,8,32,128]'
    python -m benchmarks.tokenizer 'parts=[streams]'   talkers' streams in one batch and one by one

Every net has random weights and encodes the same noise; nothing is read or downloaded. Measured is the way from log-mel
frames to tokens, in seconds of audio per CPU-second (on a GPU per second, the device synchronised); the log-mel itself
is measured apart and has its own column. Which layers run:

  FastConformer, front half   this project's tokenizer in the class of NeMo's FastConformer-L (115 M: 18 layers of width
                              512, kernel 9, 256 subsampling channels). It is cut in the middle: encoding runs the
                              subsampling, layers 1-9 and a codebook of 16,384; layers 10-18 serve training only.
  FastConformer, all layers   the same, then layers 10-18: what a quantiser at the very end would cost, and the like
                              of s3tokenizer in parameters that run.
  s3tokenizer v2              the PyPI package with CosyVoice 2's geometry: all its 6 layers of width 1280, FSQ, 25 Hz.
  Whisper large, front half   transformers' WhisperEncoder of large-v3 cut to 16 of 32 layers (the size of GLM-4-Voice's
                              tokenizer), without pooling and VQ. It gets positions for the audio's own length; as
                              released it would pad to 30 s, and be slower still.

s3tokenizer asks for torchaudio, whose wheels break other packages here, so it is installed without its requirements
(onnx, einops and tqdm come with NeMo) and this process gives it an empty stand-in: only its ``load_audio``, which is
not called, would use it. On a busy machine the CPU-seconds of a single run vary: all nets take turns in each round, and
a ratio is the median over the rounds.

Part ``streams`` needs none of that: a chunk of each of 1, 4 and 8 talkers, who are not in step with each other, as rows
of one batch and one by one, from samples to tokens, which must be equal (on a CPU).
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import math
import statistics
import sys
import time
import types
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from corpus.audio.frame_rate import FRAMES_PER_TOKEN, SAMPLES_PER_TOKEN
from corpus.audio.mel import LogMel
from corpus.audio.mel_config import LogMelConfig
from runtime.command import Command
from runtime.config import Options, option
from runtime.streaming import feed_rows
from tokenizer.backbones.base import make_pre_vq
from tokenizer.backbones.config import TokenizerModelConfig
from tokenizer.backbones.fastconformer import FastConformerBack, FastConformerFront
from tokenizer.quantisers.base import make_quantiser
from tokenizer.quantisers.config import QuantiserConfig
from tokenizer.streaming import TokenStream

SAMPLE_RATE, CODES = 16000, 16384
LARGE = TokenizerModelConfig(
    width=512, heads=8, front_layers=9, back_layers=9, subsampling_channels=256, left_context=256, num_labels=1024
)
OURS, WHOLE = "FastConformer, front half", "FastConformer, all layers"
S3, WHISPER = "s3tokenizer v2", "Whisper large, front half"
GOALS = {S3: 2.0, WHISPER: 10.0}
STREAMED = {
    "fastconformer, laptop": TokenizerModelConfig(),
    "whisper, 4 layers of 256": TokenizerModelConfig(backbone="whisper", front_layers=4, chunk=25),
}
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Contestant:
    """One net of the comparison.

    Attributes:
        parameters: of the layers that run.
        rate: its tokens (or hidden vectors) a second.
        mel: waveforms (B, S) to its frames.
        encode: frames to codes (for Whisper: to hidden vectors).
    """

    parameters: int
    rate: float
    mel: Callable[[Tensor], Tensor]
    encode: Callable[[Tensor], Tensor]


@dataclass(kw_only=True)
class EncodeSpeedConfig(Options):
    """Options of ``benchmarks.tokenizer``.

    Attributes:
        device: ``cpu`` (one thread) or ``cuda``.
        seconds: of each audio, a multiple of 0.08.
        batches: audios in a batch.
        dtypes: of the nets.
        rounds: of all nets in turn.
        without: nets to leave out.
        parts: offline (the comparison of nets), streams.
        talkers: numbers of streams, of part ``streams``.
        out: a JSON file for all figures; empty: none.
    """

    device: str = option("cpu", one_of=("cpu", "cuda"))
    seconds: float = option(10.0, above=0)
    batches: list[int] = option([1, 8], at_least=1)
    dtypes: list[str] = option(list(DTYPES), one_of=DTYPES)
    rounds: int = option(3, at_least=1)
    without: list[str] = option([], one_of=("s3tokenizer", "whisper"))
    parts: list[str] = option(["offline", "streams"], one_of=("offline", "streams"))
    talkers: list[int] = option([1, 4, 8], at_least=1)
    out: str = ""


def run(options: EncodeSpeedConfig) -> None:
    """Measure, print the table and the ratios."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    device = torch.device(options.device)
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"{cpu_name()}, 1 thread"
    unit = "second" if device.type == "cuda" else "CPU-second"
    figures: list[dict[str, Any]] = []
    if "streams" in options.parts:
        print(f"{name}; torch {torch.__version__}; a chunk of each talker: one batch, one by one, ratio\n")
        figures += [
            streams_row(backbone, config, number, options.rounds, device)
            for backbone, config in STREAMED.items()
            for number in options.talkers
        ]
    if "offline" in options.parts:
        print(f"\n{name}; torch {torch.__version__}; audio of {options.seconds:g} s; seconds of audio per {unit}\n")
        figures += compare(options, device)
    if options.out:
        report = {"on": name, "torch": torch.__version__, "figures": figures}
        Path(options.out).write_text(json.dumps(report, indent=2) + "\n")


def streams_row(
    backbone: str, config: TokenizerModelConfig, talkers: int, rounds: int, device: torch.device
) -> dict[str, Any]:
    """Print one line of part ``streams`` (medians of the rounds) and return its figures."""
    front = make_pre_vq(config).to(device).eval()
    front.initialise()
    log_mel = LogMel(front.mel_config(config)).to(device)
    quantiser = make_quantiser(QuantiserConfig(codebook_size=CODES), config.width).to(device).eval()
    pair = [[TokenStream(log_mel, front, quantiser, config.time) for _ in range(talkers)] for _ in range(2)]
    random, samples = np.random.default_rng(0), config.chunk * config.time.samples_per_token
    chunks = [random.normal(0, 0.1, samples).astype(np.float32) for _ in range(talkers)]
    for batched, single in zip(*pair, strict=True):
        for _ in range(2 + int(random.integers(4))):  # they are at different places
            for stream in (batched, single):
                stream.feed(chunks[0])
    costs: list[list[float]] = [[], []]
    for _ in range(rounds + 2):
        together, of_batch = timed_call(lambda: feed_rows(pair[0], chunks), device)
        apart, of_single = timed_call(lambda: [s.feed(chunk) for s, chunk in zip(pair[1], chunks, strict=True)], device)
        if device.type == "cpu":
            assert all(np.array_equal(one, other) for one, other in zip(together, apart, strict=True))
        costs[0].append(1e3 * of_batch)
        costs[1].append(1e3 * of_single)
    batch, single = (statistics.median(each[2:]) for each in costs)  # two rounds warm up
    line = f"one batch {batch:8.1f} ms   one by one {single:8.1f} ms   x {single / batch:.2f}"
    print(f"{backbone:27} {count(front) / 1e6:8.1f} M   {talkers:3} talkers   {line}", flush=True)
    return {"backbone": backbone, "talkers": talkers, "batch_ms": batch, "one_by_one_ms": single}


def timed_call(work: Callable[[], Any], device: torch.device) -> tuple[Any, float]:
    """The result and its seconds, as `timed`."""
    result, seconds = timed(lambda _: work(), torch.zeros(1, device=device))
    return result, seconds


def compare(options: EncodeSpeedConfig, device: torch.device) -> list[dict[str, Any]]:
    """Print the table of nets and their ratios; return the figures."""
    print(f"{'':27} {'runs, M':>8} {'tokens/s':>9} {'':>5} {'batch':>6} {'log-mel':>9} {'encode':>9} {'both':>9}")
    figures: list[dict[str, Any]] = []
    for dtype in options.dtypes:
        nets = contestants(options.seconds, DTYPES[dtype], device, options.without)
        for batch in options.batches:
            audio = 0.1 * torch.randn(batch, round(options.seconds * SAMPLE_RATE), device=device)
            speeds = measure(nets, audio, options.rounds)
            for net, (mel, encode) in speeds.items():
                figures.append(row(net, nets[net], dtype, batch, mel, encode))
            figures += ratios(speeds, dtype, batch)
    print("\nratios, frames to tokens (goals for float32 on one core):")
    for figure in figures:
        if "ratio" in figure:
            goal = f"   goal {figure['goal']:g}" if figure["goal"] and device.type == "cpu" else ""
            label = f"{figure['net']} : {figure['to']}"
            print(f"  {label:<56} {figure['dtype']} batch {figure['batch']:<3} {figure['ratio']:5.1f}{goal}")
    return figures


def row(
    net: str, contestant: Contestant, dtype: str, batch: int, mel: list[float], encode: list[float]
) -> dict[str, Any]:
    """Print one line of the table (the best round of each part) and return its figures."""
    best_mel, best_encode = max(mel), max(encode)
    both = 1 / (1 / best_mel + 1 / best_encode)
    millions = contestant.parameters / 1e6
    label = f"{net:27} {millions:8.1f} {contestant.rate:9g} {dtype:>5} {batch:6d}"
    print(f"{label} {best_mel:9.0f} {best_encode:9.1f} {both:9.1f}", flush=True)
    figure = {"net": net, "millions": millions, "dtype": dtype, "batch": batch}
    return figure | {"log_mel": best_mel, "encode": best_encode, "both": both}


def ratios(speeds: dict[str, tuple[list[float], list[float]]], dtype: str, batch: int) -> Iterable[dict[str, Any]]:
    """Ours to theirs, of the encoding alone."""
    for ours in (OURS, WHOLE):
        for theirs in (S3, WHISPER):
            if theirs in speeds:
                each = [one / other for one, other in zip(speeds[ours][1], speeds[theirs][1], strict=True)]
                goal = GOALS[theirs] if dtype == "fp32" and ours == OURS else None
                figure = {"net": ours, "to": theirs, "dtype": dtype, "batch": batch, "goal": goal}
                yield figure | {"ratio": statistics.median(each), "rounds": each}


def measure(nets: dict[str, Contestant], audio_BS: Tensor, rounds: int) -> dict[str, tuple[list[float], list[float]]]:
    """Seconds of audio per second of log-mel and of encoding, by net and round; one round before does not count."""
    seconds = audio_BS.numel() / SAMPLE_RATE
    speeds: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in nets}
    with torch.inference_mode():
        for turn in range(rounds + 1):
            for name, net in nets.items():
                frames, mel_time = timed(net.mel, audio_BS if turn else audio_BS[:1])
                _, encode_time = timed(net.encode, frames)
                if turn:
                    speeds[name][0].append(seconds / mel_time)
                    speeds[name][1].append(seconds / encode_time)
    return speeds


def timed(work: Callable[[Tensor], Any], value: Tensor) -> tuple[Any, float]:
    """The result and its seconds: of the CPU's clock, or of the wall's with a synchronised GPU."""
    if value.is_cuda:
        torch.cuda.synchronize()
        started = time.perf_counter()
        result = work(value)
        torch.cuda.synchronize()
        return result, time.perf_counter() - started
    started = time.process_time()
    result = work(value)
    return result, time.process_time() - started


def contestants(seconds: float, dtype: torch.dtype, device: torch.device, without: list[str]) -> dict[str, Contestant]:
    """The nets, built anew in ``dtype``."""
    nets = fast_conformer(dtype, device)
    if "s3tokenizer" not in without:
        nets[S3] = s3tokenizer_v2(dtype, device)
    if "whisper" not in without:
        nets[WHISPER] = whisper_front(seconds, dtype, device)
    return nets


def fast_conformer(dtype: torch.dtype, device: torch.device) -> dict[str, Contestant]:
    """Ours: the two halves and the codebook; on a CPU the subsampling stays float32, as in training."""
    mel = LogMel().to(device)
    front, back = FastConformerFront(LARGE).to(device).eval(), FastConformerBack(LARGE).to(device).eval()
    quantiser = make_quantiser(QuantiserConfig(codebook_size=CODES), LARGE.width).to(device).eval()
    is_cpu = device.type == "cpu"
    cast(front.encoder, dtype, keep=front.encoder.pre_encode if is_cpu else None)
    cast(back.encoder, dtype)

    def encode(mel_BMF: Tensor) -> Tensor:
        lengths_B = torch.full((len(mel_BMF),), mel_BMF.shape[2] // FRAMES_PER_TOKEN, device=device)
        return quantiser.codes(front(mel_BMF if is_cpu else mel_BMF.to(dtype), lengths_B))

    def through_all(mel_BMF: Tensor) -> Tensor:
        codes_BT = encode(mel_BMF)
        lengths_B = torch.full((len(mel_BMF),), codes_BT.shape[1], device=device)
        return back(quantiser.vectors(codes_BT).to(dtype), lengths_B)

    running = count(front) + CODES * LARGE.width
    rate = SAMPLE_RATE / SAMPLES_PER_TOKEN
    return {
        OURS: Contestant(running, rate, mel, encode),
        WHOLE: Contestant(running + count(back), rate, mel, through_all),
    }


def cast(encoder: nn.Module, dtype: torch.dtype, keep: nn.Module | None = None) -> None:
    """Turn an encoder to ``dtype`` in place, but for the module ``keep``, whose output is turned instead."""
    encoder.to(dtype)
    if keep is not None and dtype != torch.float32:
        keep.float()
        keep.register_forward_hook(lambda module, given, output: (output[0].to(dtype), *output[1:]))


def s3tokenizer_v2(dtype: torch.dtype, device: torch.device) -> Contestant:
    """The PyPI package's model as its ``load_model`` builds it."""
    with_stand_in("torchaudio")
    try:
        from s3tokenizer import log_mel_spectrogram
        from s3tokenizer.model_v2 import S3TokenizerV2
    except ImportError as error:
        sys.exit(f"{error}; run: pip install --no-deps s3tokenizer==0.3.0 (or --without s3tokenizer)")
    model = S3TokenizerV2("speech_tokenizer_v2_25hz").to(device, dtype).eval()

    def encode(mel_BMF: Tensor) -> Tensor:
        lengths_B = torch.full((len(mel_BMF),), mel_BMF.shape[2], device=device)
        codes_BT, _ = model.quantize(mel_BMF.to(dtype), lengths_B)
        return codes_BT

    return Contestant(count(model), 25, log_mel_spectrogram, encode)


def with_stand_in(name: str) -> None:
    """Let ``import name`` give an empty module where the package is not installed."""
    if name not in sys.modules and importlib.util.find_spec(name) is None:
        print(f"({name} is not installed: an empty stand-in serves s3tokenizer's import)")
        module = types.ModuleType(name)
        module.__spec__ = importlib.machinery.ModuleSpec(name, None)
        sys.modules[name] = module


def whisper_front(seconds: float, dtype: torch.dtype, device: torch.device) -> Contestant:
    """The first 16 layers of Whisper large-v3's encoder, with positions for just this length."""
    from transformers import WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    config = WhisperConfig(
        num_mel_bins=128,
        d_model=1280,
        encoder_layers=16,
        encoder_attention_heads=20,
        encoder_ffn_dim=5120,
        max_source_positions=math.ceil(seconds * 50),
    )
    model = WhisperEncoder(config).to(device, dtype).eval()

    def encode(mel_BMF: Tensor) -> Tensor:
        return model(mel_BMF.to(dtype)).last_hidden_state

    return Contestant(count(model), 50, LogMel(LogMelConfig(num_mels=128)).to(device), encode)


def count(module: nn.Module) -> int:
    """Parameters of a module."""
    return sum(parameter.numel() for parameter in module.parameters())


def cpu_name() -> str:
    """The processor's name as the kernel has it."""
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text().splitlines() if facts.exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "CPU")


COMMAND = Command(
    name="benchmarks.tokenizer",
    words="",
    config=EncodeSpeedConfig,
    run=run,
    summary="Encode speed of the speech tokenizer relative to s3tokenizer v2 and Whisper large's front half.",
    example="python -m benchmarks.tokenizer device=cuda 'batches=[1,8,32,128]'",
)

if __name__ == "__main__":
    COMMAND.exit()
