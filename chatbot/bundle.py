"""Stage chatbot.bundle: speech tokenizer, language model and speech decoder in one folder that can be moved.

    python -m chatbot.bundle tokenizer=runs/quickstart/tokenizer lm=runs/quickstart/chat_model \\
        decoder=runs/quickstart/decoder data=runs/quickstart/chat_data out=runs/quickstart/bundle

Writes <out>/bundle/ with tokenizer/ lm/ decoder/ chat.yaml (and reader/), whole or not at all. Parts that were not made
for each other are refused: the tokens of one speech tokenizer mean nothing to a model or a decoder of another.

    python -m chatbot.bundle lm=runs/inserter/chat_model reader=runs/quickstart/text2token_model \\
        decoder=runs/quickstart/decoder data=runs/inserter/chat_data out=runs/inserter/bundle

A model that hears vectors (a folder of lm.export with hearing/) has encoder and connector in place of a tokenizer, and
writes its replies, which the reader reads aloud: <out>/bundle/ with hearing/ lm/ reader/ decoder/ chat.yaml.
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
        *([config.tokenizer] if config.tokenizer else []),
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
