"""Stage ``evaluation.base``: choices of a base model by likelihood: raw log-likelihoods of a set, and their scores.

    python -m evaluation.base benchmark=story_cloze data=sets/sStoryCloze 'directions=[s2s]' model=runs/lm \\
        vocabulary=runs/vocabulary/vocabulary tokenizer=runs/tokenizer/artefact out=runs/story_cloze/base
    python -m torch.distributed.run --nproc-per-node 2 -m evaluation.base parallel.tensor=2 ...
    python -m evaluation.base benchmark=hellaswag data=sets/hellaswag 'directions=[t2t]' model=Qwen2.5-0.5B out=...

Sets: sStoryCloze, tStoryCloze, sBLIMP, sWUGGY, SALMon and cross-modal StoryCloze in slamkit's layouts, llama-mimi's
columns, HellaSwag, COPA, StoryCloze's CSV, and pairs of one's own, see evaluation/likelihood/choice_rows.py and
sound_folders.py. The rows of ids that the model reads stand in evaluation/likelihood/sequence_encoding.py.

Writes <out>/likelihoods.jsonl (sum of log-probabilities and number of tokens of context and continuation, marks apart)
and likelihoods.json (all that a score's stamp needs), and the accuracies by every rule: scores.json, scores.md and
items.jsonl, which `evaluation.base_score` makes again of them without a model (the same bytes; other rules, marks).
After a kill it goes on, and ends with the same bytes.
"""

from __future__ import annotations

from runtime.stage import Headline, Stage

from .likelihood.config import BaseConfig

STAGE = Stage(
    name="evaluation.base",
    config=BaseConfig,
    implementation="evaluation.likelihood.base_likelihoods:score_base_model",
    summary="Score the candidates of a set by a base model's likelihood (StoryCloze, sBLIMP, SALMon, HellaSwag, ...).",
    inputs=lambda config: [config.data, config.model, config.vocabulary, config.tokenizer, config.tokens],
    example="benchmark=story_cloze data=sets/sStoryCloze directions=[s2s] model=runs/quickstart/lm "
    "vocabulary=runs/quickstart/vocabulary/vocabulary tokenizer=runs/quickstart/tokenizer/artefact out=runs/base",
    speed_options=("threads", "parallel"),
    headlines=(Headline("s2s.sequence.accuracy", "right spoken endings preferred by the base LM (chance 50 %)"),),
)

if __name__ == "__main__":
    STAGE.exit()
