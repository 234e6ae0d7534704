// The page: words, media or an item in; a grid of what is near out. State lives in the URL.
// Everything that comes from the server is set as text, never as markup.

import { card } from "/cards.js";
import { closeDetail, showDetail } from "/detail.js";
import { $, at, count, KINDS, make, milliseconds, nameOf } from "/dom.js";
import { getJson, Problem } from "/key.js";
import { showMap } from "/map.js";
import { forget } from "/media.js";
import { showFacets } from "/narrow.js";
import { addFiles, asPart, listenToDrops, makeCollection } from "/take.js";

const PAGE = 48;
const MOST = 1000;

const MOMENTS = 5; // places told of a film or a sound

const state = { words: "", collection: "", modality: "", like: "", filter: "", hybrid: false, media: [], k: PAGE };
let home = ""; // the collection shown when the URL names none
let collections = [];
let running = null;

// State and URL

function readUrl() {
  const given = new URLSearchParams(location.search);
  state.words = given.get("q") ?? "";
  state.modality = given.get("m") ?? "";
  state.like = given.get("like") ?? "";
  state.filter = given.get("f") ?? "";
  state.hybrid = given.has("w");
  state.collection = given.get("c") ?? home;
  state.media = [];
  state.k = PAGE;
}

function writeUrl() {
  const told = { q: state.words, c: state.collection, m: state.modality, like: state.like, f: state.filter, w: state.hybrid ? "1" : "" };
  const query = new URLSearchParams(Object.entries(told).filter(([, value]) => value));
  const url = query.size ? `/?${query}` : "/";
  if (url !== location.pathname + location.search) history.pushState(null, "", url);
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
  const like = state.like ? [chip({ name: `like ${state.likeName ?? state.like}` }, () => (state.like = ""))] : [];
  const media = state.media.map((one) => chip(one, () => (state.media = state.media.filter((other) => other !== one))));
  $("asked").replaceChildren(...like, ...media);
  $("asked").hidden = like.length + media.length === 0;
  document.title = state.words ? `${state.words} · Crossbind` : "Crossbind";
}

/** A part of the query beside its words: its name, whether it counts against, and a way out. */
function chip(part, remove) {
  const sign = make("button", { type: "button", className: "sign", textContent: part.weight < 0 ? "−" : "+" });
  sign.ariaLabel = `${part.weight < 0 ? "Away from" : "Towards"} ${part.name}; press to turn round`;
  sign.onclick = () => {
    part.weight = -part.weight;
    search();
  };
  const away = make("button", { type: "button", className: "away", textContent: "×", "aria-label": `Remove ${part.name} from the search` });
  away.onclick = () => {
    remove();
    $("words").focus();
    $("form").requestSubmit();
  };
  const look = part.kind === "image" && part.url ? make("img", { src: part.url, alt: "" }) : (KINDS[part.kind]?.mark ?? null);
  const name = make("span", { className: "asked-name", textContent: part.name, title: part.name });
  return make("span", { className: part.weight < 0 ? "chip minus" : "chip" }, part.kind ? sign : null, look, name, away);
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
  Object.assign(state, { words: "", media: [], like: hit.id, likeName: nameOf(hit), k: PAGE });
  writeUrl();
  search();
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
  addEventListener("popstate", () => {
    readUrl();
    search();
  });
  addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length > 0) searchWith(files);
  });
  addEventListener("keydown", (event) => {
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement?.tagName ?? "");
    if (event.key !== "/" || typing || document.querySelector("dialog[open]")) return;
    event.preventDefault();
    $("words").focus();
  });
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
    readUrl();
    await search();
  } catch (error) {
    showFailure(error);
  }
}

start();
