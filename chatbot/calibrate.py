"""Stage chatbot.calibrate: the confidence below which a chatbot says that it did not understand.

    python -m chatbot.calibrate bundle=runs/quickstart/bundle \\
        manifest=runs/quickstart/corpus/heldout_sentence.jsonl out=runs/quickstart/calibrated

Asks held-out questions, spoken and typed, and takes the highest threshold of the model's confidence
(`chatbot.engine.reply_decoder`) at which no more than ``wanted_loss`` of either lie below it. Writes <out>/bundle, a
copy with ``reply.min_confidence`` in chat.yaml, and <out>/confidences.jsonl (question, medium, said, confidence).
"""

from __future__ import annotations

from runtime.stage import Stage

from .answers.calibration_config import CalibrateConfig

STAGE = Stage(
    name="chatbot.calibrate",
    config=CalibrateConfig,
    implementation="chatbot.answers.calibration:calibrate",
    summary="Set the confidence below which a chatbot says that it did not understand, from held-out questions.",
    inputs=lambda config: [config.bundle, config.manifest],
    example="bundle=runs/quickstart/bundle manifest=runs/quickstart/corpus/heldout_sentence.jsonl "
    "out=runs/quickstart/calibrated",
)

if __name__ == "__main__":
    STAGE.exit()
