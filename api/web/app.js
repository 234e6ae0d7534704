// The page: words, media or an item in; a grid of what is near out, or an answer (chat.js).
// Everything that comes from the server is set as text, never as markup.

import { card } from "/cards.js";
import { attach, attachItem, offerCollections, startChat } from "/chat.js";
import { chip } from "/chips.js";
import { closeDetail, showDetail } from "/detail.js";
import { $, at, count, make, milliseconds, nameOf } from "/dom.js";
import { getJson, Problem } from "/key.js";
import { showMap } from "/map.js";
import { forget } from "/media.js";
import { showFacets } from "/narrow.js";
import { PAGE, readUrl, state, writeUrl } from "/state.js";
import { addFiles, asPart, listenToDrops, makeCollection } from "/take.js";

const MOST = 1000;
const MOMENTS = 5; // places told of a film or a sound

let home = ""; // the collection shown when the URL names none
let collections = [];
let running = null;

// What is shown

/** Searching, or asking. */
function showMode() {
  $("asking").hidden = !state.asks;
  $("searching").hidden = state.asks;
  $("to-ask").ariaCurrent = state.asks ? "page" : null;
  $("to-search").ariaCurrent = state.asks ? null : "page";
  $("drop-search").textContent = state.asks ? "Ask about it" : "Search with it";
  if (!state.asks) return search();
  document.title = "Ask · Crossbind";
  offerCollections(collections, state.collection);
  $("question").focus();
}

function turnTo(asks) {
  state.asks = asks;
  writeUrl();
  showMode();
}

function showState() {
  $("words").value = state.words;
  const counts = collections.find(({ name }) => name === state.collection)?.modalities ?? {};
  for (const radio of document.querySelectorAll("#modalities input")) {
    radio.checked = radio.value === state.modality;
    radio.parentElement.hidden = Boolean(radio.value) && !counts[radio.value] && !radio.checked;
  }
  $("collection").value = state.collection;
  $("filter").value = state.filter;
  $("hybrid").checked = state.hybrid;
  const like = state.like ? [partOf({ name: `like ${state.likeName ?? state.like}` }, () => (state.like = ""))] : [];
  const media = state.media.map((one) => partOf(one, () => (state.media = state.media.filter((other) => other !== one))));
  $("asked").replaceChildren(...like, ...media);
  $("asked").hidden = like.length + media.length === 0;
  document.title = state.words ? `${state.words} · Crossbind` : "Crossbind";
}

/** A part of the query beside its words, with a way out. */
function partOf(part, remove) {
  const out = () => {
    remove();
    $("words").focus();
    $("form").requestSubmit();
  };
  const turn = () => {
    part.weight = -part.weight;
    search();
  };
  return chip(part, { turn: part.kind && turn, remove: out });
}

// Asking

function queryTerms() {
  const terms = state.media.map(({ kind, value, weight }) => ({ [kind]: value, weight }));
  if (state.words) terms.unshift({ text: state.words });
  if (state.like) terms.push({ item: state.like });
  return terms;
}

/** Whether there is anything in this collection that has moments. */
function plays() {
  const counts = collections.find(({ name }) => name === state.collection)?.modalities ?? {};
  return Boolean(counts.video || counts.audio);
}

async function ask(signal) {
  const terms = queryTerms();
  if (terms.length === 0) return browse(signal);
  const body = {
    query: terms,
    k: state.k,
    ...(plays() && { moments: MOMENTS }),
    ...(state.modality && { modalities: [state.modality] }),
    ...(state.filter && { filter: state.filter }),
    ...(state.hybrid && state.words && { hybrid: true }),
    ...(terms.length > 1 && { include: ["contributions"] }),
  };
  const answer = await getJson(at(state.collection, "/search"), {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
    signal,
  });
  const names = [...(state.words ? [state.words] : []), ...state.media.map(({ name }) => name), ...(state.like ? [state.likeName ?? state.like] : [])];
  for (const hit of answer.hits) hit.parts = hit.contributions?.map((share, place) => [names[place], share]);
  const { total, ...stages } = answer.timings_ms;
  const parts = Object.entries(stages).map(([stage, ms]) => `${stage} ${milliseconds(ms)}`).join(", ");
  const found = answer.hits.length;
  const told = found ? `${count(found, "result")} in ${milliseconds(total)} (${parts})` : "Nothing like that here.";
  return { hits: answer.hits, more: found === state.k && state.k < MOST, told };
}

async function browse(signal) {
  const about = new URLSearchParams({ limit: Math.min(state.k, MOST) });
  if (state.modality) about.set("modality", state.modality);
  if (state.filter) about.set("filter", state.filter);
  const page = await getJson(at(state.collection, `/items?${about}`), { signal });
  const told = page.items.length ? "Browsing. Say what you are looking for." : "";
  return { hits: page.items, more: page.next_cursor !== null && state.k < MOST, told };
}

async function search() {
  running?.abort();
  const mine = new AbortController();
  running = mine;
  showState();
  if (!state.collection) return;
  $("hits").setAttribute("aria-busy", "true");
  try {
    const { hits, more, told } = await ask(mine.signal);
    showProblems([]);
    showHits(hits);
    $("status").textContent = told;
    $("more").hidden = !more;
    await showFacets(state.collection, hits, state.filter, narrow, mine.signal);
  } catch (error) {
    if (error.name !== "AbortError") showFailure(error);
  } finally {
    if (running === mine) $("hits").removeAttribute("aria-busy");
  }
}

function showHits(hits) {
  forget();
  $("hits").replaceChildren(...hits.map((hit) => card(hit, (one) => showDetail(one, likeThis))));
}

function narrow(filter) {
  $("filter").value = filter;
  $("form").requestSubmit();
}

function likeThis(hit) {
  Object.assign(state, { asks: false, collection: hit.collection, words: "", media: [], like: hit.id, likeName: nameOf(hit), k: PAGE });
  writeUrl();
  showMode();
  scrollTo({ top: 0 });
}

/** Each a message, or a message and small print. */
function showProblems(problems) {
  const lines = problems.map(([message, small]) => make("p", { textContent: message }, small ? make("small", { textContent: small }) : null));
  $("problem").replaceChildren(...lines);
  $("problem").hidden = lines.length === 0;
}

function showFailure(error) {
  const known = error instanceof Problem;
  const message = known ? error.message : "Crossbind does not answer. Is it still running? (A very large file can break the connection too.)";
  const small = known ? `${error.code}${error.requestId ? ` · request ${error.requestId}` : ""}` : String(error.message);
  showProblems([[message, small]]);
  $("status").textContent = "";
  showHits([]);
  $("more").hidden = true;
}

// Files in

async function searchWith(files) {
  if (state.asks) return attach(files);
  try {
    const parts = await Promise.all(files.slice(0, 8).map(asPart));
    parts.forEach((part, position) => part.kind === "image" && (part.url = URL.createObjectURL(files[position])));
    Object.assign(state, { media: [...state.media, ...parts], like: "", k: PAGE });
    readWords();
    search();
  } catch (error) {
    showProblems([[error.message]]);
  }
}

async function add(files) {
  running?.abort();
  const name = state.collection || "default";
  try {
    if (!state.collection) await makeCollection(name);
    const { items, problems } = await addFiles(files, name, (words) => ($("status").textContent = words));
    state.collection = name;
    await showCollections();
    Object.assign(state, { words: "", media: [], like: "", modality: "", filter: "" });
    showState();
    writeUrl();
    showHits(items);
    $("more").hidden = true;
    showProblems(problems.map((problem) => [problem]));
  } catch (error) {
    showFailure(error);
  }
}

function readWords() {
  state.words = $("words").value.trim();
  state.filter = $("filter").value.trim();
  state.hybrid = $("hybrid").checked;
}

// Wiring

function listen() {
  $("form").onsubmit = (event) => {
    event.preventDefault();
    readWords();
    state.k = PAGE;
    writeUrl();
    search();
  };
  $("modalities").onchange = (event) => {
    state.modality = event.target.value;
    $("form").requestSubmit();
  };
  $("collection").onchange = () => {
    Object.assign(state, { collection: $("collection").value, like: "", modality: "" });
    $("filter").value = "";
    $("form").requestSubmit();
  };
  $("hybrid").onchange = () => $("form").requestSubmit();
  $("map-open").onclick = () => showMap(state.collection, state.modality, (item) => showDetail(item, likeThis));
  $("map-close").onclick = () => $("map").close();
  for (const [id, take] of [["file", searchWith], ["add", add]]) {
    $(id).onchange = () => {
      take([...$(id).files]);
      $(id).value = "";
    };
  }
  $("more").onclick = () => {
    state.k = Math.min(MOST, state.k * 2);
    search();
  };
  $("detail-close").onclick = () => $("detail").close();
  $("detail").onclick = (event) => event.target === $("detail") && $("detail").close();
  $("detail").onclose = closeDetail;
  for (const [id, asks] of [["to-search", false], ["to-ask", true]]) {
    $(id).onclick = (event) => {
      event.preventDefault();
      turnTo(asks);
    };
  }
  addEventListener("ask-about", ({ detail }) => {
    if (!state.asks) turnTo(true);
    attachItem(detail, nameOf(detail));
  });
  addEventListener("popstate", () => {
    readUrl(home);
    showMode();
  });
  addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length > 0) searchWith(files);
  });
  addEventListener("keydown", (event) => {
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement?.tagName ?? "");
    if (event.key !== "/" || typing || document.querySelector("dialog[open]")) return;
    event.preventDefault();
    $(state.asks ? "question" : "words").focus();
  });
  startChat((hit) => showDetail(hit, likeThis));
  listenToDrops({ searchWith, add });
}

async function showCollections() {
  ({ collections } = await getJson("/v1/collections"));
  $("collection").replaceChildren(...collections.map(({ name, items }) => make("option", { value: name, textContent: `${name} (${items.toLocaleString()})` })));
  $("collection").value = state.collection;
  const fullest = collections.reduce((best, one) => (one.items > (best?.items ?? 0) ? one : best), null);
  $("empty").hidden = fullest !== null;
  $("collection").parentElement.hidden = collections.length === 0;
  home = fullest?.name ?? "";
}

async function start() {
  listen();
  try {
    await showCollections();
    readUrl(home);
    await showMode();
  } catch (error) {
    showFailure(error);
  }
}

start();
