/** Joins the page's parts: what the user does goes to the dialogue, what the dialogue tells is shown. */

import { closePanel } from "./appearance.js";
import { Connection } from "./connection.js";
import { Dialogue } from "./dialogue.js";
import { KeyDialog } from "./key-dialog.js";
import { animate, Level } from "./levels.js";
import { Microphone, MicrophoneRefused } from "./microphone.js";
import { Player } from "./player.js";
import { Readout } from "./readout.js";
import { TalkButton } from "./talk-button.js";
import { Transcript } from "./transcript.js";

const SHORTEST_TURN = 250; // milliseconds
const PHASES = {
  idle: "Ready",
  listening: "Listening",
  waiting: "Listening: just speak",
  hearing: "Hearing you",
  thinking: "Thinking",
  speaking: "Answering",
};
const HINTS = {
  push: "Hold the button or the space bar while you speak, or tap to start and tap again to send.",
  free: "Speak when you like; a pause ends your question, and speaking stops the answer.",
};

/** @param {string} id @returns {any} */
const find = (id) => document.getElementById(id);

const settings = await (await fetch("/page/settings.json")).json();
const microphone = new Microphone();
const player = new Player();
const connection = new Connection(settings.model);
const dialogue = new Dialogue({ connection, player, model: settings.model, hasTranscripts: settings.has_transcripts });
const transcript = new Transcript(find("log"), find("empty"), (id) => dialogue.sounds.get(id));
const readout = new Readout(find);
const keys = new KeyDialog(find);
const talk = new TalkButton(find("talk"));

const isHandsFree = () => document.querySelector("[name=mode]:checked").value === "free";
const say = (message) => (find("problem").textContent = message);

// ---------------------------------------------------------------- talking

microphone.addEventListener("block", ({ detail }) => dialogue.hear(detail));
microphone.addEventListener("lost", () => {
  talk.drop();
  say("The microphone is gone. Plug it in again and press the button.");
});

/** Everything that sounds or hears may start only now, from a click or a key. @returns {Promise<boolean>} */
async function openSound() {
  await player.open();
  try {
    await microphone.open({ echo: find("echo").checked, noise: find("noise").checked });
  } catch (error) {
    if (!(error instanceof MicrophoneRefused)) throw error;
    say(error.message);
    return false;
  }
  return true;
}

let turnBegan = 0;

talk.addEventListener("begin", async () => {
  say("");
  if (isHandsFree()) {
    talk.isLatched = true;
    if (!(await openSound())) talk.drop();
    else dialogue.listen();
    return showTalk();
  }
  turnBegan = performance.now();
  showTalk();
  const wasOpen = microphone.isOpen;
  if (!(await openSound())) talk.drop();
  else if (talk.isTalking) dialogue.listen();
  else if (!wasOpen) say("The microphone is ready: hold the button again and speak.");
  return showTalk();
});

talk.addEventListener("end", async () => {
  showTalk();
  if (isHandsFree()) return dialogue.ignore();
  if (!dialogue.isListening) return undefined;
  if (performance.now() - turnBegan < SHORTEST_TURN) return dialogue.ignore();
  await microphone.drain();
  return dialogue.answer();
});

talk.addEventListener("drop", () => {
  showTalk();
  if (dialogue.isListening) dialogue.ignore();
});

function showTalk() {
  const words = isHandsFree()
    ? talk.isTalking ? "Close microphone" : "Open microphone"
    : talk.isLatched ? "Tap to send" : talk.isTalking ? "Release to send" : "Hold to talk";
  find("talk-label").textContent = words;
  find("talk").dataset.on = talk.isTalking;
}

for (const radio of document.querySelectorAll("[name=mode]"))
  radio.addEventListener("change", () => {
    talk.drop();
    dialogue.configure({ isHandsFree: isHandsFree() });
    find("hint").textContent = HINTS[radio.value];
    showTalk();
  });

find("ask").addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = find("question").value.trim();
  if (!text || connection.state !== "ready") return;
  say("");
  await player.open();
  find("question").value = "";
  dialogue.ask(text);
});

find("stop").addEventListener("click", () => dialogue.stop());
find("new").addEventListener("click", () => {
  talk.drop();
  say("");
  dialogue.restart();
});
document.addEventListener("keydown", (event) => {
  if (document.querySelector("dialog[open]")) return;
  if (event.key === "Escape" && !closePanel()) dialogue.stop();
  if (event.key === "/" && !event.target.closest("input, select")) {
    event.preventDefault();
    find("question").focus();
  }
});

// ---------------------------------------------------------------- showing

dialogue.addEventListener("turn", ({ detail: turn }) => {
  transcript.show(turn);
  // The answer is read out only where it does not speak for itself.
  const isRead = turn.role === "user" || !dialogue.options.isSpoken;
  if (turn.state === "done" && isRead && turn.text)
    find("spoken-status").textContent = `${turn.role === "user" ? "You" : "Answer"}: ${turn.text}`;
});
dialogue.addEventListener("cleared", () => transcript.clear());
dialogue.addEventListener("problem", ({ detail }) => say(detail));
dialogue.addEventListener("measured", ({ detail }) => readout.add(detail));
dialogue.addEventListener("phase", showPhase);
player.addEventListener("starved", () => readout.starved());

function showPhase() {
  const isReady = connection.state === "ready";
  find("phase").textContent = isReady ? PHASES[dialogue.phase] : "Not connected";
  document.body.dataset.phase = isReady ? dialogue.phase : "off";
  find("stop").disabled = !["thinking", "speaking"].includes(dialogue.phase);
}

connection.addEventListener("state", async ({ detail: { state, seconds, reason } }) => {
  const words = {
    closed: "Not connected",
    connecting: "Connecting",
    ready: "Connected",
    key: "Needs a key",
    asleep: "Asleep: touch anything to wake it",
    waiting: `${reason}; next try in ${Math.max(1, Math.round(seconds))} s`,
  };
  find("connection").dataset.state = state;
  find("connection-text").textContent = words[state];
  find("reconnect").hidden = state !== "waiting";
  for (const id of ["talk", "send"]) find(id).disabled = state !== "ready";
  if (state !== "ready") talk.drop();
  showPhase();
  if (state === "key") {
    connection.key = await keys.ask(reason);
    connection.open();
  }
});
for (const touch of ["pointerdown", "keydown"])
  document.addEventListener(touch, () => connection.state === "asleep" && connection.open());
find("reconnect").addEventListener("click", () => connection.open());

// ---------------------------------------------------------------- settings

for (const voice of settings.voices) find("voice").append(new Option(voice, voice));
find("model").textContent = settings.model;
find("voice").addEventListener("change", () => dialogue.configure({ voice: find("voice").value }));
find("spoken").addEventListener("change", () => dialogue.configure({ isSpoken: find("spoken").checked }));
for (const id of ["echo", "noise"])
  find(id).addEventListener("change", () => {
    talk.drop();
    microphone.close(); // opened anew, with the other setting, at the next turn
  });

animate([
  new Level(find("level-in"), () => microphone.analyser),
  new Level(find("level-out"), () => player.analyser),
]);

if (settings.voices.length) dialogue.options.voice = settings.voices[0];
connection.key = keys.kept();
if (settings.needs_key && !connection.key) connection.key = await keys.ask("");
connection.open();
