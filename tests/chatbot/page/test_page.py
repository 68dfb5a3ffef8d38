"""The page itself: what it asks for, what it says when something is amiss, and whether everybody can use it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from .conftest import KEY

if TYPE_CHECKING:
    from playwright.sync_api import WebSocketRoute

WIDTHS = (360, 768, 1280)
LONG_WAITS_DO_NOT_END = """
    const wait = globalThis.setTimeout;
    globalThis.setTimeout = (act, delay, ...rest) => wait(act, delay > 2600 ? 1e9 : delay, ...rest);
"""


def test_the_page_is_complete_and_keeps_to_its_server(visit, url: str) -> None:
    """No complaint of the browser under the page's own policy, and no request to anywhere else."""
    talk = visit().ready()
    talk.page.fill("#question", "what is the capital of france")
    talk.page.keyboard.press("Enter")
    talk.wait(".assistant[data-state=done]")
    talk.phase("idle")
    assert not talk.complaints
    assert {urlsplit(asked).netloc for asked in talk.requests if not asked.startswith("blob:")} == {
        urlsplit(url).netloc
    }
    policy = talk.page.request.get(url).headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_files_are_named_and_nothing_else_is_served(visit, url: str) -> None:
    page = visit().page
    for path in ("page/routes.py", "page/../routes.py", "page/%2e%2e/routes.py", "page/none.js", "page/"):
        assert page.request.get(url + path).status == 404, path
    first = page.request.get(f"{url}page/main.js")
    assert first.headers["content-type"] == "text/javascript; charset=utf-8"
    again = page.request.get(f"{url}page/main.js", headers={"If-None-Match": first.headers["etag"]})
    assert again.status == 304


def test_a_refused_microphone_is_told_and_typing_goes_on(visit) -> None:
    talk = visit(is_allowed=False).ready()
    talk.page.keyboard.press("Space")
    talk.page.get_by_role("alert").get_by_text("The browser refuses the microphone").wait_for()
    talk.phase("idle")
    assert not talk.is_sent("input_audio_buffer.append")
    talk.page.fill("#question", "what is the capital of france")
    talk.page.keyboard.press("Enter")
    talk.wait(".assistant")
    assert talk.page.inner_text("#problem") == ""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_use_it(visit, scheme: str) -> None:
    """axe-core finds nothing: names, roles, contrast, landmarks, focus, in both colours and at three widths."""
    from axe_playwright_python.sync_playwright import Axe

    talk = visit(color_scheme=scheme).ready()
    talk.page.fill("#question", "what is the capital of france")
    talk.page.keyboard.press("Enter")
    talk.wait(".assistant[data-state=done]")
    talk.phase("idle")
    for width in WIDTHS:
        talk.page.set_viewport_size({"width": width, "height": 800})
        found = Axe().run(talk.page)
        assert not found.response["violations"], found.generate_report()
        across = talk.page.evaluate("() => document.documentElement.scrollWidth - innerWidth")
        assert across <= 0, f"the page is {across} pixels wider than {width}"
    talk.page.set_viewport_size({"width": 360, "height": 800})
    talk.page.get_by_role("button", name="Settings and timings").click()
    assert not Axe().run(talk.page).response["violations"]
    talk.page.keyboard.press("Escape")
    assert talk.page.evaluate("() => document.activeElement.id") == "panel-button"


def test_colours_can_be_switched_and_stay(visit, url: str) -> None:
    page = visit(color_scheme="light").ready().page
    ground = "() => getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.get_by_role("button", name="Dark colours").click()
    dark = page.evaluate(ground)
    assert dark != light
    page.goto(url)
    assert page.evaluate(ground) == dark


def test_colours_and_panel_answer_before_the_server_has(visit, url: str) -> None:
    talk = visit("about:blank", color_scheme="light")
    page = talk.page
    page.route("**/page/settings.json", lambda _: None)  # never answered
    page.goto(url)
    ground = "() => getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.get_by_role("button", name="Dark colours").click()
    assert page.evaluate(ground) != light
    page.set_viewport_size({"width": 360, "height": 800})  # the panel is a drawer there
    page.get_by_role("button", name="Settings and timings").click()
    talk.wait("#panel.open")


def test_a_key_is_asked_for_and_a_wrong_one_refused(visit, locked_url: str) -> None:
    talk = visit(locked_url)
    key = talk.page.get_by_label("API key")
    key.fill("wrong-key")
    talk.page.get_by_role("button", name="Connect", exact=True).click()
    talk.page.get_by_text("The server does not accept this key").wait_for()
    key.fill("no/token")
    talk.page.keyboard.press("Enter")
    talk.page.get_by_text("A browser can't send this key").wait_for()
    key.fill(KEY)
    talk.page.get_by_label("Keep it").check()
    talk.page.keyboard.press("Enter")
    talk.ready()
    talk.page.reload()
    talk.ready()  # kept as long as the tab
    assert talk.page.evaluate("() => localStorage.length") == 0


def test_a_broken_connection_is_made_again_and_remembers(visit, url: str) -> None:
    """The new session is told what was said in the old one."""
    wires: list[WebSocketRoute] = []

    def through(wire: WebSocketRoute) -> None:
        wires.append(wire)
        if is_down:
            wire.close(code=1011)
            return
        server = wire.connect_to_server()
        wire.on_message(lambda text: (sent.append(json.loads(text)), server.send(text)))
        server.on_message(wire.send)

    sent: list[dict[str, Any]] = []
    is_down = False
    talk = visit("about:blank", script=LONG_WAITS_DO_NOT_END)  # so the fifth attempt is the user's
    talk.page.route_web_socket("**/v1/realtime*", through)
    talk.page.goto(url)
    talk.ready()
    talk.page.fill("#question", "what is the capital of france")
    talk.page.keyboard.press("Enter")
    talk.wait(".assistant[data-state=done]")
    talk.phase("idle")
    before = talk.turns()
    is_down = True
    wires[0].close(code=1011)
    talk.until(lambda: len(wires) == 4)  # by now it waits for long enough to be asked
    talk.wait("#connection[data-state=waiting]")
    assert talk.page.is_disabled("#talk")
    is_down = False
    talk.page.get_by_role("button", name="Connect now").click()
    talk.ready()
    assert talk.turns() == before
    expected = [turn[:2] for turn in before if turn[1]]

    def reminders() -> list[dict[str, Any]]:
        return [event["item"] for event in sent if event["type"] == "conversation.item.create"][1:]

    talk.until(lambda: len(reminders()) >= len(expected))
    told = reminders()
    assert [(item["role"], item["content"][0]["text"]) for item in told] == expected
    talk.page.fill("#question", "what is the capital of spain")
    talk.page.keyboard.press("Enter")
    talk.until(lambda: len(talk.turns()) == 4)
    assert talk.page.inner_text("#problem") == ""
    talk.page.get_by_role("button", name="New conversation").click()
    talk.until(lambda: len(wires) == 6 and talk.turns() == [])
    talk.ready()
