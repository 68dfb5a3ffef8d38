from pathlib import Path

import numpy as np
import pytest
import soundfile

from corpus.audio.files import audio_info, read_audio, write_audio
from runtime.errors import UserError
from runtime.record_warnings import collected_warnings


def tone(seconds: float, rate: int, hertz: float = 440.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


@pytest.mark.parametrize("suffix", [".flac", ".wav"])
def test_round_trip(tmp_path: Path, suffix: str) -> None:
    audio = tone(0.3, 16000)
    write_audio(tmp_path / f"a{suffix}", audio)
    np.testing.assert_allclose(read_audio(tmp_path / f"a{suffix}"), audio, atol=1 / 32768)
    assert [entry.name for entry in tmp_path.iterdir()] == [f"a{suffix}"]


def test_other_rates_and_stereo_become_mono_16_khz(tmp_path: Path) -> None:
    stereo = np.stack([tone(1.0, 44100), np.zeros(44100, np.float32)], axis=1)
    soundfile.write(tmp_path / "a.wav", stereo, 44100)
    audio = read_audio(tmp_path / "a.wav")
    assert len(audio) == 16000
    np.testing.assert_allclose(audio[2000:14000], 0.5 * tone(1.0, 16000)[2000:14000], atol=2e-3)
    assert audio_info(tmp_path / "a.wav").num_channels == 2


def test_bad_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "corrupt.wav").write_bytes(b"RIFF....not audio")
    soundfile.write(tmp_path / "empty.wav", np.zeros(0, np.float32), 16000)
    soundfile.write(tmp_path / "nan.wav", np.full(10, np.nan, np.float32), 16000, subtype="FLOAT")
    cases = {"missing": "no such audio file", "corrupt": "not readable", "empty": "without samples", "nan": "NaN"}
    for name, reason in cases.items():
        with pytest.raises(UserError, match=reason) as caught:
            read_audio(tmp_path / f"{name}.wav")
        assert f"{name}.wav" in str(caught.value)


def warnings_of(folder: Path, samples: np.ndarray) -> list[str]:
    soundfile.write(folder / "a.wav", samples, 16000, subtype="FLOAT")
    with collected_warnings() as seen:
        read_audio(folder / "a.wav")
    return list(seen)


def test_channels_that_cancel_out_are_warned_of(tmp_path: Path) -> None:
    voice, noise = tone(0.5, 16000), np.random.default_rng(0).normal(0, 0.1, (8000, 8)).astype(np.float32)
    (said,) = warnings_of(tmp_path, np.stack([voice, -voice], 1))
    assert "a.wav: its 2 channels cancel out" in said and "keep one" in said
    assert len(warnings_of(tmp_path, np.stack([voice, -0.9 * voice], 1))) == 1
    for fine in (voice, np.stack([voice, voice], 1), np.stack([voice, 0 * voice], 1), noise, 1e-5 * noise, 0 * noise):
        assert warnings_of(tmp_path, fine) == []


def test_samples_at_16_bit_scale_are_warned_of(tmp_path: Path) -> None:
    voice = tone(0.5, 16000)
    (said,) = warnings_of(tmp_path, 32768 * voice)
    assert "a.wav: samples up to 16,384, where full scale is 1: divide 16-bit samples by 32768" in said
    assert len(warnings_of(tmp_path, -300 * np.abs(voice))) == 1  # quiet speech, all below zero
    for fine in (voice, 3 * voice, 1.2 * np.sign(voice)):  # what is mastered or decoded loud
        assert warnings_of(tmp_path, fine) == []
