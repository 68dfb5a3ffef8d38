"""Detection of speech in a user's turn: whether anybody speaks in it at all, by the network of Silero VAD.

    detector = SpeechDetector(load_network(), threshold=0.6)
    detector.feed(samples)
    detector.finish()
    detector.has_speech

The network (github.com/snakers4/silero-vad, MIT licence; the weights come with the package ``silero-vad``) gives a
probability for every 32 ms. A turn has speech where one of them reaches the threshold. The network was trained on
speech of ordinary loudness and misses what is 40 dB softer, so each chunk is amplified by the loudest one so far.
The same samples give the same decision, in whatever pieces they come.

S samples at 16 kHz, N chunks.
"""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from corpus.audio.files import Samples

from .loudness import NO_SAMPLES

CHUNK, CONTEXT = 512, 64  # samples of a chunk, and of the one before it that the network sees, too
LOUD, MOST_GAIN = -20.0, 60.0  # dB of full scale that the loudest chunk is brought to; dB of amplification at most
SILENT = -75.0  # dB: chunks below are digital silence or its dither, and never looked at
WEIGHTS = "silero_vad.jit"
State = tuple[Tensor, Tensor]
# Parameters of the package's TorchScript, by ours.
NAMES = {"stft.weight": "_model.stft.forward_basis_buffer", "head.weight": "_model.decoder.decoder.2.weight"}
NAMES |= {"head.bias": "_model.decoder.decoder.2.bias"}
NAMES |= {f"lstm.{name}": f"_model.decoder.rnn.{name}" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
NAMES |= {
    f"convolutions.{at}.{name}": f"_model.encoder.{at}.reparam_conv.{name}"
    for at in range(4)
    for name in ("weight", "bias")
}


class SileroNetwork(nn.Module):
    """Silero VAD 6 at 16 kHz: magnitudes of a short-time Fourier transform, four convolutions, an LSTM.

    The package's TorchScript keeps the state of one stream in itself and takes one chunk a call; this is the same
    network for many streams, its convolutions over all chunks at once.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stft = nn.Conv1d(1, 258, 256, stride=128, bias=False)
        shapes = ((129, 128, 1), (128, 64, 2), (64, 64, 2), (64, 128, 1))
        self.convolutions = nn.ModuleList(nn.Conv1d(n, m, 3, stride=stride, padding=1) for n, m, stride in shapes)
        self.lstm = nn.LSTMCell(128, 128)
        self.head = nn.Conv1d(128, 1, 1)

    def forward(self, chunks_NS: Tensor, state: State | None) -> tuple[Tensor, State | None]:
        """Probabilities of speech (N,) in consecutive chunks (N, CONTEXT + CHUNK), and the state after them."""
        spectra_NCF = self.stft(nn.functional.pad(chunks_NS, (0, CONTEXT), mode="reflect").unsqueeze(1))
        hidden_NCF = (spectra_NCF[:, :129] ** 2 + spectra_NCF[:, 129:] ** 2).sqrt()
        for layer in self.convolutions:
            hidden_NCF = layer(hidden_NCF).relu()
        outputs: list[Tensor] = []
        for hidden_1D in hidden_NCF.squeeze(-1).split(1):
            state = self.lstm(hidden_1D, state)
            outputs.append(state[0])
        return self.head(torch.cat(outputs).relu().unsqueeze(-1)).sigmoid().flatten(), state


def load_network() -> SileroNetwork | None:
    """The network with its weights; None, with a warning, where the package silero-vad is not installed."""
    # Not imported: its modules set the number of torch's threads for the whole process.
    found = importlib.util.find_spec("silero_vad")
    file = Path(found.origin).parent / "data" / WEIGHTS if found is not None and found.origin else None
    if file is None or not file.is_file():
        text = "Only digital silence is taken for silence: pip install silero-vad to recognise noise, music and breath"
        warnings.warn(text, RuntimeWarning, stacklevel=2)
        return None
    network, weights = SileroNetwork(), torch.jit.load(str(file), map_location="cpu").state_dict()
    network.load_state_dict({name: weights[theirs] for name, theirs in NAMES.items()})
    return network.eval()


class SpeechDetector:
    """One turn of audio at 16 kHz.

    Args:
        network: gives the probabilities; None takes all that is louder than digital silence for speech.
        threshold: probability that one chunk must reach; 0 takes everything for speech.

    Attributes:
        has_speech: speech was found; nothing is looked at after that.
        probability: largest of the chunks so far.
    """

    def __init__(self, network: SileroNetwork | None, threshold: float) -> None:
        self.network, self.threshold = network, threshold
        self.has_speech = threshold <= 0
        self.probability = 0.0
        self._rest = NO_SAMPLES
        self._context = np.zeros(CONTEXT, dtype=np.float32)
        self._loudest = 10 ** (SILENT / 20)
        self._state: State | None = None

    def feed(self, samples: Samples) -> None:
        """Take (S,) samples."""
        if self.has_speech:
            return
        audio = np.concatenate([self._rest, samples], dtype=np.float32)
        count = len(audio) // CHUNK
        self._rest = audio[count * CHUNK :]
        self._look(audio[: count * CHUNK].reshape(count, CHUNK))

    def finish(self) -> None:
        """End the turn: the last samples are a chunk with zeros after them."""
        if len(self._rest):
            self.feed(np.zeros(CHUNK - len(self._rest), dtype=np.float32))

    def _look(self, chunks_NS: Samples) -> None:
        """Probabilities of whole chunks (N, CHUNK)."""
        levels = np.sqrt(np.mean(np.square(chunks_NS, dtype=np.float64), axis=1))
        loudest = np.maximum.accumulate(np.append(self._loudest, levels))[1:]
        is_silent = loudest <= self._loudest if self._loudest <= 10 ** (SILENT / 20) else np.zeros(len(levels), bool)
        chunks_NS, loudest = chunks_NS[~is_silent], loudest[~is_silent]
        if not len(chunks_NS):
            return
        self._loudest = float(loudest[-1])
        if self.network is None:
            self.has_speech = True
            return
        gains = np.minimum(10 ** (LOUD / 20) / loudest, 10 ** (MOST_GAIN / 20))
        louder = np.clip(chunks_NS * gains[:, None], -1, 1).astype(np.float32)
        before = np.concatenate([self._context[None], louder[:-1, -CONTEXT:]])
        self._context = louder[-1, -CONTEXT:]
        with torch.inference_mode():
            seen = torch.from_numpy(np.concatenate([before, louder], axis=1))
            probabilities, self._state = self.network(seen, self._state)
        self.probability = max(self.probability, float(probabilities.max()))
        self.has_speech = self.probability >= self.threshold
