"""The steps of an ablation of the language model.

``<out>/facts``, ``fact_tokens``, ``fact_data`` and ``fact_set``, once; ``<out>/tuned_text2token``, once, where a point
needs it; ``<out>/bases/seed-1``, one base a seed, which hears and has read all texts; ``<out>/synthesis/<source>``,
``interleaved/<source>`` and ``readback/<source>``, one a source and policy of spans; ``<out>/points/<point>/lm``,
``likelihoods`` and ``scores`` (choices), ``exported`` and ``answers`` (generation).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from corpus.world.made_up_facts import INTERLEAVED
from evaluation.answers.config import DIRECTIONS
from recipes.plan import RecipePlan, make_plan
from runtime.config import read_section

from .grid import Point
from .lm_options import KINDS, AblateLmConfig, LmPointConfig
from .plan import Section, add

FACT = "fact_"  # begins the names of the corpora about made-up facts


@dataclass(frozen=True, kw_only=True)
class LmAblation:
    """A checked ablation.

    Attributes:
        config: options of all points.
        points: of the grid.
        facts: options of ``corpus.facts``.
        base: options of ``lm.train`` for the bases, their ``weights`` among them.
        train: the same for all points; ``weights`` are those of what is not interleaved.
        tuning: options of ``lm.train`` for the text-to-token model of ``source=tuned``.
        synthesis: options of ``text2token.synthesize`` for all points.
        answers: options of ``evaluation.fact_answers`` for all points.
    """

    config: AblateLmConfig
    points: Sequence[Point]
    facts: Section
    base: Section
    train: Section
    tuning: Section
    synthesis: Section
    answers: Section

    @property
    def out(self) -> Path:
        """The run folder."""
        return Path(self.config.out)

    def folder(self, point: Point) -> Path:
        """Where a point's stages write."""
        return self.out / "points" / point.name

    def plan(self) -> RecipePlan:
        """All steps."""
        settings = {"out": self.config.out, "seed": self.config.seed, "cores": self.config.cores}
        recipe: Section = {"recipe": "ablate_lm", "quickstart": settings, "plan": {}}
        self._add_facts(recipe)
        for point in self.points:
            self._add_point(recipe, point, options_of(point))
        return make_plan(recipe)

    def _add_facts(self, recipe: Section) -> None:
        """Facts, their tokens and LM corpora, and the choices about them."""
        config, facts = self.config, str(self.out / "facts")
        add(recipe, "facts", "corpus.facts", [], {"corpus": config.corpus} | self.facts, cores=config.cores)
        splits = ["train", "heldout_sentence"]
        options: Section = {"tokenizer": config.tokenizer, "corpus": facts, "splits": splits}
        add(recipe, "fact_tokens", "tokenizer.encode", ["facts"], options)
        texts = {"texts": f"{facts}/texts.jsonl", "texts_heldout": f"{facts}/texts_heldout.jsonl"}
        options = texts | {"vocabulary": config.vocabulary, "tokens": str(self.out / "fact_tokens")}
        add(recipe, "fact_data", "lm.prepare", ["fact_tokens"], options)
        add(recipe, "fact_set", "evaluation.fact_set", ["facts"], {"facts": facts, "tokenizer": config.tokenizer})

    def _add_base(self, recipe: Section, seed: int) -> str:
        """The base of a seed, once; returns its step."""
        name = f"base.seed-{seed}"
        if name not in recipe["plan"]:
            weights = dict(self.base.get("weights", {}))
            own = {"out": str(self.out / "bases" / f"seed-{seed}"), "seed": seed, "vocabulary": self.config.vocabulary}
            options = dict(self.base) | own | {"corpora": self._corpora(weights), "weights": weights}
            add(recipe, name, "lm.train", ["fact_data"], options, processes=self.config.processes)
        return name

    def _add_source(self, recipe: Section, point: LmPointConfig) -> str:
        """The interleaved corpus of a point, once; returns its step."""
        name = point.source_name
        if f"interleaved.{name}" not in recipe["plan"]:
            facts, config = f"{self.out}/facts/texts_{INTERLEAVED}", self.config
            folder = str(self.out / "synthesis" / name)
            options: Section = {"out": folder, "texts": f"{facts}.jsonl", "texts_heldout": f"{facts}_heldout.jsonl"}
            options |= {"spans": vars(point.spans), "model": config.text2token}
            if point.readback:
                options["readback"] = config.tokenizer
            needs = ["facts"]
            if point.source == "tuned":
                needs, options["model"] = [self._add_tuned(recipe)], str(self._tuned / "exported" / "model")
            if point.source == "voices":
                voices = {"voice_corpus": config.corpus, "voice_tokenizer": config.tokenizer}
                options |= {"backend": "voices", "model": config.vocabulary} | voices
            add(recipe, f"synthesis.{name}", "text2token.synthesize", needs, options | self.synthesis)
            packed = {"out": str(self.out / "interleaved" / name), "synthesised": folder}
            options = packed | {"vocabulary": config.vocabulary}
            add(recipe, f"interleaved.{name}", "text2token.pack", [f"synthesis.{name}"], options)
            read = {"out": str(self.out / "readback" / name), "synthesised": folder, "tokenizer": config.tokenizer}
            options = read | {"tokens": config.tokens, "corpus": config.corpus}
            add(recipe, f"readback.{name}", "text2token.evaluate_spans", [f"synthesis.{name}"], options)
        return f"interleaved.{name}"

    @property
    def _tuned(self) -> Path:
        return self.out / "tuned_text2token"

    def _add_tuned(self, recipe: Section) -> str:
        """The text-to-token model that has learned from the speech of the facts' corpus, too; returns its last step.

        That speech tells facts of the group ``spoken`` alone, and names all words of the others.
        """
        config, last = self.config, "tuned_text2token.exported"
        if last not in recipe["plan"]:
            trained, vocabulary = str(self._tuned / "lm"), {"vocabulary": config.vocabulary}
            corpora = {"tts": f"{config.text2token_data}/tts", "fact_tts": str(self.out / "fact_data" / "tts")}
            options: Section = {"out": trained, "init": config.text2token_checkpoint, "corpora": corpora}
            options |= vocabulary | self.tuning
            add(recipe, "tuned_text2token", "lm.train", ["fact_data"], options, processes=config.processes)
            options = {"out": str(self._tuned / "exported"), "checkpoint": trained} | vocabulary
            add(recipe, last, "lm.export", ["tuned_text2token"], options)
        return last

    def _add_point(self, recipe: Section, point: Point, own: LmPointConfig) -> None:
        """Training and scores of a point."""
        config, folder, name = self.config, self.folder(point), point.name
        base = self._add_base(recipe, own.seed)
        needs = [base, self._add_source(recipe, own)] if own.amount else [base]
        weights = mixture(dict(self.train["weights"]), own)
        corpora = self._corpora(weights)
        options: Section = dict(self.train) | {
            "out": str(folder / "lm"),
            "seed": own.seed,
            "vocabulary": config.vocabulary,
            "init": str(self.out / "bases" / f"seed-{own.seed}"),
            "weights": weights,
            "corpora": corpora,
        }
        if own.amount:
            options["corpora"] = corpora | {
                "interleaved": str(self.out / "interleaved" / own.source_name / "interleaved")
            }
            options["losses"] = {"interleaved": own.loss}
        options["train"] = dict(options.get("train", {})) | {"steps": steps(config.steps, own)}
        add(recipe, f"train.{name}", "lm.train", needs, options, processes=config.processes)
        options = {
            "out": str(folder / "likelihoods"),
            "data": str(self.out / "fact_set" / "sets"),
            "directions": list(DIRECTIONS),
            "model": str(folder / "lm"),
            "vocabulary": config.vocabulary,
        }
        add(recipe, f"likelihoods.{name}", "evaluation.base", [f"train.{name}", "fact_set"], options)
        options = {"out": str(folder / "scores"), "likelihoods": str(folder / "likelihoods"), "rules": [config.rule]}
        add(recipe, f"scores.{name}", "evaluation.base_score", [f"likelihoods.{name}"], options)
        exported = str(folder / "exported")
        options = {"out": exported, "checkpoint": str(folder / "lm"), "vocabulary": config.vocabulary}
        add(recipe, f"exported.{name}", "lm.export", [f"train.{name}"], options)
        options = {"out": str(folder / "answers"), "sets": str(self.out / "fact_set" / "sets"), "model": exported}
        add(recipe, f"answers.{name}", "evaluation.fact_answers", [f"exported.{name}"], options | self.answers)

    def _corpora(self, weights: Section) -> Section:
        """The folders of the corpora that have a weight, but for the interleaved one."""
        names = [name for name in weights if name != "interleaved"]
        facts = str(self.out / "fact_data")
        return {
            name: f"{facts}/{name.removeprefix(FACT)}" if name.startswith(FACT) else f"{self.config.lm_data}/{name}"
            for name in names
        }


def options_of(point: Point) -> LmPointConfig:
    """A point's options, checked."""
    return read_section(LmPointConfig, point.nested()).effective()


def mixture(weights: dict[str, float], point: LmPointConfig) -> dict[str, float]:
    """Shares of a point's training: the kinds that are left, in their proportions, and the interleaved documents."""
    kept = {name: weight for name, weight in weights.items() if kind_of(name) not in point.left_out}
    total = sum(kept.values())
    shares = {name: round((1 - point.amount) * weight / total, 6) for name, weight in kept.items()}
    return shares | ({"interleaved": point.amount} if point.amount else {})


def kind_of(name: str) -> str:
    """The kind of data of a corpus, by its name."""
    kind = name.removeprefix(FACT)
    assert kind in KINDS, name
    return kind


def steps(number: int, point: LmPointConfig) -> int:
    """Steps of a point's training: with an added budget, what is interleaved comes on top."""
    return number if point.budget == "equal" else round(number / (1 - point.amount))
