"""Speed of the streaming speech decoder, relative to one without a cache, and of the vocoder relative to others.

    python -m benchmarks.decoder                              laptop preset, random weights, one CPU thread
    python -m benchmarks.decoder decoder=runs/quickstart/decoder/artefact
    python -m benchmarks.decoder config=recipes/decoder_paper.yaml device=cuda 'parts=[blocks,vocoder]'

Random weights are fine for speed: nothing here depends on their values, and seams are only reported of a trained
decoder. Each figure says which clock it is from: ``cpu`` is the process's CPU time, which a busy machine hardly
changes; ``wall`` is what a listener waits for, and on a busy machine too long. Measured are

  blocks      the time of block 1 (the first sound: from ten tokens), 2, and all later ones of a stream of ``blocks``;
              the median of the last quarter over that of blocks 2 to 11 (alone, block 2 is a single sample)
  streams     1, 4 and 16 streams served in turn, each fed a block at the same moment: how long each waits
  batch       a block of 1, 4 and 8 streams as rows of one batch, and of the same streams one by one
  anew        the same tokens by a decoder that computes the whole past anew for each block (ours with the cache off)
  memory      resident memory of a stream after one minute and after ten
  vocoder     mel to samples: ours, ours streamed in blocks of 0.8 s, NeMo's HiFi-GAN of equal size, librosa's
              Griffin-Lim
  seams       (of a trained decoder, with ``tokens``) the change of energy where two blocks meet, that where two other
              tokens meet, and that of the recordings at the same places
"""

from __future__ import annotations

import itertools
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil  # type: ignore[import-untyped]
import torch
from torch import Tensor, nn

from corpus.audio.files import Samples
from decoder.config import DecoderConfig, VocoderConfig
from decoder.encoder import Tokens
from decoder.model import SpeechDecoder
from decoder.train import STAGE
from decoder.vocoder import Vocoder
from runtime.command import Command
from runtime.config import Options, option
from runtime.streaming import feed_rows

CODES, SECONDS_A_MINUTE = 512, 60
PARTS = ("blocks", "streams", "batch", "anew", "memory", "vocoder", "seams")
MIDDLE = slice(1, 11)  # blocks 2 to 11


class Cost(NamedTuple):
    """Seconds of one piece of work by the two clocks."""

    cpu: float
    wall: float


@dataclass(kw_only=True)
class DecoderSpeedConfig(Options):
    """Options of ``benchmarks.decoder``.

    Attributes:
        decoder: artefact of a trained decoder; empty: random weights.
        config: YAML of decoder.train whose shapes random weights take, such as a recipe.
        device: ``cpu`` or ``cuda``.
        threads: CPU threads.
        blocks: of the stream of part ``blocks``.
        streams: numbers of streams, of part ``streams``.
        rows: numbers of streams in one batch, of part ``batch``.
        steps: of the solver; the paper's 10.
        guidance: the paper's 0.7; 0 halves the work.
        parts: of the measurement.
        rounds: of each vocoder, and of part ``batch``.
        tokens: Parquet of tokenised speech, for the seams of a trained decoder.
        recordings: manifest of the recordings of ``tokens``, to compare the seams with.
        voices: of the seams; by default all voices of the decoder.
        out: a JSON file for all figures; empty: none.
    """

    decoder: str = ""
    config: str = ""
    device: str = option("cpu", one_of=("cpu", "cuda"))
    threads: int = option(1, at_least=1)
    blocks: int = option(200, at_least=12)
    streams: list[int] = option([1, 4, 16], at_least=1)
    rows: list[int] = option([1, 4, 8], at_least=1)
    steps: int = option(10, at_least=0)
    guidance: float = option(0.7, at_least=0)
    parts: list[str] = option(list(PARTS), one_of=PARTS)
    rounds: int = option(5, at_least=1)
    tokens: str = ""
    recordings: str = ""
    voices: list[str] = field(default_factory=list)
    out: str = ""


def run(options: DecoderSpeedConfig) -> None:
    """Measure and print all parts."""
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    decoder = make_decoder(options.decoder, options.config).to(options.device)
    block = 1 / decoder.config.token_rate * decoder.config.block_tokens
    print(f"torch {torch.__version__}, {options.device}, {options.threads} threads; {count(decoder) / 1e6:.1f} M")
    print(f"blocks of {block:g} s; {options.steps} steps, guidance {options.guidance:g}\n")
    settings = {"steps": options.steps, "guidance": options.guidance}
    figures: dict[str, Any] = {"parameters": count(decoder), "device": options.device, "threads": options.threads}
    measures: dict[str, Callable[[], Any]] = {
        "blocks": lambda: report_blocks(decoder, options.blocks, block, settings),
        "streams": lambda: [report_streams(decoder, number, block, settings) for number in options.streams],
        "batch": lambda: [report_batch(decoder, number, options.rounds, settings) for number in options.rows],
        "anew": lambda: report_anew(decoder, block, settings),
        "memory": lambda: report_memory(decoder, block),
        "vocoder": lambda: report_vocoders(decoder.vocoder, options.rounds),
    }
    if options.decoder and options.tokens:
        measures["seams"] = lambda: report_seams(decoder, options, settings)
    figures |= {name: measure() for name, measure in measures.items() if name in options.parts}
    if options.out:
        Path(options.out).write_text(json.dumps(figures, indent=2) + "\n")


def make_decoder(artefact: str, config: str) -> SpeechDecoder:
    """The trained decoder, or one of random weights in the wanted shape (laptop: the defaults of decoder.train)."""
    if artefact:
        return SpeechDecoder.from_pretrained(artefact)
    needed = ["out=none", "corpus=none", "tokens=none", "vocoder=none"]
    chosen = STAGE.compose([*(["--config", config] if config else []), *needed])
    shape = DecoderConfig(
        codebook_size=CODES,
        speakers=["anyone"],
        tokenizer="none",
        encoder=chosen.encoder,
        flow=chosen.flow,
        block_tokens=chosen.block_tokens,
        past_blocks=chosen.past_blocks,
        lookahead_tokens=chosen.lookahead_tokens,
        speaker=chosen.speaker,
    )
    return SpeechDecoder(shape, Vocoder(VocoderConfig())).eval()


def report_blocks(decoder: SpeechDecoder, blocks: int, block: float, settings: dict[str, Any]) -> dict[str, float]:
    """Block by block of one stream: the first, the second, and whether later ones cost more."""
    costs: list[Cost] = []
    pieces = some_tokens(decoder, blocks)
    for rehearsal in (True, False):  # the first stream pays for what torch builds once
        costs = []
        with decoder.streaming(**settings) as stream:
            for piece in pieces[: 3 if rehearsal else blocks]:
                costs.append(timed(decoder, lambda piece=piece: stream.feed(piece))[1])  # type: ignore[misc]
    early, late = costs[MIDDLE], costs[-(blocks // 4) :]
    rtf = statistics.mean(cost.cpu for cost in costs[1:]) / block
    ratio = statistics.median(cost.cpu for cost in late) / statistics.median(cost.cpu for cost in early)
    print("blocks of one stream")
    for name, some in (("block 1", costs[:1]), ("block 2", costs[1:2]), ("later", costs[2:])):
        print(f"  {name:10} {percentiles(some)}")
    print(f"  real-time factor (cpu) {rtf:.3f}; last quarter over blocks 2-11 (medians, cpu) {ratio:.3f}\n", flush=True)
    return {
        "first_cpu": costs[0].cpu,
        "first_wall": costs[0].wall,
        "rtf_cpu": rtf,
        "ratio_of_medians_cpu": ratio,
        "median_cpu": statistics.median(cost.cpu for cost in costs[2:]),
    }


def report_streams(decoder: SpeechDecoder, number: int, block: float, settings: dict[str, Any]) -> dict[str, Any]:
    """Streams side by side in one process, served in turn: what each waits for its block (wall), p50, p90, p99."""
    rounds = max(6, 48 // number)
    feeds = [some_tokens(decoder, rounds, seed) for seed in range(number)]
    streams = [decoder.streaming(**settings) for _ in range(number)]
    waits: list[list[Cost]] = []
    for turn in range(rounds):
        begun, waited = (time.process_time(), time.perf_counter()), []
        for stream, feed in zip(streams, feeds, strict=True):
            stream.feed(feed[turn])
            synchronise(decoder)
            waited.append(Cost(time.process_time() - begun[0], time.perf_counter() - begun[1]))
        waits.append(waited)
    first, later = waits[0], [cost for waited in waits[1:] for cost in waited]
    print(f"{number} streams: wait for the block")
    print(f"  {'first':10} {percentiles(first)}\n  {'later':10} {percentiles(later)}", flush=True)
    share = statistics.mean(waited[-1].cpu for waited in waits[1:]) / block
    print(f"  all of them take {share:.2f} of real time (cpu)\n", flush=True)
    return {"streams": number, "first": quantiles(first), "later": quantiles(later), "load_cpu": share}


def report_batch(decoder: SpeechDecoder, number: int, rounds: int, settings: dict[str, Any]) -> dict[str, float]:
    """A block of each of ``number`` streams: as rows of one batch and one by one, in turns; medians of the rounds."""
    feeds = [some_tokens(decoder, 8 + rounds, seed) for seed in range(number)]
    batched, single = ([decoder.streaming(**settings) for _ in range(number)] for _ in range(2))

    def one_by_one(turn: int) -> list[Samples]:
        return [stream.feed(feed[turn]) for stream, feed in zip(single, feeds, strict=True)]

    costs: dict[str, list[Cost]] = {"batch": [], "one_by_one": []}
    for turn in range(8 + rounds):
        together, of_batch = timed(decoder, lambda turn=turn: feed_rows(batched, [feed[turn] for feed in feeds]))  # type: ignore[misc]
        apart, of_single = timed(decoder, lambda turn=turn: one_by_one(turn))  # type: ignore[misc]
        if decoder.device.type == "cpu":
            assert all(np.array_equal(one, other) for one, other in zip(together, apart, strict=True))
        if turn >= 8:  # all blocks that can be seen are there
            costs["batch"].append(of_batch)
            costs["one_by_one"].append(of_single)
    figures = {
        f"{name}_{clock}": statistics.median(getattr(cost, clock) for cost in each)
        for name, each in costs.items()
        for clock in ("cpu", "wall")
    }
    print(f"{number} streams, a block of each")
    for clock in ("cpu", "wall"):
        batch, apart_seconds = figures[f"batch_{clock}"], figures[f"one_by_one_{clock}"]
        ratio = f"x {apart_seconds / batch:.2f}"
        print(
            f"  {clock:5} one batch {1e3 * batch:8.1f} ms   one by one {1e3 * apart_seconds:8.1f} ms   {ratio}",
            flush=True,
        )
    return {"streams": number} | figures


def report_anew(decoder: SpeechDecoder, block: float, settings: dict[str, Any]) -> list[dict[str, float]]:
    """Block k by a decoder without a cache: everything up to it is decoded again."""
    figures = []
    print("block k: streamed, and with everything before it computed anew (cpu)")
    pieces = some_tokens(decoder, 50)
    with decoder.streaming(**settings) as stream:
        streamed = [timed(decoder, lambda piece=piece: stream.feed(piece))[1].cpu for piece in pieces]  # type: ignore[misc]
    for number in (1, 2, 5, 10, 25, 50):
        tokens = np.concatenate(pieces[:number])
        anew = timed(decoder, lambda tokens=tokens: decoder.decode(tokens, **settings))[1].cpu  # type: ignore[misc]
        around = statistics.median(streamed[max(0, number - 2) : number + 1])
        times = f"{1e3 * around:8.1f} ms  {1e3 * anew:9.1f} ms   x {anew / around:.1f}"
        print(f"  k = {number:3} ({number * block:5.1f} s)  {times}")
        figures.append({"block": number, "streamed_cpu": around, "anew_cpu": anew})
    print(flush=True)
    return figures


def report_memory(decoder: SpeechDecoder, block: float) -> dict[str, float]:
    """Resident memory after one and ten minutes of a stream; one step without guidance, for the time it takes."""
    process, sizes = psutil.Process(), {}
    piece = some_tokens(decoder, 1)[0]
    with decoder.streaming(steps=1, guidance=0.0) as stream:
        for number in range(1, round(10 * SECONDS_A_MINUTE / block) + 1):
            stream.feed(piece)
            minutes = number * block / SECONDS_A_MINUTE
            if abs(minutes - round(minutes)) < 1e-6:
                sizes[f"minute_{round(minutes)}"] = process.memory_info().rss / 2**20
    grown = sizes["minute_10"] - sizes["minute_1"]
    print(f"memory after 1 minute {sizes['minute_1']:.1f} MiB, after 10 {sizes['minute_10']:.1f} ({grown:+.1f})\n")
    return sizes


def report_vocoders(vocoder: Vocoder, rounds: int) -> dict[str, Any]:
    """Seconds of sound per CPU-second of vocoders in turns; the ratio is the median over the rounds."""
    seconds, mel = 8.0, vocoder.mel
    device = vocoder.input.weight.device
    rival = hifi_gan(count(vocoder), mel.num_mels, mel.hop).to(device)
    frames_1MF = torch.randn(1, mel.num_mels, int(seconds * mel.sample_rate / mel.hop), device=device)
    causal = Vocoder(VocoderConfig(lookahead=0), mel).eval().to(device)
    works: dict[str, Callable[[], Any]] = {
        "ours": lambda: vocoder(frames_1MF),
        "ours, streamed": lambda: stream_vocoder(vocoder, frames_1MF),
        "ours, causal, streamed": lambda: stream_vocoder(causal, frames_1MF),
        "NeMo HiFi-GAN": lambda: rival(x=frames_1MF),
        "librosa Griffin-Lim": lambda: librosa_griffin_lim(vocoder, frames_1MF[:, :, :100]),
    }
    speeds: dict[str, list[float]] = {name: [] for name in works}
    with torch.inference_mode():
        for turn in range(rounds + 1):
            for name, work in works.items():
                if turn < 2 or not name.startswith("librosa"):  # it is slow: one round does
                    cost = timed(vocoder, work)[1]
                    made = 100 * mel.hop / mel.sample_rate if name.startswith("librosa") else seconds
                    speeds[name] += [made / (cost.wall if device.type == "cuda" else cost.cpu)] if turn else []
    print(f"vocoder, {mel.sample_rate} Hz: seconds of sound per {'second' if device.type == 'cuda' else 'CPU-second'}")
    sizes = {"ours": count(vocoder), "ours, streamed": count(vocoder), "NeMo HiFi-GAN": count(rival)}
    for name, each in speeds.items():
        millions = f"{sizes[name] / 1e6:.1f} M" if name in sizes else ""
        print(f"  {name:24} {statistics.median(each):8.1f}   {millions}")
    ratio = [one / other for one, other in zip(speeds["ours"], speeds["NeMo HiFi-GAN"], strict=True)]
    print(f"  ours : HiFi-GAN {statistics.median(ratio):.1f} (goal 2)")
    lags = {name: 1e3 * one.lag / mel.sample_rate for name, one in (("ours", vocoder), ("causal", causal))}
    print(f"  a stream lags {lags['ours']:.0f} ms behind, the causal variant {lags['causal']:.0f} ms\n", flush=True)
    return {"speeds": speeds, "ratio": statistics.median(ratio), "parameters": sizes, "lag_ms": lags}


def report_seams(decoder: SpeechDecoder, options: DecoderSpeedConfig, settings: dict[str, Any]) -> dict[str, float]:
    """Changes of the log-energy of 5 ms, in dB, inside of speech: where blocks meet, where tokens meet, and elsewhere.

    Of streamed speech, and of the recordings that the tokens were made from at the same places: what is said changes
    there too. Blocks meet where tokens meet, so the other borders of tokens are what seams are to be compared with.
    """
    from corpus.audio.files import read_audio
    from corpus.manifest import read_manifest
    from corpus.tokens import read_tokens

    voices = set(options.voices or decoder.speakers)
    items = [item for item in read_tokens(options.tokens).items if item.speaker in voices][:80]
    files = {}
    if options.recordings:
        files = {item.id: item.audio for item in read_manifest(options.recordings).utterances}
    changes: dict[str, list[float]] = {}
    schedule, rate = decoder.schedule, decoder.sample_rate
    for item in items:
        with decoder.streaming(item.speaker, **settings) as stream:
            spoken = {"streamed": np.concatenate([stream.feed(item.tokens), stream.finish()])}
        if item.id in files:
            spoken["recorded"] = read_audio(files[item.id], rate)
        seams = set(itertools.takewhile(len(item.tokens).__gt__, map(schedule.end_of_block, itertools.count())))
        for name, audio in spoken.items():
            found = energy_changes(audio, rate // 200)
            borders = [round(token * rate / decoder.config.token_rate) // (rate // 200) - 1 for token in range(1, 1000)]
            at_borders = [(token, found[at]) for token, at in enumerate(borders, 1) if at < len(found)]
            parts: dict[str, Any] = {
                "at seams": [change for token, change in at_borders if token in seams],
                "between tokens": [change for token, change in at_borders if token not in seams],
                "elsewhere": np.delete(found, [at for at in borders if at < len(found)]),
            }
            for part, some in parts.items():
                changes.setdefault(f"{name}, {part}", []).extend(change for change in some if np.isfinite(change))
    print("change of energy from 5 ms to 5 ms in speech")
    figures: dict[str, float] = {}
    for name, some in changes.items():
        for share in (50, 90, 99):
            figures[f"{name}, p{share}"] = float(np.quantile(some, share / 100))
        values = "  ".join(f"p{share} {figures[f'{name}, p{share}']:5.2f} dB" for share in (50, 90, 99))
        print(f"  {name:24} {values}   ({len(some)} places)")
    return figures


def energy_changes(audio: Samples, window: int) -> np.ndarray:
    """Absolute changes of the energy from each window to the next, in dB; NaN where one of them is silence."""
    whole = audio[: len(audio) // window * window].reshape(-1, window)
    energy = 10 * np.log10(np.square(whole).mean(1) + 1e-10)
    is_speech = energy > energy.max() - 40
    return np.where(is_speech[:-1] & is_speech[1:], np.abs(np.diff(energy)), np.nan)


def stream_vocoder(vocoder: Vocoder, mel_1MF: Tensor) -> None:
    """Feed the mel in blocks of 0.8 s."""
    stream, step = vocoder.streaming(), round(0.8 * vocoder.mel.sample_rate / vocoder.mel.hop)
    for start in range(0, mel_1MF.shape[2], step):
        stream.feed(mel_1MF[:, :, start : start + step])
    stream.finish()


def hifi_gan(parameters: int, num_mels: int, hop: int) -> nn.Module:
    """NeMo's HiFi-GAN generator with the upsampling of this hop, as wide as comes nearest to ``parameters``."""
    from nemo.collections.tts.modules.hifigan_modules import Generator

    rates = {160: [5, 4, 4, 2], 240: [6, 5, 4, 2], 256: [8, 8, 2, 2]}[hop]

    def make(width: int) -> nn.Module:
        net: nn.Module = Generator(
            resblock=1,
            upsample_rates=rates,
            upsample_kernel_sizes=[2 * rate if rate % 2 == 0 else 2 * rate + 1 for rate in rates],
            upsample_initial_channel=width,
            resblock_kernel_sizes=[3, 7, 11],
            resblock_dilation_sizes=[[1, 3, 5]] * 3,
            initial_input_size=num_mels,
        )
        return net

    width = min(range(64, 513, 32), key=lambda width: abs(count(make(width)) - parameters))
    net = make(width)
    net.remove_weight_norm()  # type: ignore[operator]
    return net.eval()


def librosa_griffin_lim(vocoder: Vocoder, mel_1MF: Tensor) -> None:
    """librosa's way from a mel spectrogram to samples, with its 32 iterations."""
    import librosa

    mel = vocoder.mel
    power = np.exp(2 * (mel_1MF[0].cpu().numpy() * mel.std + mel.mean))
    librosa.feature.inverse.mel_to_audio(
        power, sr=mel.sample_rate, n_fft=mel.n_fft, hop_length=mel.hop, win_length=mel.win, n_iter=32
    )


def some_tokens(decoder: SpeechDecoder, blocks: int, seed: int = 0) -> list[Tokens]:
    """Random tokens of ``blocks`` blocks."""
    shape = (blocks, decoder.config.block_tokens)
    return list(np.random.default_rng(seed).integers(0, decoder.codebook_size, shape))


def timed(module: nn.Module, work: Callable[[], Any]) -> tuple[Any, Cost]:
    """The result of ``work`` and its cost, a GPU's work included."""
    synchronise(module)
    begun = time.process_time(), time.perf_counter()
    result = work()
    synchronise(module)
    return result, Cost(time.process_time() - begun[0], time.perf_counter() - begun[1])


def synchronise(module: nn.Module) -> None:
    """Wait for a GPU."""
    if next(module.parameters()).is_cuda:
        torch.cuda.synchronize()


def quantiles(costs: Sequence[Cost]) -> dict[str, float]:
    """p50, p90 and p99 by both clocks, seconds."""
    return {
        f"{clock}_p{share}": float(np.quantile([getattr(cost, clock) for cost in costs], share / 100))
        for clock in ("cpu", "wall")
        for share in (50, 90, 99)
    }


def percentiles(costs: Sequence[Cost]) -> str:
    """p50, p90 and p99 by both clocks, for the eye."""
    found = quantiles(costs)
    texts = []
    for clock in ("cpu", "wall"):
        texts.append(f"{clock} " + " / ".join(f"{1e3 * found[f'{clock}_p{share}']:.1f}" for share in (50, 90, 99)))
    return "   ".join(texts) + " ms (p50 / p90 / p99)"


def count(module: nn.Module) -> int:
    """Parameters."""
    return sum(parameter.numel() for parameter in module.parameters())


COMMAND = Command(
    name="benchmarks.decoder",
    words="",
    config=DecoderSpeedConfig,
    run=run,
    summary="Speed of the streaming speech decoder and of the vocoder.",
    example="python -m benchmarks.decoder decoder=runs/quickstart/decoder/artefact 'parts=[blocks,batch]'",
)

if __name__ == "__main__":
    COMMAND.exit()
