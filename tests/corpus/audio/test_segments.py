"""A record means one stretch of audio: its segment, of the length that it says, whatever the file is."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from corpus.audio.files import audio_info, read_audio
from corpus.audio.segments import AudioSegment, read_segment
from corpus.manifest import Utterance, read_manifest, to_cuts, write_manifest
from runtime.errors import UserError

RATE = 16000
SUFFIXES = ("wav", "flac", "ogg", "mp3")


def two_tones(rate: int = RATE) -> np.ndarray:
    """Two seconds of 300 Hz, then two of 1200 Hz."""
    seconds = np.arange(2 * rate) / rate
    return 0.3 * np.concatenate([np.sin(2 * np.pi * hertz * seconds) for hertz in (300, 1200)])


def pitch_of(audio: np.ndarray) -> float:
    """The strongest frequency in Hz."""
    return float(np.abs(np.fft.rfft(audio)).argmax() * RATE / len(audio))


@pytest.fixture(params=SUFFIXES)
def tones(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    file = tmp_path / f"tones.{request.param}"
    soundfile.write(file, two_tones(), RATE)
    return file


def test_a_segment_is_the_stretch_that_it_says(tones: Path) -> None:
    low, high = (read_segment(AudioSegment(tones, offset, 2.0)) for offset in (0.0, 2.0))
    assert [round(pitch_of(one), -1) for one in (low, high)] == [300, 1200]
    assert abs(len(low) - 2 * RATE) < 10 and abs(len(high) - 2 * RATE) < 0.1 * RATE
    whole = read_segment(AudioSegment(tones, None, 4.0))
    np.testing.assert_array_equal(whole, read_audio(tones))
    content = io.BytesIO(tones.read_bytes())
    np.testing.assert_array_equal(read_segment(AudioSegment(tones, 2.0, 2.0), content=content), high)
    rest = read_segment(AudioSegment(tones, 3.0, None))
    assert abs(len(rest) - RATE) < 0.1 * RATE


def test_a_segment_of_another_rate_and_of_stereo(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.stack([two_tones(44100)] * 2, 1), 44100)
    high = read_segment(AudioSegment(tmp_path / "a.wav", 2.0, 2.0))
    assert len(high) == 2 * RATE and round(pitch_of(high), -1) == 1200


def test_audio_of_another_length_than_the_record_says(tones: Path) -> None:
    for segment in (AudioSegment(tones, None, 0.5), AudioSegment(tones, None, 8.0), AudioSegment(tones, 3.0, 2.0)):
        with pytest.raises(UserError, match=r"s of audio, but a duration of .* raise duration_tolerance"):
            read_segment(segment)
    assert len(read_segment(AudioSegment(tones, None, 0.5), tolerance=4.0)) > 3 * RATE
    with pytest.raises(UserError, match=r"offset 5 s beyond the end of the audio"):
        read_segment(AudioSegment(tones, 5.0, 1.0))
    assert len(read_segment(AudioSegment(tones, None, 4.1)))  # within the tolerance


def test_torn_files_are_refused(tones: Path) -> None:
    content = tones.read_bytes()
    tones.write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=r"of audio, but a duration of 4\.000 s|not readable as audio"):
        read_segment(AudioSegment(tones, None, 4.0))
    with pytest.raises(UserError, match=r"beyond the end|but a duration of|not readable as audio|without samples"):
        read_segment(AudioSegment(tones, 2.5, 1.5))


def test_a_headerless_file_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "a.raw").write_bytes(b"\0\1" * RATE)
    for read in (audio_info, read_audio, lambda file: read_segment(AudioSegment(file, 0.0, 1.0))):
        with pytest.raises(UserError, match=r"a\.raw: not readable as audio"):
            read(tmp_path / "a.raw")


def test_manifests_and_cuts_keep_segments(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", two_tones(), RATE)
    said = [Utterance(str(at), tmp_path / "a.wav", 2.0, "x", "ann", offset=float(at)) for at in (0, 2)]
    write_manifest(tmp_path / "m.jsonl", said)
    manifest = read_manifest(tmp_path / "m.jsonl")
    assert [one.offset for one in manifest.utterances] == [0.0, 2.0]
    for cut, pitch in zip(to_cuts(manifest), (300, 1200), strict=True):
        audio = cut.load_audio()[0]
        assert len(audio) == 2 * RATE and round(pitch_of(audio), -1) == pitch
        assert cut.supervisions[0].duration == 2.0
