"""The steps of an ablation: one training and one evaluation a point, each a stage that is resumed and skipped as such.

``<out>/corpus`` (only without ``ablate.corpus``), ``<out>/calibration/<point>`` (only with ``budget=cpu_seconds``),
``<out>/points/<point>/tokenizer`` and ``.../evaluation``; with a vocoder also ``.../tokens``, ``decoder``,
``resynthesis`` (not with a recogniser) and ``judged``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recipes.plan import RecipePlan, make_plan
from runtime.config import Options, option
from runtime.errors import check_option

from .grid import Point

BUDGETS = ("steps", "cpu_seconds")
SPOKEN = 100  # utterances that the judge transcribes
Section = dict[str, Any]


@dataclass(kw_only=True)
class AblateConfig(Options):
    """Options of ``speechweave ablate tokenizer`` (those that are not options of ``tokenizer.train``).

    Attributes:
        out: run folder.
        seed: of corpus and trainings (``seed=1,2,3`` sweeps the trainings' seed).
        cores: cores to use; trainings run side by side while their cores fit, evaluations one by one.
        processes: ranks of one training.
        corpus: a folder of NeMo manifests (train.jsonl and the splits of ``evaluate.splits``); null makes the built-in
            corpus with the options under ``build``.
        budget: ``steps`` gives every point the same steps, hence the same data; ``cpu_seconds`` measures a few steps of
            each point and gives it the steps that fit.
        cpu_seconds: of a training, with ``budget=cpu_seconds``.
        calibration_steps: steps that are measured for it.
        warmup_share: of a training's steps: how long the learning rate rises.
        start_share: of a training's steps: how long it runs before the quantiser is switched on.
        by_frame_rate: options of ``tokenizer.train`` that go with a frame rate.
        vocoder: run folder of ``decoder.train_vocoder``; gives each point a flow decoder of its own (options under
            ``decode``) and the judge's WER of what it says, in the closed world of the built-in corpus. Null: none.
        recogniser: hears what each point's decoder says in the judge's place, in any corpus, and the whole of
            ``evaluate decoder`` is measured: a path or URL as there. Null: the judge of the closed world.
    """

    out: str
    seed: int = 1
    cores: int = option(2, at_least=1)
    processes: int = option(1, at_least=1)
    corpus: str | None = None
    budget: str = option("steps", one_of=BUDGETS)
    cpu_seconds: float = option(600.0, above=0)
    calibration_steps: int = option(30, at_least=1)
    warmup_share: float = option(0.06, at_least=0, below=1)
    start_share: float = option(0.3, at_least=0, below=1)
    by_frame_rate: dict[str, Any] = option({})
    vocoder: str | None = None
    recogniser: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        is_used = self.recogniser is None or self.vocoder is not None
        check_option(is_used, "recogniser", self.recogniser, "give vocoder= too: without one nothing is spoken")


@dataclass(frozen=True, kw_only=True)
class Ablation:
    """A checked ablation.

    Attributes:
        config: its options.
        points: of the grid.
        evaluate: options of ``tokenizer.evaluate`` for all points.
        build: options of ``corpus.build``.
        decode: options of ``decoder.train`` for all points at 12.5 Hz.
    """

    config: AblateConfig
    points: Sequence[Point]
    evaluate: Section
    build: Section
    decode: Section

    @property
    def out(self) -> Path:
        """The run folder."""
        return Path(self.config.out)

    @property
    def corpus(self) -> str:
        """Where the manifests are."""
        return self.config.corpus or str(self.out / "corpus")

    def folder(self, point: Point) -> Path:
        """Where a point's stages write."""
        return self.out / "points" / point.name

    def calibration(self) -> RecipePlan:
        """A short training of every point, to learn what a step costs it."""
        steps = self.config.calibration_steps
        recipe = self._recipe()
        for point in self.points:
            options = self._train_options(point, steps) | {"max_scored": 1}
            options["fit"] |= {"checkpoint_every": steps}  # one checkpoint, so that the measure is of all steps
            folder = self.out / "calibration" / point.name
            add(recipe, f"calibrate.{point.name}", "tokenizer.train", self._first(), {"out": str(folder)} | options)
        return make_plan(recipe)

    def plan(self, steps: Mapping[str, int] | None = None) -> RecipePlan:
        """All steps; ``steps`` are those of each point's training by its name, else those of its options."""
        recipe = self._recipe()
        for point in self.points:
            own = (steps or {}).get(point.name) or self._steps(point)
            folder, train = self.folder(point), f"train.{point.name}"
            tokenizer = str(folder / "tokenizer")
            options = {"out": tokenizer} | self._train_options(point, own)
            add(recipe, train, "tokenizer.train", self._first(), options, processes=self.config.processes)
            given = {"tokenizer": f"{tokenizer}/artefact", "corpus": self.corpus}
            options = {"out": str(folder / "evaluation")} | given | self.evaluate
            # alone on the machine, so that the points' speeds can be compared
            add(recipe, f"evaluate.{point.name}", "tokenizer.evaluate", [train], options, cores=self.config.cores)
            if self.config.vocoder:
                self._add_decoder(recipe, point, train, given)
        return make_plan(recipe)

    def _add_decoder(self, recipe: Section, point: Point, train: str, given: Section) -> None:
        """Tokens -> flow decoder -> speech -> judge or recogniser."""
        folder, name = self.folder(point), point.name
        tokens, decoder, spoken = (str(folder / part) for part in ("tokens", "decoder", "resynthesis"))
        split = str((self.evaluate.get("splits") or ["heldout_sentence"])[0])
        options: Section = {"out": tokens, "splits": ["train", split]} | given
        add(recipe, f"tokens.{name}", "tokenizer.encode", [train], options)
        options = {"out": decoder, "corpus": self.corpus, "tokens": tokens, "vocoder": str(self.config.vocoder)}
        add(recipe, f"decoder.{name}", "decoder.train", [f"tokens.{name}"], options | self.decode)
        made = {"tokens": f"{tokens}/{split}.parquet", "decoder": decoder, "limit": SPOKEN}
        if self.config.recogniser is not None:
            heard = {"data": f"{self.corpus}/{split}.jsonl", "recogniser": self.config.recogniser}
            options = {"out": str(folder / "judged"), "speaking": {"voices": ["known"]}} | made | heard
            add(recipe, f"judged.{name}", "evaluation.decoder_set", [f"decoder.{name}"], options)
            return
        options = {"out": spoken} | made
        add(recipe, f"resynthesis.{name}", "decoder.resynthesise", [f"decoder.{name}"], options)
        options = {"out": str(folder / "judged"), "corpus": self.corpus, "resynthesis": spoken}
        add(recipe, f"judged.{name}", "evaluation.run", [f"resynthesis.{name}"], options)

    def _recipe(self) -> Section:
        settings = {"out": self.config.out, "seed": self.config.seed, "cores": self.config.cores}
        recipe: Section = {"recipe": "ablate_tokenizer", "quickstart": settings, "plan": {}}
        if self.config.corpus is None:
            add(recipe, "corpus", "corpus.build", [], self.build, cores=self.config.cores)
        return recipe

    def _first(self) -> list[str]:
        return [] if self.config.corpus else ["corpus"]

    def _steps(self, point: Point) -> int:
        from tokenizer.training.config import TokenizerFitConfig

        return int(point.options.get("fit.steps", TokenizerFitConfig().steps))

    def _train_options(self, point: Point, steps: int) -> Section:
        """A point's options, with warm-up and start of the quantiser as shares of its steps unless they were given."""
        options = point.nested()
        shares = {"fit.warmup_steps": self.config.warmup_share, "vq.start_step": self.config.start_share}
        for key, share in shares.items():
            if key not in point.options:
                section, name = key.split(".")
                options.setdefault(section, {})[name] = int(share * steps)
        options.setdefault("fit", {})["steps"] = steps
        return {"corpus": self.corpus} | options


def add(
    recipe: Section,
    name: str,
    module: str,
    needs: list[str],
    options: Section,
    *,
    cores: int = 1,
    processes: int = 1,
) -> None:
    """Put a step into a recipe."""
    recipe["plan"][name] = {"run": module, "needs": needs, "cores": max(cores, processes), "processes": processes}
    recipe[name] = options
