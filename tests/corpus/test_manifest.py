import json
from pathlib import Path

import numpy as np
import pytest

from corpus.audio.files import write_audio
from corpus.manifest import Utterance, read_manifest, to_cuts, write_manifest
from runtime.errors import UserError


@pytest.fixture
def utterances(tmp_path: Path) -> list[Utterance]:
    result = []
    for number in range(3):
        path = tmp_path / "audio" / f"u{number}.flac"
        write_audio(path, np.full(16000 + number, 0.1, np.float32))
        result.append(Utterance(f"u{number}", path, (16000 + number) / 16000, f"text {number}", "ann", kind="user"))
    return result


def test_round_trip_with_relative_paths(tmp_path: Path, utterances: list[Utterance]) -> None:
    write_manifest(tmp_path / "m.jsonl", utterances)
    assert json.loads((tmp_path / "m.jsonl").read_text().splitlines()[0])["audio_filepath"] == "audio/u0.flac"
    manifest = read_manifest(tmp_path / "m.jsonl")
    assert not manifest.bad
    assert [u.audio.resolve() for u in manifest.utterances] == [u.audio.resolve() for u in utterances]
    assert [(u.id, u.text, u.speaker, u.kind) for u in manifest.utterances] == [
        (u.id, u.text, u.speaker, u.kind) for u in utterances
    ]


BAD_LINES = {
    "not json": "not JSON",
    "[1]": "list instead of an object",
    '{"duration": 1, "text": "x"}': "no audio_filepath",
    '{"audio_filepath": "audio/u0.flac", "duration": 1, "text": "  "}': "empty transcript",
    '{"audio_filepath": "audio/u0.flac", "duration": 0, "text": "x"}': "duration is 0",
    '{"audio_filepath": "audio/u0.flac", "duration": "1", "text": "x"}': "duration is '1'",
    '{"audio_filepath": "audio/none.flac", "duration": 1, "text": "x"}': "no audio file",
    '{"id": "u0", "audio_filepath": "audio/u0.flac", "duration": 1, "text": "x"}': "used before",
}


@pytest.mark.parametrize("line", BAD_LINES)
def test_bad_records_are_counted_then_refused(tmp_path: Path, utterances: list[Utterance], line: str) -> None:
    path = tmp_path / "m.jsonl"
    write_manifest(path, utterances)
    path.write_text(path.read_text() + line + "\n")
    manifest = read_manifest(path, max_bad_share=0.25)
    assert len(manifest.utterances) == 3
    assert BAD_LINES[line] in manifest.bad[0].reason
    with pytest.raises(UserError, match=r"m\.jsonl, line 4: .*1 of 4 records are bad.*max_bad_share"):
        read_manifest(path, max_bad_share=0.2)


def test_missing_and_empty_manifests(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such manifest"):
        read_manifest(tmp_path / "none.jsonl")
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(UserError, match="empty manifest"):
        read_manifest(tmp_path / "empty.jsonl")


def test_lhotse_reads_it(tmp_path: Path, utterances: list[Utterance]) -> None:
    write_manifest(tmp_path / "m.jsonl", utterances)
    cuts = list(to_cuts(read_manifest(tmp_path / "m.jsonl")))
    assert [cut.id for cut in cuts] == ["u0", "u1", "u2"]
    assert cuts[1].load_audio().shape == (1, 16001)
    assert cuts[1].supervisions[0].text == "text 1"
    assert cuts[1].supervisions[0].custom["kind"] == "user"
