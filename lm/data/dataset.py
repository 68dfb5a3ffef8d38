"""Packed training samples from LM corpora, by megatron-core's `GPTDataset` and blending.

Documents are shuffled, laid end to end and cut into sequences::

    corpus    | d3 ........ | d1 ... | d0 ............... | d2 ...
    sample 0  |------------------------|                              S + 1 tokens: S inputs, S labels
    sample 1                          |------------------------|      begins in the midst of d0

With best-fit packing (`lm.data.packing`) sequences hold whole documents and padding instead. With transcripts each
document is paired with the same one with its transcripts in place of speech, both ending at one place.

A document that began before the sample is read from where it is cut; a few of its ids before that decide the loss mask
(`lm.data.loss_mask.beginning_of`). A label that begins another document than its input is no target: nothing predicts
it.

Shapes: S tokens of a sequence.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from megatron.core.datasets.blended_megatron_dataset_builder import BlendedMegatronDatasetBuilder
from megatron.core.datasets.gpt_dataset import GPTDataset, GPTDatasetConfig

from runtime.artefact import atomic_path, write_text

from .clip_batches import ClipReader, DocumentSlice, SampleClips
from .corpora import TRANSCRIPTS, CorpusInfo
from .loss_mask import Loss, beginning_of, is_of_speech, loss_mask
from .packing import best_fit
from .shards import ShardedDocuments
from .vocabulary import Vocabulary

PADDING = -1  # document number of padding
CLIPS = "clips"  # a sample's `SampleClips`
Row = npt.NDArray[Any]


@dataclass
class SampleConfig(GPTDatasetConfig):
    """megatron-core's config and what our samples need besides.

    Attributes:
        vocabulary: of the ids.
        documents: path of a split (`CorpusInfo.prefix`) -> its documents, in place of an `IndexedDataset`.
    """

    vocabulary: Vocabulary | None = None
    documents: Mapping[str, ShardedDocuments] = field(default_factory=dict)


class BuilderTokenizer:
    """The little that megatron-core's datasets ask of a tokenizer."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocab_size = vocabulary.size
        self.eod = vocabulary.eos
        self.pad = PADDING
        self.unique_identifiers = {"vocabulary": vocabulary.fingerprint}


class PackedDataset(GPTDataset):
    """Samples of one corpus: dictionaries of (S,) arrays.

    ``tokens``, ``labels`` int64; ``loss_mask`` float32; ``is_speech`` bool, of the labels; ``documents`` int32, which
    document of the sample an input token belongs to (-1: padding).

    Attributes:
        loss: which targets count, see `lm.data.loss_mask.loss_mask`.
        clips: reader of the corpus's clips, None where it has none.
        targets: begin and end of each document's (D, 2); None where the ids tell.
    """

    loss: Loss = "all"
    clips: ClipReader | None = None
    targets: Row | None = None

    @property
    def padding(self) -> float:
        """Share of the positions that hold no token: none where documents are cut."""
        return 0.0

    @staticmethod
    def build_low_level_dataset(dataset_path: str, config: GPTDatasetConfig) -> Any:
        """The documents of all shards, laid end to end."""
        return cast(SampleConfig, config).documents[dataset_path]

    @staticmethod
    def numel_low_level_dataset(low_level_dataset: Any) -> int:
        """Documents of all shards."""
        return len(low_level_dataset)

    def __getitem__(self, index: int | None) -> dict[str, Any]:
        """Sample ``index``; None gives one that only fills a batch (its loss mask is 0)."""
        config = cast(SampleConfig, self.config)
        vocabulary = cast(Vocabulary, config.vocabulary)
        parts = list(self.parts(index or 0))
        rows = [self._read(part.document, part.start, part.stop) for part in parts]
        ids = np.concatenate(rows).astype(np.int64)
        if self.targets is None:
            begun = beginning_of(partial(self._read, parts[0].document), parts[0].start, vocabulary)
            counted = loss_mask(np.concatenate([begun, ids]), vocabulary, loss=self.loss)[len(begun) :]
        else:
            masks = [self._counted(part.document, row, part.start) for part, row in zip(parts, rows, strict=True)]
            counted = np.concatenate(masks)
        lengths = [part.stop - part.start for part in parts]
        documents = np.repeat(np.arange(len(parts), dtype=np.int32), lengths)
        missing = config.sequence_length + 1 - len(ids)
        if missing:
            ids = np.pad(ids, (0, missing), constant_values=vocabulary.pad)
            counted = np.pad(counted, (0, missing))
            documents = np.pad(documents, (0, missing), constant_values=PADDING)
        places = [0, *np.cumsum(lengths[:-1]).tolist()]
        return self._sample(ids, counted, documents, is_counted=index is not None) | self._clips(parts, places)

    def _sample(self, ids: Row, counted: Row, documents: Row, *, is_counted: bool) -> dict[str, Any]:
        """The arrays of a sample, of S + 1 ids, whether they count as targets, and their documents."""
        vocabulary = cast(Vocabulary, cast(SampleConfig, self.config).vocabulary)
        mask = counted[1:] * (documents[1:] == documents[:-1])
        return {
            "tokens": ids[:-1],
            "labels": ids[1:],
            "loss_mask": (mask if is_counted else np.zeros_like(mask)).astype(np.float32),
            "is_speech": vocabulary.is_speech(ids[1:]),
            "documents": documents[:-1],
        }

    def _counted(self, document: int, ids: Row, start: int = 0) -> Row:
        """Whether the ids of a document from ``start`` on count as targets; 0 where the ids tell."""
        vocabulary = cast(Vocabulary, cast(SampleConfig, self.config).vocabulary)
        if self.targets is None:
            return loss_mask(ids, vocabulary, loss=self.loss)
        counted = np.zeros(len(ids), dtype=np.uint8)
        begin, end = (max(int(place) - start, 0) for place in self.targets[document])
        counted[begin:end] = 1
        if self.loss != "all":
            counted[is_of_speech(ids, vocabulary) == (self.loss != "speech")] = 0
        return counted

    def _clips(self, parts: Sequence[DocumentSlice], places: Sequence[int]) -> dict[str, Any]:
        """References to the sample's clips, which are read when samples become a batch, where they are needed."""
        if self.clips is None:
            return {}
        documents = [self.dataset.get(part.document) for part in parts]
        return {CLIPS: SampleClips(self.clips, parts, documents, places)}

    def _read(self, document: int, start: int, stop: int) -> npt.NDArray[np.integer]:
        return cast(npt.NDArray[np.integer], self.dataset.get(document, offset=start, length=stop - start))

    def parts(self, index: int) -> Iterator[DocumentSlice]:
        """The documents sample ``index`` is cut from; its S + 1 tokens overlap the next sample's by one."""
        order = self.shuffle_index[index]
        (first, first_offset), (last, last_offset) = self.sample_index[order].tolist(), self.sample_index[order + 1]
        for position in range(first, int(last) + 1):
            document = int(self.document_index[position])
            start = int(first_offset) if position == first else 0
            length = self.dataset.length(document)
            stop = min(length, int(last_offset) + 1) if position == last else length
            yield DocumentSlice(document, start, stop)


class BestFitDataset(PackedDataset):
    """Samples of whole documents; see `lm.data.packing`. A document longer than a sequence is cut at its end.

    ``document_index`` holds the documents sequence by sequence, ``sample_index`` where each sequence begins in it, and
    ``shuffle_index`` the sequence of each sample: all sequences in a new order each epoch. Rank 0, which builds first,
    keeps them in the cache folder; the others map its files.
    """

    def __len__(self) -> int:
        return len(self.shuffle_index)

    @property
    def padding(self) -> float:
        """Share of the positions that hold no token, of all sequences."""
        capacity = self.config.sequence_length + 1
        tokens = np.minimum(self.document_lengths()[self.document_index], capacity).sum()
        return 1.0 - float(tokens) / ((len(self.sample_index) - 1) * capacity)

    def _build_document_sample_shuffle_indices(
        self,
    ) -> tuple[npt.NDArray[np.integer], npt.NDArray[np.integer], npt.NDArray[np.integer]]:
        base = f"{self.unique_description_hash}-{type(self).__name__}-{self.index_split.name}"
        folder = Path(cast(str, self.config.path_to_cache))
        files = [folder / f"{base}-{name}.npy" for name in ("documents", "sequences", "samples")]
        if not all(file.exists() for file in files):
            for file, index in zip(files, self._pack(), strict=True):
                with atomic_path(file) as temporary:
                    np.save(temporary, index)
        documents, sequences, samples = (np.load(file, mmap_mode="r") for file in files)
        return documents, sequences, samples

    def _pack(self) -> tuple[Row, Row, Row]:
        capacity = self.config.sequence_length + 1
        lengths = np.minimum(self.document_lengths()[self.indices], capacity)
        packed = best_fit(lengths, capacity)
        num_sequences = len(packed.starts) - 1
        num_samples = self.num_samples or num_sequences
        random = np.random.default_rng(self.config.random_seed)
        epochs = [random.permutation(num_sequences) for _ in range(-(-num_samples // num_sequences))]
        return self.indices[packed.documents], packed.starts, np.concatenate(epochs)[:num_samples]

    def parts(self, index: int) -> Iterator[DocumentSlice]:
        """The documents of sample ``index``, whole."""
        sequence = int(self.shuffle_index[index])
        for position in range(int(self.sample_index[sequence]), int(self.sample_index[sequence + 1])):
            document = int(self.document_index[position])
            yield DocumentSlice(document, 0, min(self.document_length(document), self.config.sequence_length + 1))

    def document_length(self, document: int) -> int:
        """Positions that a document takes, whole."""
        return cast(int, self.dataset.length(document))

    def document_lengths(self) -> Row:
        """Positions that each document of the split takes, whole."""
        return cast(Row, self.dataset.sequence_lengths)


class TranscriptDataset(BestFitDataset):
    """Samples of whole documents, each with the same document with the transcripts in place of its speech::

        tokens             <|user|> BOA speech speech speech speech EOA <|assistant|> answer EOS
        transcript_tokens  <|pad|> ................. <|user|> words ... <|assistant|> answer EOS

    The shorter one is padded in front, so that targets and their predictions are at the same places of both, whatever
    process holds these. ``transcript_tokens`` and ``transcript_documents`` are as ``tokens`` and ``documents``.
    """

    @cached_property
    def transcripts(self) -> ShardedDocuments:
        """The same documents with transcripts."""
        prefix = Path(self.dataset_path)
        return cast(SampleConfig, self.config).documents[str(prefix.parent / TRANSCRIPTS / prefix.name)]

    def document_length(self, document: int) -> int:
        """The longer one's."""
        return max(self.dataset.length(document), self.transcripts.length(document))

    def document_lengths(self) -> Row:
        """The longer one's."""
        return cast(Row, np.maximum(self.dataset.sequence_lengths, self.transcripts.sequence_lengths))

    def __getitem__(self, index: int | None) -> dict[str, Any]:
        """See `PackedDataset`."""
        config = cast(SampleConfig, self.config)
        vocabulary = cast(Vocabulary, config.vocabulary)
        size = config.sequence_length + 1
        heard, read = (_PaddedRows(size, vocabulary.pad) for _ in range(2))
        parts, places = [], []
        for slot in self.parts(index or 0):
            row, transcript = (source.get(slot.document) for source in (self.dataset, self.transcripts))
            at = heard.end + max(len(transcript) - len(row), 0)
            heard.add(row, self._counted(slot.document, row), at)
            read.add(transcript, np.zeros(len(transcript)), read.end + max(len(row) - len(transcript), 0))
            parts.append(DocumentSlice(slot.document, 0, min(len(row), size - at)))
            places.append(at)
        sample = self._sample(heard.ids, heard.counted, heard.documents, is_counted=index is not None)
        sample |= {"transcript_tokens": read.ids[:-1], "transcript_documents": read.documents[:-1]}
        return sample | self._clips(parts, places)


class _PaddedRows:
    """Documents at given places of a sequence, with padding between them."""

    def __init__(self, size: int, pad: int) -> None:
        self.ids = np.full(size, pad, dtype=np.int64)
        self.counted = np.zeros(size, dtype=np.uint8)
        self.documents = np.full(size, PADDING, dtype=np.int32)
        self.end = self.number = 0

    def add(self, ids: Row, counted: Row, place: int) -> None:
        """Put a document at a place, cut at the sequence's end."""
        count = max(min(len(ids), len(self.ids) - place), 0)
        chosen = slice(place, place + count)
        self.ids[chosen], self.counted[chosen], self.documents[chosen] = ids[:count], counted[:count], self.number
        self.end, self.number = place + len(ids), self.number + 1


KINDS = {"stream": PackedDataset, "best_fit": BestFitDataset, TRANSCRIPTS: TranscriptDataset}


def build_training_data(
    corpora: Mapping[str, CorpusInfo],
    weights: Mapping[str, float],
    vocabulary: Vocabulary,
    *,
    num_samples: int,
    sequence_length: int,
    seed: int,
    cache: Path,
    packing: str = "stream",
    losses: Mapping[str, Loss] | None = None,
    clips: Mapping[str, ClipReader] | None = None,
) -> torch.utils.data.Dataset[Any]:
    """The blend of the corpora's training splits by weight; must be called on all processes.

    Args:
        corpora: name -> corpus.
        weights: name -> share of the samples (any scale).
        vocabulary: the corpora's.
        num_samples: sequences of the whole run.
        sequence_length: S.
        seed: of the order.
        cache: folder for the indices.
        packing: ``stream``, ``best_fit``, or ``transcripts``: best fit of documents with their transcripts.
        losses: name -> which of the corpus's targets count (default: all).
        clips: name -> reader of the corpus's clips, of those that have some.
    """
    used = [name for name in corpora if weights.get(name, 0.0) > 0]
    blend = [corpora[name].prefix("train") for name in used], [float(weights[name]) for name in used]
    documents = _documents([corpora[name] for name in used], "train")
    config = _config([blend, None, None], documents, vocabulary, sequence_length, seed, cache)
    built = _build(config, packing, [num_samples, 0, 0])[0]
    # The same documents may be there twice, with another loss each: the blend's order tells them apart.
    for name, dataset in zip(used, getattr(built, "datasets", [built]), strict=True):
        dataset.loss, dataset.clips = (losses or {}).get(name, "all"), (clips or {}).get(name)
        dataset.targets = corpora[name].targets("train")
    return cast(torch.utils.data.Dataset[Any], built)


def padding_share(data: torch.utils.data.Dataset[Any]) -> float:
    """Share of the positions of `build_training_data`'s samples that hold no token, each corpus by its weight."""
    corpora = cast(Sequence[PackedDataset], getattr(data, "datasets", [data]))
    return float(np.average([corpus.padding for corpus in corpora], weights=getattr(data, "weights", None)))


def build_validation_data(
    corpus: CorpusInfo,
    vocabulary: Vocabulary,
    *,
    sequence_length: int,
    seed: int,
    cache: Path,
    packing: str = "stream",
    loss: Loss = "all",
    clips: ClipReader | None = None,
) -> PackedDataset:
    """The whole validation split of one corpus, once; the last sequence is padded."""
    blend = [corpus.prefix("valid")], None
    config = _config([None, blend, None], _documents([corpus], "valid"), vocabulary, sequence_length, seed, cache)
    built = cast(PackedDataset, _build(config, packing, [0, None, 0])[1])
    built.loss, built.clips, built.targets = loss, clips, corpus.targets("valid")
    return built


def documents_of(dataset: torch.utils.data.Dataset[Any], numbers: Sequence[int], most: int = 40) -> str:
    """Words for the documents that samples are cut from: each corpus's folder and split, and their numbers.

    Args:
        dataset: of `build_training_data`.
        numbers: of the samples.
        most: documents of a corpus that are named.
    """
    found: dict[str, dict[int, None]] = {}
    for number in numbers:
        own, place = cast(Any, dataset), number
        if hasattr(own, "datasets"):
            own, place = own.datasets[own.dataset_index[number]], int(own.dataset_sample_index[number])
        documents = found.setdefault(own.dataset_path, {})
        documents.update(dict.fromkeys(part.document for part in own.parts(place)))
    words = []
    for path, documents in found.items():
        named = ", ".join(map(str, list(documents)[:most])) + (" ..." if len(documents) > most else "")
        words.append(f"of {path} documents {named}")
    return "; ".join(words)


def prepare_cache(cache: Path) -> None:
    """Drop indices that a killed run may have left half written; call it on one process before building."""
    if not (cache / "complete").exists():
        shutil.rmtree(cache, ignore_errors=True)
    cache.mkdir(parents=True, exist_ok=True)


def finish_cache(cache: Path) -> None:
    """Mark the indices as whole."""
    write_text(cache / "complete", "")


def _documents(corpora: Sequence[CorpusInfo], split: str) -> dict[str, ShardedDocuments]:
    """The documents of corpora and of their transcripts, by the names under which the builder asks for them."""
    both = [one for corpus in corpora for one in (corpus, corpus.transcripts) if one is not None]
    return {one.prefix(split): one.documents(split) for one in both}


def _config(
    blends: list[Any],
    documents: Mapping[str, ShardedDocuments],
    vocabulary: Vocabulary,
    sequence_length: int,
    seed: int,
    cache: Path,
) -> SampleConfig:
    return SampleConfig(
        random_seed=seed,
        sequence_length=sequence_length,
        blend_per_split=blends,
        path_to_cache=str(cache),
        tokenizer=cast(Any, BuilderTokenizer(vocabulary)),
        reset_position_ids=False,
        reset_attention_mask=False,
        eod_mask_loss=False,
        create_attention_mask=False,
        drop_last_partial_validation_sequence=False,
        mid_level_dataset_surplus=0.05,
        vocabulary=vocabulary,
        documents=documents,
    )


def _build(config: SampleConfig, packing: str, sizes: list[int | None]) -> list[Any]:
    return BlendedMegatronDatasetBuilder(KINDS[packing], cast(Any, sizes), lambda: True, config).build()
