"""Serve a chatbot: a page to talk to it, and OpenAI's HTTP and Realtime interfaces.

speechweave serve --bundle runs/quickstart/bundle
python -m chatbot.server.command --bundle runs/quickstart/bundle
"""

from __future__ import annotations

import argparse
import gc
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.command import run_command
from runtime.errors import UserError

from .options import LOOPBACK, ServerOptions

if TYPE_CHECKING:
    from chatbot.engine.engine import EngineOptions

BUNDLE = "runs/quickstart/bundle"
KEYS_VARIABLE = "SPEECHWEAVE_API_KEYS"
BACKEND_KEY_VARIABLE = "SPEECHWEAVE_BACKEND_KEY"
DEFAULTS = ServerOptions()
EXAMPLES = f"""examples:
  speechweave serve                                       the quickstart's chatbot at http://127.0.0.1:8000
  speechweave serve --port 0 --max-talkers 4              any free port; a fifth talker is told to wait
  speechweave serve --host 0.0.0.0 --api-key-file keys    for others; keys has one key a line
  speechweave serve --cors-origin https://example.org     pages of that site may call it
  speechweave serve --backend-url http://gpu:8080/v1      the bundle's language model runs in vLLM there

  from openai import OpenAI
  client = OpenAI(base_url="http://127.0.0.1:8000/v1", api_key="any, where no key is set")
  client.audio.speech.create(model="bundle", voice="default", input="it was david")

Keys can also stand in ${KEYS_VARIABLE}, with commas between them; an endpoint's key stands in
${BACKEND_KEY_VARIABLE}. Browsers give a page the microphone only on
127.0.0.1, localhost or over TLS (--certificate). SIGTERM lets replies finish; the exit status is 0 then.
"""


def argument_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="speechweave serve",
        description="Serve a chatbot: a page to talk to it, and OpenAI's HTTP and Realtime interfaces.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--bundle", type=Path, default=Path(BUNDLE), help=f"the chatbot ({BUNDLE})")
    add("--host", default=DEFAULTS.host, help=f"address to listen on ({DEFAULTS.host})")
    add("--port", type=int, default=DEFAULTS.port, help=f"0 takes a free one ({DEFAULTS.port})")
    keys = parser.add_argument_group("who may call")
    keys.add_argument("--api-key-file", type=Path, help="file with one key a line; without keys everybody may call")
    keys.add_argument("--api-key", action="append", default=[], help="a key (others on this machine can see it)")
    keys.add_argument("--cors-origin", action="append", default=[], help="a web origin whose pages may call")
    keys.add_argument("--allowed-host", action="append", default=[], help="a name the server is reached by")
    keys.add_argument("--certificate", help="TLS certificate file (PEM)")
    keys.add_argument("--certificate-key", help="its key file, where it is another")
    limits = parser.add_argument_group("limits")
    for option, kind, text in (
        ("--max-requests", int, "requests and WebSockets at once"),
        ("--requests-per-minute", float, "for each key or address; 0 sets no limit"),
        ("--burst", int, "requests that may come at once before that rate counts"),
        ("--max-body-bytes", int, "of one request"),
        ("--max-audio-seconds", float, "of audio in one request"),
        ("--max-text-characters", int, "of text in one request"),
        ("--header-seconds", float, "the headers of a request may take"),
        ("--body-seconds", float, "its body may take"),
        ("--request-seconds", float, "a reply may take"),
        ("--grace-seconds", float, "for replies under way at SIGTERM"),
    ):
        default = getattr(DEFAULTS, option.removeprefix("--").replace("-", "_"))
        limits.add_argument(option, type=kind, default=default, help=f"{text} ({default})")
    limits.add_argument("--max-talkers", type=int, default=8, help="dialogues at once (8)")
    parser.add_argument("--alias", action="append", default=[], help="another name that clients may call the model by")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of each model (1)")
    parser.add_argument("--dtype", default="float32", help="of the language model: float32 or bfloat16 (float32)")
    parser.add_argument("--device", default="cpu", help="a torch device (cpu)")
    endpoint = parser.add_argument_group("the language model behind an endpoint, instead of here")
    endpoint.add_argument("--backend-url", default="", help="of vLLM or SGLang, up to and with /v1")
    endpoint.add_argument("--backend-model", default="", help="as the endpoint calls it (its first)")
    endpoint.add_argument("--backend-dialect", choices=("vllm", "sglang"), default="vllm", help="which it is (vllm)")
    parser.add_argument("--open", action="store_true", help="show the page in the browser, where there is a screen")
    parser.add_argument("--quiet", action="store_true", help="log warnings and errors only")
    return parser


def server_options(given: argparse.Namespace) -> ServerOptions:
    """What the command line and the environment say."""
    from .keys import read_keys

    api_keys = [*given.api_key, *filter(None, os.environ.get(KEYS_VARIABLE, "").split(","))]
    if given.api_key_file is not None:
        api_keys += read_keys(given.api_key_file)
    return ServerOptions(
        host=given.host,
        port=given.port,
        api_keys=api_keys,
        cors_origins=given.cors_origin,
        allowed_hosts=given.allowed_host,
        aliases=given.alias,
        max_requests=given.max_requests,
        requests_per_minute=given.requests_per_minute,
        burst=given.burst,
        max_body_bytes=given.max_body_bytes,
        max_audio_seconds=given.max_audio_seconds,
        max_text_characters=given.max_text_characters,
        header_seconds=given.header_seconds,
        body_seconds=given.body_seconds,
        request_seconds=given.request_seconds,
        grace_seconds=given.grace_seconds,
    )


def engine_options(given: argparse.Namespace) -> EngineOptions:
    """How the models run."""
    from chatbot.engine.engine import EngineOptions

    return EngineOptions(
        max_talkers=given.max_talkers,
        threads=given.threads,
        dtype=given.dtype,
        device=given.device,
        backend="openai" if given.backend_url else "builtin",
        url=given.backend_url,
        model=given.backend_model,
        key=os.environ.get(BACKEND_KEY_VARIABLE, ""),
        dialect=given.backend_dialect,
    )


def serve(given: argparse.Namespace) -> None:
    """Load the chatbot and serve it until a signal comes."""
    options = server_options(given)
    check_certificate(given.certificate, given.certificate_key)
    try:
        from .listener import GracefulServer, open_socket
    except ImportError as error:
        remedy = "pip install 'speechweave[serve]'"
        raise UserError("speechweave serve", found=f"no package {error.name}", remedy=remedy) from error
    with open_socket(options) as socket:  # before the models, so that a taken port is told at once
        level = logging.WARNING if given.quiet else logging.INFO
        logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(message)s", stream=sys.stderr)
        logging.getLogger("speechweave").setLevel(level)
        if not options.needs_key and options.host not in LOOPBACK:
            print(f"speechweave serve: no key is set: whoever reaches {options.host} may talk", file=sys.stderr)
        print(f"loading {given.bundle} ...", file=sys.stderr)
        import asyncio

        from chatbot.engine.engine import Engine
        from chatbot.page.browse import open_in_browser

        from .app import create_app

        async def run() -> None:
            engine = Engine.from_pretrained(given.bundle, engine_options(given))
            certificate = (given.certificate, given.certificate_key)
            listener = GracefulServer(create_app(engine, options), options, certificate)

            def tell(url: str) -> None:
                print(f"{engine.model_name} is at {url} (API: {url}/v1)", flush=True)
                if given.open:
                    open_in_browser(url)

            listener.on_start = tell
            leave_loaded_alone()
            await listener.serve([socket])

        asyncio.run(run())


def leave_loaded_alone() -> None:
    """Let Python's cycle collector look at nothing that is loaded by now.

    A round over the packages' 850,000 objects halts everything for more than half a second, and rounds are put off
    until a quarter as many new ones are there: what dialogues leave behind would pile up for an hour and more.
    """
    gc.collect()
    gc.freeze()
    gc.collect()  # the next round is due by the number of objects that this one finds


def check_certificate(certificate: str | None, key: str | None) -> None:
    """Raise a `UserError` unless the TLS files are there."""
    for option, file in (("--certificate", certificate), ("--certificate-key", key)):
        if file is not None and not Path(file).is_file():
            raise UserError(f"option {option}", found=f"no file {file}", remedy="give a PEM file")
    if key is not None and certificate is None:
        raise UserError("option --certificate-key", found="no --certificate", remedy="give both")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status (0 good, 2 user error)."""
    return run_command(argument_parser(), serve, arguments)


if __name__ == "__main__":
    sys.exit(main())
