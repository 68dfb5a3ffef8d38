"""The command ``speechweave serve``: a page to talk to a chatbot, and OpenAI's HTTP and Realtime interfaces."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from runtime.command import Command
from runtime.errors import UserError

from .options import ServeConfig

KEYS_VARIABLE = "SPEECHWEAVE_API_KEYS"
EXAMPLES = """
speechweave serve                                        the quickstart's chatbot at http://127.0.0.1:8000
speechweave serve --port 0 --max-talkers 4               any free port; a fifth conversation has to wait
speechweave serve --host 0.0.0.0 --api-key-file keys     for others; keys has one key a line
speechweave serve --cors-origins https://example.org     pages of that site may call it
speechweave serve --backend-url http://gpu:8080/v1       the bundle's language model runs in vLLM there

from openai import OpenAI
client = OpenAI(base_url="http://127.0.0.1:8000/v1", api_key="any, where no key is set")
client.audio.speech.create(model="bundle", voice="default", input="it was david")
"""
NOTES = f"""
Keys can also stand in ${KEYS_VARIABLE}, with commas between them; an endpoint's key stands in $SPEECHWEAVE_BACKEND_KEY.
Browsers give a page the microphone only on 127.0.0.1, localhost or over TLS (certificate=). SIGTERM lets replies
finish; the exit status is 0 then.
"""


def with_keys(config: ServeConfig) -> ServeConfig:
    """The config with the API keys of the environment and of the key file added.

    Raises:
        UserError: a key file that cannot be read, or a key that is too short.
    """
    from .keys import read_keys

    keys = [*config.api_keys, *filter(None, os.environ.get(KEYS_VARIABLE, "").split(","))]
    return replace(config, api_keys=keys + (read_keys(Path(config.api_key_file)) if config.api_key_file else []))


def serve(config: ServeConfig) -> None:
    """Load the chatbot and serve it until a signal comes."""
    try:
        from .process import run_server
    except ImportError as error:
        remedy = "pip install 'speechweave[serve]'"
        raise UserError("speechweave serve", found=f"no package {error.name}", remedy=remedy) from error
    run_server(with_keys(config))


COMMAND = Command(
    name="chatbot.server.command",
    words="serve",
    config=ServeConfig,
    run=serve,
    summary="Serve a chatbot: a page to talk to it, and OpenAI's HTTP and Realtime interfaces.",
    example=EXAMPLES,
    notes=NOTES,
)
main = COMMAND.main

if __name__ == "__main__":
    COMMAND.exit()
