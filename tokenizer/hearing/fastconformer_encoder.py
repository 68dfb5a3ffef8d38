"""Speech encoder made of a NeMo checkpoint: NeMo's own mel front end and the whole FastConformer, as it was trained.

Vectors of the last layer. Most models see the whole clip; one whose attention is limited to chunks sees no more here
than it was trained to, but is not streamed (``tokenizer.train init=`` makes a streaming tokenizer of it). Frames are
normalised over the clip where the checkpoint says so (``per_feature``), so every vector depends on the clip's end.
Batch norm keeps its running statistics also in training, or batch mates would change a clip's vectors.

C clips, S samples, F mel frames, M mel bands, T positions, E width.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from corpus.audio.files import Samples
from runtime.errors import UserError
from tokenizer.backbones.fastconformer_weights import NemoEncoder, read_nemo
from tokenizer.backbones.nemo import quiet_nemo
from tokenizer.pretrained import state_digest

from .base import SpeechEncoder, SpeechFrontEnd, SpeechVectors


class NemoFrontEnd(SpeechFrontEnd):
    """NeMo's mel front end, without dither and without padding to a multiple of frames.

    Args:
        nemo: the checkpoint.
        subsampling: the encoder's strided convolutions, NeMo's ``ConvSubsampling``.
    """

    def __init__(self, nemo: NemoEncoder, subsampling: Any) -> None:
        options = {name: value for name, value in nemo.preprocessor.items() if not name.startswith("_")}
        self.options, self.weights = options | {"pad_to": 0, "dither": 0.0}, nemo.mel_weights
        self.preprocessor = self._preprocessor()
        featurizer = self.preprocessor.featurizer
        self.sample_rate, self.hop, self.frame_width = featurizer.sample_rate, featurizer.hop_length, featurizer.nfilt
        self.positions_per_second = self.sample_rate / self.hop / subsampling.subsampling_factor
        self.padding = subsampling._left_padding + subsampling._right_padding
        self.kernel, self.stages = subsampling._kernel_size, subsampling._sampling_num
        self.rounds_up = subsampling._ceil_mode

    def _preprocessor(self) -> Any:
        quiet_nemo()
        from nemo.collections.asr.modules import AudioToMelSpectrogramPreprocessor

        preprocessor = AudioToMelSpectrogramPreprocessor(**self.options).eval()
        if self.weights:
            preprocessor.load_state_dict(self.weights, strict=False)
        return preprocessor

    def __getstate__(self) -> dict[str, Any]:
        """NeMo's module cannot be pickled: it is built anew where the front end arrives."""
        return {name: value for name, value in vars(self).items() if name != "preprocessor"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Build the module."""
        vars(self).update(state)
        self.preprocessor = self._preprocessor()

    def num_frames(self, num_samples: int) -> int:
        """Mel frames F."""
        length = torch.tensor([num_samples])
        return int(self.preprocessor.featurizer.get_seq_len(length)) if num_samples else 0

    def num_positions(self, num_samples: int) -> int:
        """Positions after the strided convolutions; 0 below a mel frame."""
        count = self.num_frames(num_samples)
        for _ in range(self.stages if count else 0):
            count = (count + self.padding - self.kernel + self.rounds_up) // 2 + 1
        return count

    def mel(self, samples: Samples) -> Tensor:
        """(S,) samples to (F, M)."""
        count = self.num_frames(len(samples))
        if not count:
            return torch.zeros(0, self.frame_width)
        audio_1S = torch.from_numpy(samples)[None].float()
        with torch.no_grad():
            frames_1MF, _ = self.preprocessor(input_signal=audio_1S, length=torch.tensor([len(samples)]))
        return frames_1MF[0, :, :count].T.contiguous()


class FastConformerEncoder(SpeechEncoder):
    """NeMo's ``ConformerEncoder`` with the options and weights of a checkpoint.

    Args:
        nemo: the checkpoint.
    """

    layer = "last"

    def __init__(self, nemo: NemoEncoder) -> None:
        quiet_nemo()
        from nemo.collections.asr.modules import ConformerEncoder

        super().__init__()
        options = {name: value for name, value in nemo.config.items() if not name.startswith("_")}
        self.encoder = ConformerEncoder(**options | {"sync_max_audio_length": False})
        if not getattr(self.encoder.pre_encode, "conv2d_subsampling", False):
            raise ValueError(f"subsampling={options.get('subsampling')} has no strided 2-d convolutions")
        self.encoder.load_state_dict(nemo.weights)
        self.width = self.encoder._feat_out
        self.front_end: NemoFrontEnd = NemoFrontEnd(nemo, self.encoder.pre_encode)
        settings = [{name: str(value) for name, value in sorted(part.items())} for part in (options, nemo.preprocessor)]
        self.fingerprint = state_digest(settings, nemo.weights | nemo.mel_weights)

    def forward(self, mel_CFM: Tensor, frames_C: Tensor) -> SpeechVectors:
        """(C, F, M) frames to vectors of the last layer."""
        mel_CMF = mel_CFM.to(next(self.encoder.parameters()).dtype).transpose(1, 2)
        encoded_CET, positions_C = self.encoder(audio_signal=mel_CMF, length=frames_C)
        return SpeechVectors.masked(encoded_CET.transpose(1, 2), positions_C * (frames_C > 0))

    def train(self, mode: bool = True) -> Self:
        """Training mode, but for batch norm."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self


def load_fastconformer_encoder(source: Path, layer: str) -> FastConformerEncoder:
    """The encoder of a ``.nemo`` file.

    Raises:
        UserError: no FastConformer, or options or weights that NeMo's encoder does not take.
    """
    nemo = read_nemo(str(source))
    try:
        return FastConformerEncoder(nemo)
    except (TypeError, ValueError, RuntimeError) as error:
        found = f"an encoder that cannot be built ({' '.join(str(error).split())[:200]})"
        remedy = "give a FastConformer that this version of NeMo reads"
        raise UserError(str(source), found=found, remedy=remedy) from error
