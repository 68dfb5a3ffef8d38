"""Import of published corpora: what lies in tiny trees of each layout comes out, and other tools read it alike."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from corpus.audio.room_simulation import RoomConfig
from corpus.manifest import AudioUtterance, Utterance, read_manifest, to_cuts
from corpus.published.catalogue import BY_NAME
from corpus.published.import_config import SpeechImportConfig
from corpus.speech_import import STAGE
from runtime.artefact import read_json
from runtime.errors import UserError
from tests.support.corpus_trees import TREES, Said, Tree, librispeech, lines, sound
from tests.support.permits import Permits, is_group_running, wait_for
from tests.support.sabotage import sabotaged
from tokenizer.encoding.bulk_speech import UnitAudioReader, find_split

ROOT = Path(__file__).resolve().parents[3]
CODECS = {".mp3": 0.08, ".opus": 0.02, ".ogg": 0.01}  # seconds that they may add at the ends


def import_tree(name: str, folder: Path, **options: Any) -> tuple[Tree, Path, dict[str, Any]]:
    """Make the tree ``name`` and import it; returns what is in it, the run folder and the metrics."""
    tree = TREES[name](folder / "source")
    out = folder / "out"
    config = SpeechImportConfig(name=name.split()[0], source=str(folder / "source"), out=str(out), **options)
    return tree, out, STAGE.execute(config)


def same_id(name: str, said: Said) -> str:
    """The id of an utterance of the tree ``name`` after its import."""
    return re.sub(r"[^\w-]", "_", f"{name.split()[0]}-{said.id}")


def level_at(seconds: float) -> float:
    """Mean size of the trees' sound there."""
    return 0.02 * (1 + np.floor(10 * seconds + 1e-6)) * 2 / np.pi


@pytest.mark.parametrize("name", TREES)
def test_each_corpus_is_imported_and_read_back_alike(name: str, tmp_path: Path) -> None:
    tree, out, metrics = import_tree(name, tmp_path)
    corpus = name.split()[0]
    assert {file.stem for file in out.glob("*.jsonl")} == {*tree, "bad_records"}
    assert metrics["utterances"] == sum(map(len, tree.values())) and metrics["bad_records"] == 0
    assert metrics["hours"] * 3600 == pytest.approx(
        sum(said.seconds for each in tree.values() for said in each), abs=0.3
    )
    for split, expected in tree.items():
        manifest = read_manifest(out / f"{split}.jsonl", 0.0, needs_text=corpus != "librilight")
        for utterance, said in zip(manifest.utterances, expected, strict=True):
            assert utterance.id == same_id(name, said) or len(said.id) > 60
            speaker = f"{corpus}-{said.speaker}" if said.speaker else ""
            assert (utterance.text, utterance.speaker, utterance.lang) == (said.text, speaker, said.lang)
            assert utterance.offset == said.offset
            tolerance = CODECS.get(utterance.audio.suffix, 1e-4)
            assert utterance.duration == pytest.approx(said.seconds, abs=tolerance)
        read_by_others(manifest.path, manifest.utterances)
    card = read_json(out / "splits.json")
    assert {split: card["splits"][split]["utterances"] for split in tree} == {k: len(v) for k, v in tree.items()}
    assert BY_NAME[corpus].licence in (out / "LICENCE.txt").read_text()
    assert not (out / "units").exists()


def read_by_others(path: Path, utterances: list[Utterance]) -> None:
    """NeMo's and lhotse's readers and tokenizer.encode's find each utterance's stretch of audio, text and speaker."""
    from nemo.collections.asr.parts.utils.manifest_utils import read_manifest as read_by_nemo
    from nemo.collections.common.data.lhotse.nemo_adapters import LazyNeMoIterator

    assert [row["text"] for row in read_by_nemo(path)] == [utterance.text for utterance in utterances]
    nemo = list(LazyNeMoIterator(path))
    lhotse = list(to_cuts(read_manifest(path, needs_text=False)))
    split = find_split(path.parent, path.stem, unit_utterances=100, max_bad_share=0.0)
    assert split is not None
    own = {one.id: one for unit in split.units for one in UnitAudioReader(16000, RoomConfig(), 1).read(unit)}
    for utterance, one, other in zip(utterances, nemo, lhotse, strict=True):
        assert one.supervisions[0].text == other.supervisions[0].text == utterance.text
        assert other.supervisions[0].speaker == utterance.speaker
        mine = own[utterance.id]
        assert isinstance(mine, AudioUtterance) and mine.text == utterance.text
        for audio, rate in (
            (one.load_audio()[0], one.sampling_rate),
            (other.load_audio()[0], other.sampling_rate),
            (mine.audio, 16000),
        ):
            assert len(audio) / rate == pytest.approx(utterance.duration, abs=0.003)
            if utterance.offset is not None:
                start = audio[round(0.02 * rate) : round(0.05 * rate)]
                assert np.abs(start).mean() == pytest.approx(level_at(utterance.offset + 0.02), rel=0.25)


def of_lhotse(sets: dict[str, Any]) -> set[tuple[str, str | None, str | None, float, float]]:
    """Id, text, speaker, begin and length of each supervision of a recipe's part."""
    found = sets["supervisions"] if isinstance(sets, dict) else sets
    return {(s.id, (s.text or "").strip(), s.speaker, round(s.start, 3), round(s.duration, 3)) for s in found}


def by_lhotse(name: str, root: Path) -> dict[str, Any]:
    """What lhotse's recipe of the corpus reads from its tree, by our splits' names."""
    from lhotse import recipes
    from lhotse.recipes.emilia import prepare_emilia
    from lhotse.recipes.gigaspeech import parse_utterance as read_gigaspeech
    from lhotse.recipes.librilight import _prepare_subset
    from lhotse.recipes.wenet_speech import parse_utterance as read_wenetspeech

    if name == "librispeech":
        return dict(recipes.prepare_librispeech(root))
    if name == "libritts":
        return dict(recipes.prepare_libritts(root, dataset_parts=["dev-clean"]))
    if name == "ljspeech":
        return {"train": recipes.prepare_ljspeech(root)}
    if name == "vctk":
        return {"train": recipes.prepare_vctk(root, use_edinburgh_vctk_url=True)}
    if name == "mls":
        return {f"de-{part}": sets for part, sets in recipes.prepare_mls(root, opus=False)["german"].items()}
    if name == "aishell":
        return dict(recipes.prepare_aishell(root))
    if name == "peoples_speech":
        return {part.split("/")[1]: sets for part, sets in recipes.prepare_peoples_speech(root).items()}
    if name == "emilia":
        return {"de-train": [cut.supervisions[0] for cut in prepare_emilia(root, "de", num_jobs=1)]}
    if name == "gigaspeech":
        audio = json.loads((root / "GigaSpeech.json").read_text())["audios"]
        return {part: read_gigaspeech(audio[at], root)[1] for at, part in enumerate(("XL", "DEV"))}
    if name == "wenetspeech":
        audio = json.loads((root / "WenetSpeech.json").read_text())["audios"]
        return dict(read_wenetspeech(audio[0], root, ["L", "TEST_NET"])[1])
    if name == "voxpopuli":
        found = recipes.prepare_voxpopuli(root, output_dir=root, lang="en")
        return {f"en-{part}": sets for part, sets in found.items()}
    assert name == "librilight"
    return {"small": list(_prepare_subset("small", root)[1])}


# Where lhotse keeps figures, and words for marks of punctuation; or takes the capitals away.
OTHER_TEXTS = {"ljspeech", "gigaspeech", "voxpopuli"}
NUMBERED = {"librilight"}  # its ids hold the path


# Not those layouts that it does not read, and not Common Voice, whose recipe starts processes for each split.
BY_LHOTSE = [
    name for name in TREES if " " not in name and name not in ("commonvoice", "yodas", "pocketsphinx_testdata")
]


@pytest.mark.parametrize("name", BY_LHOTSE)
def test_lhotses_recipe_of_the_corpus_reads_the_same(name: str, tmp_path: Path) -> None:
    """Recipes hold a whole corpus in memory, stop at the first bad line or leave it out unsaid; so they are no part."""
    tree, out, _ = import_tree(name, tmp_path)
    compared = 0
    for split, sets in by_lhotse(name, tmp_path / "source").items():
        if split not in tree:
            continue
        recipe = {id.removesuffix("_mic2"): rest for id, *rest in of_lhotse(sets)}
        for said, utterance in zip(
            tree[split], read_manifest(out / f"{split}.jsonl", needs_text=False).utterances, strict=True
        ):
            id = f"small/100/{said.id.removeprefix('100_').replace('_mp3_', '_mp3/')}" if name in NUMBERED else said.id
            if name == "vctk" and said.speaker == "p280":
                continue  # lhotse leaves the speaker out
            text, speaker, start, seconds = recipe[id]
            assert name in OTHER_TEXTS or text == utterance.text
            assert speaker in (None, "N/A") or f"{name}-{speaker}" == utterance.speaker
            assert start == pytest.approx(utterance.offset or 0.0)
            assert seconds == pytest.approx(utterance.duration, abs=CODECS.get(utterance.audio.suffix, 2e-3))
            compared += 1
    assert compared


@pytest.mark.parametrize(("name", "rate"), [("libritts", 24000), ("gigaspeech", 16000), ("librilight", 16000)])
def test_shar_is_read_by_lhotse_and_by_encode(name: str, rate: int, tmp_path: Path) -> None:
    from lhotse import CutSet

    tree, out, metrics = import_tree(name, tmp_path, form="shar", sample_rate=rate, unit_utterances=1)
    assert metrics["utterances"] == sum(map(len, tree.values()))
    for split, expected in tree.items():
        tars = sorted(map(str, (out / split).glob("*.tar")))
        lists = sorted(map(str, (out / split).glob("*.cuts.jsonl")))
        cuts = list(CutSet.from_shar(fields={"cuts": lists, "recording": tars}))
        found = find_split(out, split, unit_utterances=1, max_bad_share=0.0)
        assert found is not None and len(found.units) == len(expected)
        own = [one for unit in found.units for one in UnitAudioReader(rate, RoomConfig(), 1).read(unit)]
        for cut, mine, said in zip(cuts, own, expected, strict=True):
            assert isinstance(mine, AudioUtterance)
            (label,) = cut.supervisions
            assert (label.text or "", mine.text, label.language) == (said.text, said.text, said.lang)
            assert label.speaker == mine.speaker
            (audio,) = cut.load_audio()
            assert cut.sampling_rate == rate and len(audio) / rate == pytest.approx(said.seconds, abs=0.02)
            np.testing.assert_allclose(mine.audio, audio, atol=1e-4)
            assert np.abs(audio[round(0.02 * rate) : round(0.05 * rate)]).mean() == pytest.approx(
                level_at((said.offset or 0) + 0.02), rel=0.25
            )


def test_splits_and_limit(tmp_path: Path) -> None:
    _, out, metrics = import_tree("commonvoice", tmp_path, splits=["de-validated"])
    assert [file.stem for file in out.glob("de*.jsonl")] == ["de-validated"] and metrics["utterances"] == 1
    tree, out, metrics = import_tree("librispeech", tmp_path / "other", limit=1)
    assert metrics["utterances"] == len(tree) == 2
    with pytest.raises(UserError, match=r"option splits: no utterance of TEST in .*leave it out"):
        import_tree("gigaspeech", tmp_path / "fourth", splits=["DEV", "TEST"])
    with pytest.raises(UserError, match=r"option splits: no train in .*choose from dev-clean-2, train-clean-5"):
        import_tree("librispeech", tmp_path / "third", splits=["train"])


def test_subsets_of_subsets_are_chosen_by_segment(tmp_path: Path) -> None:
    _, out, _ = import_tree("gigaspeech", tmp_path, splits=["M"])
    assert [one.id for one in read_manifest(out / "M.jsonl").utterances] == ["gigaspeech-POD1_S0"]


def test_unlabelled_speech_has_no_text(tmp_path: Path) -> None:
    _, out, _ = import_tree("voxpopuli cut", tmp_path, splits=["en-unlabelled"])
    (utterance,) = read_manifest(out / "en-unlabelled.jsonl", needs_text=False).utterances
    assert (utterance.text, utterance.lang) == ("", "en")


def test_another_corpus_folder_is_named(tmp_path: Path) -> None:
    TREES["ljspeech"](tmp_path / "lj")
    for name in ("librispeech", "emilia", "gigaspeech", "voxpopuli"):
        config = SpeechImportConfig(name=name, source=str(tmp_path / "lj"), out=str(tmp_path / "out"))
        with pytest.raises(UserError) as error:
            STAGE.execute(config)
        assert "which holds metadata.csv, wavs; this is the layout of ljspeech. looked for " in str(error.value).lower()
        assert BY_NAME[name].layout in str(error.value)
    with pytest.raises(UserError, match=r"option source: no such folder .*get it from https://www.openslr.org/12"):
        STAGE.execute(SpeechImportConfig(name="librispeech", source=str(tmp_path / "no"), out=str(tmp_path / "out")))


LISTS = {
    "ljspeech": "metadata.csv",
    "vctk": "txt",
    "mls": "mls_german/dev/transcripts.txt",
    "commonvoice": "de/*.tsv",
    "aishell": "data_aishell/transcript/aishell_transcript_v0.8.txt",
    "peoples_speech": "train/dirty.json",
    "gigaspeech": "GigaSpeech.json",
    "wenetspeech": "WenetSpeech.json",
    "voxpopuli": "asr_en.tsv.gz",
    "voxpopuli cut": "transcribed_data/en/asr_train.tsv",
    "yodas": "data/en000/text",
}


@pytest.mark.parametrize("name", LISTS)
def test_a_missing_list_of_transcripts_is_named(name: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    TREES[name](source)
    missing = list(source.glob(LISTS[name]))
    for path in missing:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    config = SpeechImportConfig(name=name.split()[0], source=str(source), out=str(tmp_path / "out"))
    with pytest.raises(UserError, match=r"no such file or folder .*unpack all of the corpus there") as error:
        STAGE.execute(config)
    assert error.value.subject in map(str, missing)


@pytest.mark.parametrize(
    ("name", "folder"),
    [("aishell", "data_aishell/wav"), ("emilia", "raw/DE"), ("yodas", "data/en000/audio"), ("commonvoice", "de/clips")],
)
def test_archives_that_are_not_unpacked_are_named(name: str, folder: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    TREES[name](source)
    shutil.rmtree(source / folder)
    lines(source / folder / "S0002.tar.gz", "packed")
    with pytest.raises(UserError, match=r"1 archives \(S0002.tar.gz, ...\) that are not unpacked") as error:
        STAGE.execute(SpeechImportConfig(name=name, source=str(source), out=str(tmp_path / "out")))
    assert error.value.subject == str(source / folder)


def broken_librispeech(root: Path) -> Path:
    """Of six lines two are good; returns the list of transcripts."""
    librispeech(root)
    shutil.rmtree(root / "dev-clean-2")
    chapter = root / "train-clean-5" / "84" / "121123"
    sound(chapter / "84-121123-0003.flac", 0.01)
    (chapter / "84-121123-0004.flac").write_bytes(b"")
    trans = chapter / "84-121123.trans.txt"
    more = ["84-121123-0001 AGAIN", "84-121123-0002 NO FILE", "84-121123-0003 SHORT", "84-121123-0004 EMPTY", "84-1"]
    trans.write_bytes(b"\xef\xbb\xbf" + trans.read_bytes().replace(b"\n", b"\r\n") + "\n".join(more).encode())
    return trans


def test_bad_records_are_listed_with_file_and_line(tmp_path: Path) -> None:
    trans = broken_librispeech(tmp_path / "source")
    config = {"name": "librispeech", "source": str(tmp_path / "source"), "out": str(tmp_path / "out")}
    with pytest.raises(UserError, match=r"trans\.txt, line 3: id '84-121123-0001' was used before; 5 of 7 records"):
        STAGE.execute(SpeechImportConfig(**config))
    metrics = STAGE.execute(SpeechImportConfig(**config, max_bad_share=0.8))
    assert (metrics["utterances"], metrics["bad_records"]) == (2, 5)
    bad = [json.loads(line) for line in (tmp_path / "out" / "bad_records.jsonl").read_text().splitlines()]
    assert [one["place"] for one in bad] == [f"{trans}, line {number}" for number in range(3, 8)]
    reasons = " ".join(one["reason"] for one in bad)
    for reason in (
        "used before",
        "no transcript of 84-1",
        "no such audio file",
        "only 0.010 s",
        "not readable as audio",
    ):
        assert reason in reasons
    assert read_json(tmp_path / "out" / "splits.json")["splits"]["train-clean-5"]["bad_records"] == 5


def test_a_segment_past_the_end_of_its_recording_is_bad(tmp_path: Path) -> None:
    TREES["librilight"](tmp_path / "source")
    file = next((tmp_path / "source").rglob("02_*.json"))
    lines(file, json.dumps({"speaker": "100", "voice_activity": [[0.0, 1.5], [1.5, 2.2], [1.5, 2.9], [-1, 1]]}))
    config = SpeechImportConfig(
        name="librilight", source=str(tmp_path / "source"), out=str(tmp_path / "out"), max_bad_share=0.5
    )
    assert STAGE.execute(config)["bad_records"] == 2
    utterances = read_manifest(tmp_path / "out" / "small.jsonl", needs_text=False).utterances
    assert utterances[-1].duration == pytest.approx(0.5)  # within the tolerance it is cut at the end
    first = json.loads((tmp_path / "out" / "bad_records.jsonl").read_text().splitlines()[0])
    assert first["place"] == f"{file}, voice activity 2" and "from 1.5 s to 2.9 s of 2.000 s" in first["reason"]


@pytest.mark.parametrize("form", ["manifest", "shar"])
def test_a_killed_import_goes_on_to_the_same_bytes(form: str, tmp_path: Path) -> None:
    librispeech(tmp_path / "source")
    words = ["librispeech", f"source={tmp_path / 'source'}", f"form={form}", "unit_utterances=1"]
    out, permits = tmp_path / "killed", Permits(tmp_path / "permits")
    command = sabotaged(f"permits={permits.folder}", "corpus.speech_import", *words, f"out={out}")
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL, start_new_session=True)
    permits.give(1)
    wait_for(lambda: len(list(out.glob("units/dev-clean-2/done/*.json"))) >= 1)
    assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_for(lambda: not is_group_running(process.pid))
    for folder in (out, tmp_path / "unbroken"):
        assert STAGE.main([*words, f"out={folder}"]) == 0
    names = [file.relative_to(out) for file in sorted(out.rglob("*clean*")) if file.is_file()]
    names += [file.relative_to(out) for file in sorted(out.glob("*/*"))]
    assert len(names) == (2 if form == "manifest" else 8)
    for name in names:
        assert (out / name).read_bytes() == (tmp_path / "unbroken" / name).read_bytes()


def test_help_has_a_row_for_each_corpus() -> None:
    text = STAGE.help()
    for name, corpus in BY_NAME.items():
        assert re.search(rf"^  {name} +{re.escape(corpus.title)}: .*{re.escape(corpus.licence)}", text, re.MULTILINE)
        assert corpus.home in text and "/" in corpus.layout
    assert {name.split()[0] for name in TREES} == {*BY_NAME}
