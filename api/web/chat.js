// Asking: a conversation within the page. Questions go to /v1/chat/completions with what was said
// before; words are shown as they come, and what they rest on after them.

import { showAnswer, showWords } from "/answer.js";
import { chip } from "/chips.js";
import { $, KINDS, make } from "/dom.js";
import { getJson, Problem, request } from "/key.js";
import { asPart } from "/take.js";

const TURNS = 20; // earlier messages that go with a question
const MOST_MEDIA = 8;

let messages = []; // in the shape of the API, words only
let about = []; // media and items of the next question
let running = null;
let openItem = () => {};

/** Wires the form. open: shows an item. */
export function startChat(open) {
  openItem = open;
  $("question-form").onsubmit = (event) => {
    event.preventDefault();
    ask();
  };
  $("question").onkeydown = (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    ask();
  };
  $("question-file").onchange = () => {
    attach([...$("question-file").files]);
    $("question-file").value = "";
  };
  $("stop").onclick = () => running?.abort();
  $("asking").onkeydown = (event) => event.key === "Escape" && running?.abort();
  $("anew").onclick = anew;
  getJson("/v1/models").then(({ data }) => offerWriters(data.filter(({ kind }) => kind === "generator")), () => {});
}

function offerWriters(writers) {
  $("generator").replaceChildren(...writers.map(({ id, default: first, state }) => make("option", { value: id, textContent: id, selected: first, disabled: state === "missing" })));
  $("writers").hidden = writers.length < 2;
}

/** The collections that can be asked, and the one that is. */
export function offerCollections(collections, name) {
  $("question-collection").replaceChildren(...collections.map((one) => make("option", { value: one.name, textContent: `${one.name} (${one.items.toLocaleString()})` })));
  $("question-collection").value = name;
}

function anew() {
  running?.abort();
  [messages, about] = [[], []];
  $("turns").replaceChildren();
  showAbout();
  $("question").focus();
}

// What the question is about

/** Files as part of the next question. */
export async function attach(files) {
  try {
    const parts = await Promise.all(files.slice(0, MOST_MEDIA).map(asPart));
    parts.forEach((part, position) => part.kind === "image" && (part.url = URL.createObjectURL(files[position])));
    about = [...about, ...parts].slice(0, MOST_MEDIA);
  } catch (error) {
    say(error.message);
  }
  showAbout();
  $("question").focus();
}

/** An item of the collection as part of the next question. */
export function attachItem(hit, name) {
  about = [...about, { kind: "item", value: hit.id, name, hit }];
  $("question-collection").value = hit.collection;
  showAbout();
  $("question").focus();
}

function showAbout() {
  $("about").replaceChildren(...about.map((part) => chip(part, { remove: () => leaveOut(part) })));
  $("about").hidden = about.length === 0;
}

function leaveOut(part) {
  about = about.filter((other) => other !== part);
  showAbout();
  $("question").focus();
}

// Asking

async function ask() {
  const words = $("question").value.trim();
  if (running || (!words && about.length === 0)) return;
  const parts = about;
  const turn = make("article", { className: "turn" }, question(words, parts));
  const box = make("div", { className: "answer", "aria-busy": "true" });
  turn.append(box);
  $("turns").append(turn);
  [$("question").value, about] = ["", []];
  showAbout();
  turn.scrollIntoView({ block: "start" });
  running = new AbortController();
  busy(true);
  const said = await answer([...messages.slice(-TURNS), { role: "user", content: content(words, parts) }], box);
  if (said) messages.push({ role: "user", content: told(words, parts) }, { role: "assistant", content: said });
  else if (!running.signal.aborted) giveBack(words, parts);
  box.removeAttribute("aria-busy");
  running = null;
  busy(false);
}

/** What could not be answered, to be asked again. */
function giveBack(words, parts) {
  [$("question").value, about] = [words, parts];
  showAbout();
}

/** Streams an answer into a box, and resolves to its words; what goes wrong is told there. */
async function answer(said, box) {
  let words = "";
  try {
    let last = null;
    for await (const chunk of chunks(bodyOf(said), running.signal)) {
      if (chunk.error) throw new Problem(200, chunk.error);
      words += chunk.choices[0]?.delta.content ?? "";
      if (chunk.citations) last = chunk;
      else showWords(box, words);
    }
    if (last === null) throw new Error("The answer broke off.");
    showAnswer(box, words, last, openItem);
    say(words);
  } catch (error) {
    const stopped = error.name === "AbortError";
    const message = error instanceof Problem || stopped ? error.message : `Crossbind does not answer. ${error.message}`;
    box.append(make("p", { className: stopped ? "small" : "wrong", textContent: stopped ? "Stopped." : message }));
    say(stopped ? "Stopped." : message);
  }
  return words;
}

const bodyOf = (said) => ({
  model: $("generator").value || "crossbind",
  messages: said,
  stream: true,
  retrieval: { collection: $("question-collection").value, ...($("question-filter").value.trim() && { filter: $("question-filter").value.trim() }) },
});

/** The documents of an event stream, as they come. */
async function* chunks(body, signal) {
  const headers = { "Content-Type": "application/json" };
  const response = await request("/v1/chat/completions", { method: "POST", headers, body: JSON.stringify(body), signal });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const events = (held + value).split("\n\n");
    held = events.pop();
    for (const event of events) {
      if (event.startsWith("data: {")) yield JSON.parse(event.slice(6));
    }
  }
}

/** A question in the shape of the API. */
function content(words, parts) {
  const media = parts.map(({ kind, value }) => {
    if (kind === "item") return { type: "image_url", image_url: { url: `item:${value}` } };
    if (kind === "audio") return { type: "input_audio", input_audio: { data: value } };
    if (kind === "text") return { type: "text", text: value };
    return { type: `${kind}_url`, [`${kind}_url`]: { url: value } };
  });
  return words ? [...media, { type: "text", text: words }] : media;
}

/** A question as it is repeated with later ones: media by their names. */
const told = (words, parts) => [...parts.map(({ kind, name }) => `(${KINDS[kind]?.name ?? kind}: ${name})`), words].join(" ").trim();

const question = (words, parts) =>
  make("div", { className: "question" }, ...parts.map((part) => chip(part)), words ? make("p", { textContent: words }) : null);

/** Stop takes the place of Ask, and its focus. */
function busy(yes) {
  const [before, after] = yes ? [$("send"), $("stop")] : [$("stop"), $("question")];
  const held = document.activeElement === before;
  $("send").hidden = yes;
  $("stop").hidden = !yes;
  if (held) after.focus({ preventScroll: true });
  if (yes) say("Looking…");
}

/** For those who listen. */
function say(words) {
  $("told").textContent = words;
}
