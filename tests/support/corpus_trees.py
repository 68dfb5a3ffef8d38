"""Tiny trees of published corpora, each in its own layout, and the utterances in them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile

SUBTYPES = {".flac": "PCM_16", ".wav": "PCM_16", ".mp3": "MPEG_LAYER_III", ".opus": "OPUS", ".ogg": "VORBIS"}


class Said(NamedTuple):
    """An utterance of a tree, with id and speaker as the corpus has them."""

    id: str
    text: str
    speaker: str
    lang: str
    seconds: float
    offset: float | None = None


Tree = dict[str, list[Said]]


def sound(path: Path, seconds: float, rate: int = 16000) -> Path:
    """Write an audio file of the suffix's format, louder in each tenth of a second than in the one before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    times = np.arange(round(seconds * rate)) / rate
    audio = (0.02 * (1 + np.floor(10 * times))) * np.sin(2 * np.pi * 220 * times)
    kind = "OGG" if path.suffix in (".opus", ".ogg") else path.suffix[1:].upper()
    soundfile.write(path, audio.astype(np.float32), rate, format=kind, subtype=SUBTYPES[path.suffix])
    return path


def lines(path: Path, *texts: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    return path


def librispeech(root: Path) -> Tree:
    tree: Tree = {}
    for part, speaker in (("train-clean-5", "84"), ("dev-clean-2", "1272")):
        chapter = root / part / speaker / "121123"
        tree[part] = [
            Said(f"{speaker}-121123-{number:04d}", text, speaker, "en", 0.4 + number / 10)
            for number, text in enumerate(("GO DO YOU HEAR", "BUT IN LESS THAN FIVE MINUTES"))
        ]
        for said in tree[part]:
            sound(chapter / f"{said.id}.flac", said.seconds)
        lines(chapter / f"{speaker}-121123.trans.txt", *(f"{said.id} {said.text}" for said in tree[part]))
    return tree


def libritts(root: Path) -> Tree:
    chapter = root / "dev-clean" / "84" / "121550"
    said = [Said("84_121550_000007_000000", "The 2 of them.", "84", "en", 0.5)]
    said.append(Said("84_121550_000008_000000", "A second.", "84", "en", 0.6))
    for one in said:
        sound(chapter / f"{one.id}.wav", one.seconds, 24000)
        sound(chapter / f"._{one.id}.wav", 0.1)  # what a Mac leaves in the archive
    original = {said[0].id: "The II of them.", said[1].id: "A second."}
    lines(chapter / "84_121550.trans.tsv", *(f"{one.id}\t{original[one.id]}\t{one.text}" for one in said))
    lines(chapter / "84_121550.book.tsv", *(f"{one.id}\t{one.text}\t{one.text}\t1\t20.5" for one in said))
    lines(root / "SPEAKERS.txt", ";ID |SEX|", "84 | F | dev-clean | 1 | NAME")
    return {"dev-clean": said}


def ljspeech(root: Path) -> Tree:
    said = [
        Said("LJ001-0001", "in fourteen fifty-five,", "lj", "en", 0.5),
        Said("LJ001-0002", "modern", "lj", "en", 0.6),
    ]
    for one in said:
        sound(root / "wavs" / f"{one.id}.wav", one.seconds, 22050)
    lines(root / "metadata.csv", f"{said[0].id}|in 1455,|{said[0].text}", f"{said[1].id}|modern|modern")
    return {"train": said}


def vctk(root: Path) -> Tree:
    """Version 0.92; p280 has no second microphone."""
    said = []
    for speaker, microphones in (("p225", (1, 2)), ("p280", (1,))):
        one = Said(f"{speaker}_001", "Please call Stella.", speaker, "en", 0.5)
        for microphone in microphones:
            sound(root / "wav48_silence_trimmed" / speaker / f"{one.id}_mic{microphone}.flac", one.seconds, 48000)
        lines(root / "txt" / speaker / f"{one.id}.txt", one.text)
        said.append(one)
    lines(root / "speaker-info.txt", "ID AGE GENDER ACCENTS REGION", "p225 23 F English Southern", "p280 25 F French")
    return {"train": said}


def mls(root: Path) -> Tree:
    tree: Tree = {}
    for language, lang, suffix in (("german", "de", ".flac"), ("polish_opus", "pl", ".opus")):
        folder = root / f"mls_{language}"
        for part in ("train", "dev", "test"):
            said = Said("4800_10003_000000", f"ein satz ({part})", "4800", lang, 0.5)
            sound(folder / part / "audio" / "4800" / "10003" / f"{said.id}{suffix}", said.seconds)
            lines(folder / part / "transcripts.txt", f"{said.id}\t{said.text}")
            tree[f"{lang}-{part}"] = [said]
        lines(folder / "metainfo.txt", " 4800 | M | train | 10.0 | 1 | title")
    return tree


def common_voice(root: Path) -> Tree:
    tree: Tree = {}
    header = "client_id path sentence_id sentence up_votes down_votes age gender accents variant locale segment"
    for number, part in enumerate(("train", "dev", "test", "validated")):
        said = Said(f"common_voice_de_{number}", 'Er sagte: "Nein.', f"{number:0128x}", "de", 0.5)
        sound(root / "de" / "clips" / f"{said.id}.mp3", said.seconds, 32000)
        row = [said.speaker, f"{said.id}.mp3", "s1", said.text, "2", "0", "", "", "", "", "de", ""]
        lines(root / "de" / f"{part}.tsv", header.replace(" ", "\t"), "\t".join(row))
        tree[f"de-{part}"] = [said._replace(speaker=said.speaker[:16])]
    del tree["de-validated"]  # by name only: it holds the others
    return tree


def aishell(root: Path) -> Tree:
    tree: Tree = {}
    for number, part in enumerate(("train", "dev", "test")):
        said = Said(f"BAC009S000{number}W0122", "而对楼市A股", f"S000{number}", "zh", 0.5)
        sound(root / "data_aishell" / "wav" / part / said.speaker / f"{said.id}.wav", said.seconds)
        tree[part] = [said]
    texts = [f"{said[0].id} 而 对 楼市 ａ 股" for said in tree.values()]
    lines(root / "data_aishell" / "transcript" / "aishell_transcript_v0.8.txt", *texts)
    return tree


def peoples_speech(root: Path) -> Tree:
    tree: Tree = {}
    places = ("train/clean", "train/clean_sa", "train/dirty", "train/dirty_sa", "validation/validation", "test/test")
    for number, place in enumerate(places):
        said = Said(f"Forum_DOT_mp3_0000{number}", "and so it was", "", "en", 0.5)
        sound(root / place / f"{said.id}.flac", said.seconds)
        data = {"duration_ms": [500], "label": [said.text], "name": [f"{said.id}.flac"]}
        lines(root / f"{place}.json", json.dumps({"identifier": "Forum", "training_data": data}))
        tree[place.split("/")[1]] = [said]
    return tree


def emilia(root: Path) -> Tree:
    folder = root / "raw" / "DE"
    said = [
        Said(f"DE_B00000_S00000_W00000{number}", "Und es gibt.", "DE_B00000_S00000", "de", 0.5) for number in range(2)
    ]
    records = []
    for one in said:
        wav = f"DE_B00000/DE_B00000_S00000/mp3/{one.id}.mp3"
        sound(folder / wav, one.seconds, 24000)
        about = {"duration": 0.5, "speaker": one.speaker, "language": "de", "dnsmos": 3.4}
        records.append(json.dumps({"id": one.id, "wav": wav, "text": f" {one.text}", **about}))
    lines(folder / "DE_B00000.jsonl", *records)
    return {"de-train": said}


def emilia_unpacked(root: Path) -> Tree:
    """As the tars of the Hugging Face hub unpack."""
    said = [Said(f"EN_B00000_S00000_W00000{number}", "And so.", "EN_B00000_S00000", "en", 0.5) for number in range(2)]
    for one in said:
        audio = sound(root / "EN" / "EN-B000000" / f"{one.id}.mp3", one.seconds, 24000)
        about = {"id": one.id, "text": one.text, "speaker": one.speaker, "language": "en", "duration": 0.5}
        audio.with_suffix(".json").write_text(json.dumps(about))
    return {"en-train": said}


def gigaspeech(root: Path) -> Tree:
    sound(root / "audio" / "podcast" / "P0000" / "POD1.opus", 3.0)
    sound(root / "audio" / "youtube" / "P0001" / "YOU1.opus", 2.0)

    def segment(id: str, begin: float, end: float, text: str, subsets: str) -> dict[str, Any]:
        times = {"begin_time": begin, "end_time": end, "text_tn": text, "speaker": "N/A"}
        return {"sid": id, **times, "subsets": [f"{{{subset}}}" for subset in subsets.split()]}

    audio = [
        {
            "aid": "POD1",
            "path": "audio/podcast/P0000/POD1.opus",
            "duration": 3.0,
            "sample_rate": 16000,
            "channels": 1,
            "subsets": ["{XL}", "{L}", "{M}"],
            "segments": [
                segment("POD1_S0", 0.25, 1.0, "AS THEY'RE LEAVING <COMMA> CAN KASH <QUESTIONMARK>", "XL L M"),
                segment("POD1_S1", 1.0, 1.5, "<MUSIC>", "XL L M"),
                segment("POD1_S2", 1.5, 2.75, "NO <PERIOD>", "XL"),
            ],
        },
        {
            "aid": "YOU1",
            "path": "audio/youtube/P0001/YOU1.opus",
            "duration": 2.0,
            "sample_rate": 16000,
            "channels": 1,
            "subsets": ["{DEV}"],
            "segments": [segment("YOU1_S0", 0.5, 1.0, "YES", "DEV")],
        },
    ]
    (root / "GigaSpeech.json").write_text(json.dumps({"dataset": "GigaSpeech", "audios": audio}, indent=1))
    return {
        "XL": [
            Said("POD1_S0", "AS THEY'RE LEAVING, CAN KASH?", "", "en", 0.75, 0.25),
            Said("POD1_S2", "NO.", "", "en", 1.25, 1.5),
        ],
        "DEV": [Said("YOU1_S0", "YES", "", "en", 0.5, 0.5)],
    }


def wenetspeech(root: Path) -> Tree:
    path = "audio/train/podcast/B00000/X0000000001.opus"
    sound(root / path, 3.0)
    tree = {
        "L": [Said("X0000000001_S00000", "怎么样这些日子", "", "zh", 1.0, 0.5)],
        "TEST_NET": [Said("X0000000001_S00001", "住得还习惯吧", "", "zh", 0.75, 2.0)],
    }
    segments = [
        {
            "sid": said.id,
            "begin_time": said.offset,
            "end_time": (said.offset or 0) + said.seconds,
            "text": said.text,
            "confidence": 1.0,
            "subsets": ["L", "M"] if part == "L" else [part],
        }
        for part, (said,) in tree.items()
    ]
    audio = [{"aid": "X0000000001", "duration": 3.0, "md5": "-", "path": path, "segments": segments}]
    lines(root / "WenetSpeech.json", json.dumps({"audios": audio}, ensure_ascii=False))
    return tree


def voxpopuli(root: Path) -> Tree:
    """Sessions as they were recorded, with the table of segments that lhotse's recipe downloads."""
    session = "20090112-0900-PLENARY-2"
    sound(root / "raw_audios" / "en" / "2009" / f"{session}_en.ogg", 3.0)
    tree = {
        "en-train": [Said(f"{session}-1", "Thank you, Mr. President.", "22819", "en", 0.75, 0.5)],
        "en-dev": [Said(f"{session}-2", "Certainly.", "22819", "en", 1.0, 1.5)],
        "en-test": [Said(f"{session}-3", "No.", "4531", "en", 0.5, 2.5)],
    }
    rows = ["session_id|id_|original_text|normed_text|start_time|end_time|speaker_id|split|gender"]
    for name, (said,) in tree.items():
        start, end = said.offset or 0.0, (said.offset or 0.0) + said.seconds
        normed = said.text.lower().strip(".")
        rows.append(f"{session}|x|{said.text}|{normed}|{start}|{end}|{said.speaker}|{name[3:]}|female")
    with gzip.open(root / "asr_en.tsv.gz", "wt", encoding="utf-8") as file:
        file.write("".join(f"{row}\n" for row in rows))
    return tree


def voxpopuli_cut(root: Path) -> Tree:
    """As the publishers' own scripts write it, with unlabelled speech besides."""
    folder = root / "transcribed_data" / "en"
    said = Said("20090112-0900-PLENARY-2-en_20090112-17:07:10_3", "Thank you.", "22819", "en", 0.5)
    sound(folder / "2009" / f"{said.id}.ogg", said.seconds)
    header = "id\traw_text\tnormalized_text\tspeaker_id\tsplit\tgender"
    lines(folder / "asr_train.tsv", header, f"{said.id}\t{said.text}\tthank you\t{said.speaker}\ttrain\tfemale")
    sound(root / "unlabelled_data" / "en" / "2010" / "20100101_1.ogg", 0.5)
    return {"en-train": [said]}


def librilight(root: Path) -> Tree:
    book = root / "small" / "100" / "sea_fairies_0812_librivox_64kb_mp3"
    sound(book / "01_baum_sea_fairies_64kb.flac", 3.0)
    sound(book / "02_baum_sea_fairies_64kb.flac", 2.0)
    tree = []
    for chapter, stretches in (("01", [[0.25, 1.0], [1.5, 2.75]]), ("02", [[0.0, 1.5]])):
        name = f"{chapter}_baum_sea_fairies_64kb"
        lines(book / f"{name}.json", json.dumps({"speaker": "100", "book_meta": {}, "voice_activity": stretches}))
        tree += [
            Said(f"100_{book.name}_{name}_{number}", "", "100", "en", end - start, start)
            for number, (start, end) in enumerate(stretches)
        ]
    return {"small": tree}


def yodas(root: Path) -> Tree:
    said = [Said(f"YidAyaUZuHU-0000{number}-00000192-00000476", "so here we are", "", "en", 0.5) for number in range(2)]
    for one in said:
        sound(root / "data" / "en000" / "audio" / "00000000" / f"{one.id}.wav", one.seconds)
    lines(root / "data" / "en000" / "text" / "00000000.txt", *(f"{one.id} {one.text}" for one in said))
    return {"en000": said}


def yodas2(root: Path) -> Tree:
    """Whole videos."""
    folder = root / "data" / "zh001"
    sound(folder / "audio" / "YidAyaUZuHU.wav", 3.0, 24000)
    said = [
        Said("YidAyaUZuHU-00000-00000025-00000125", "你好", "", "zh", 1.0, 0.25),
        Said("YidAyaUZuHU-00001-00000150-00000275", "再见", "", "zh", 1.25, 1.5),
    ]
    texts = {one.id: one.text for one in said}
    lines(folder / "text" / "00000000.json", json.dumps([{"audio_id": "YidAyaUZuHU", "text": texts}]))
    return {"zh001": said}


def pocketsphinx_testdata(root: Path) -> Tree:
    folder = root / "usr" / "share" / "pocketsphinx" / "test" / "data"
    tree = {
        "librivox": [Said("sense_and_sensibility-0880", "he was not an ill disposed young man", "librivox", "en", 0.5)],
        "cards": [Said("001", "ten of clubs", "cards", "en", 0.5), Said("002", "four", "cards", "en", 0.6)],
    }
    for part, name in (("librivox", "transcription"), ("cards", "cards.transcription")):
        for said in tree[part]:
            sound(folder / part / f"{said.id}.wav", said.seconds)
        lines(folder / part / name, *(f"<s> {said.text}  </s> ({said.id})" for said in tree[part]))
    return tree


# Corpus and a word for the layout -> tree.
TREES: dict[str, Callable[[Path], Tree]] = {
    "librispeech": librispeech,
    "libritts": libritts,
    "ljspeech": ljspeech,
    "vctk": vctk,
    "mls": mls,
    "commonvoice": common_voice,
    "aishell": aishell,
    "peoples_speech": peoples_speech,
    "emilia": emilia,
    "emilia unpacked": emilia_unpacked,
    "gigaspeech": gigaspeech,
    "wenetspeech": wenetspeech,
    "voxpopuli": voxpopuli,
    "voxpopuli cut": voxpopuli_cut,
    "librilight": librilight,
    "yodas": yodas,
    "yodas whole": yodas2,
    "pocketsphinx_testdata": pocketsphinx_testdata,
}
