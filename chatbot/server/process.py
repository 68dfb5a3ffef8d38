"""The server process: socket, models, application and event loop."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys

from chatbot.engine.engine import Engine
from chatbot.page.browse import open_in_browser

from .app import create_app
from .listener import GracefulServer, open_socket
from .options import LOOPBACK, ServeConfig


def run_server(config: ServeConfig) -> None:
    """Serve until a signal comes."""
    with open_socket(config) as socket:  # before the models are loaded: a port in use is reported at once
        logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(message)s", stream=sys.stderr)
        logging.getLogger("speechweave").setLevel(logging.WARNING if config.quiet else logging.INFO)
        if not config.needs_key and config.host not in LOOPBACK:
            print(f"speechweave serve: no key is set: whoever reaches {config.host} may talk", file=sys.stderr)
        print(f"loading {config.bundle} ...", file=sys.stderr)

        async def run() -> None:
            engine = Engine.from_pretrained(config.bundle, config)
            certificate = (config.certificate, config.certificate_key)
            server = GracefulServer(create_app(engine, config), config, certificate)

            def announce(url: str) -> None:
                print(f"{engine.model_name} is at {url} (API: {url}/v1)", flush=True)
                if config.open:
                    open_in_browser(url)

            server.on_start = announce
            freeze_loaded_objects()
            await server.serve([socket])

        asyncio.run(run())


def freeze_loaded_objects() -> None:
    """Exempt all that is loaded by now from Python's cycle collector.

    A round over the packages' 850,000 objects halts everything for more than half a second, and rounds are put off
    until a quarter as many new ones are there: the remains of conversations would pile up for an hour and more.
    """
    gc.collect()
    gc.freeze()
    gc.collect()  # the next round is due by the number of objects that this one finds
