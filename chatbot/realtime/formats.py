"""Audio formats of the protocol: 16-bit PCM at 24 kHz, and G.711 (mu-law and A-law) at 8 kHz.

S samples, float32, full scale 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chatbot.engine.pcm import WIRE_RATE, decode_pcm16, encode_pcm16
from corpus.audio.files import Samples

TELEPHONE_RATE = 8_000


@dataclass(frozen=True, kw_only=True)
class WireFormat:
    """Encoding of samples on the wire.

    Attributes:
        kind: the protocol's name, e.g. "audio/pcm".
        rate: samples per second.
        sample_bytes: bytes of one sample.
        decode: bytes -> (S,) samples; raises `UserError` for half a sample.
        encode: (S,) samples -> bytes.
    """

    kind: str
    rate: int
    sample_bytes: int
    decode: Callable[[bytes], Samples]
    encode: Callable[[Samples], bytes]

    def to_json(self) -> dict[str, object]:
        """The format as the protocol writes it."""
        return {"type": self.kind, "rate": self.rate} if self.kind == "audio/pcm" else {"type": self.kind}


def mulaw_table() -> npt.NDArray[np.int16]:
    """The 16-bit value of each of the 256 mu-law bytes (ITU-T G.711, table 2)."""
    code = ~np.arange(256, dtype=np.uint8)
    magnitude = ((((code & 15).astype(np.int32) << 3) + 132) << ((code >> 4) & 7)) - 132
    return np.where(code & 128, -magnitude, magnitude).astype(np.int16)


def alaw_table() -> npt.NDArray[np.int16]:
    """The 16-bit value of each of the 256 A-law bytes (ITU-T G.711, table 1)."""
    code = np.arange(256, dtype=np.uint8) ^ 0x55
    segment = ((code >> 4) & 7).astype(np.int32)
    mantissa = (code & 15).astype(np.int32) << 4
    magnitude = np.where(segment == 0, mantissa + 8, (mantissa + 264) << np.maximum(segment - 1, 0))
    return np.where(code & 128, magnitude, -magnitude).astype(np.int16)


def companded(kind: str, table: npt.NDArray[np.int16]) -> WireFormat:
    """A format of one byte a sample, each standing for a value of ``table``; encoding takes the nearest value."""
    order = np.argsort(table, kind="stable")
    values = table[order].astype(np.float32)
    edges = (values[1:] + values[:-1]) / 2

    def decode(data: bytes) -> Samples:
        return (table[np.frombuffer(data, dtype=np.uint8)] / np.float32(32768)).astype(np.float32)

    def encode(samples: Samples) -> bytes:
        return order[np.searchsorted(edges, np.asarray(samples) * np.float32(32768))].astype(np.uint8).tobytes()

    return WireFormat(kind=kind, rate=TELEPHONE_RATE, sample_bytes=1, decode=decode, encode=encode)


FORMATS = {
    wire.kind: wire
    for wire in (
        WireFormat(kind="audio/pcm", rate=WIRE_RATE, sample_bytes=2, decode=decode_pcm16, encode=encode_pcm16),
        companded("audio/pcmu", mulaw_table()),
        companded("audio/pcma", alaw_table()),
    )
}
