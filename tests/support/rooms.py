"""The product's rooms: packages directly in the repository root, from below."""

ROOMS = (
    "runtime",
    "corpus",
    "tokenizer",
    "lm",
    "decoder",
    "text2token",
    "chatbot",
    "evaluation",
    "imitation",
    "recipes",
)
