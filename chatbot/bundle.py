"""Stage chatbot.bundle: speech tokenizer, language model and speech decoder in one folder that can be moved.

    python -m chatbot.bundle tokenizer=runs/quickstart/tokenizer lm=runs/quickstart/chat_model \\
        decoder=runs/quickstart/decoder data=runs/quickstart/chat_data out=runs/quickstart/bundle

Writes <out>/bundle/ with tokenizer/ lm/ decoder/ chat.yaml (and reader/), whole or not at all. Parts that were not made
for each other are refused: the tokens of one speech tokenizer mean nothing to a model or a decoder of another.
"""

from __future__ import annotations

from runtime.stage import Stage

from .engine.bundle_config import BundleConfig

STAGE = Stage(
    name="chatbot.bundle",
    config=BundleConfig,
    implementation="chatbot.engine.bundling:bundle_parts",
    summary="Put speech tokenizer, language model and speech decoder into one chatbot folder.",
    inputs=lambda config: [
        config.tokenizer,
        config.lm,
        config.decoder,
        config.data,
        *([config.reader] if config.reader else []),
    ],
    example="tokenizer=runs/quickstart/tokenizer lm=runs/quickstart/chat_model decoder=runs/quickstart/decoder "
    "data=runs/quickstart/chat_data out=runs/quickstart/bundle",
)

if __name__ == "__main__":
    STAGE.exit()
