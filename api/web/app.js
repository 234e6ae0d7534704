// The page: words, a photo or an item in; a grid of what is near out. State lives in the URL.
// Everything that comes from the server is set as text, never as markup.

import { Problem, getJson, hasKey, request } from "/key.js";

const PAGE = 48;
const MOST = 1000;
const $ = (id) => document.getElementById(id);

const state = { words: "", collection: "", modality: "", like: "", photo: null, k: PAGE };
let home = ""; // the collection shown when the URL names none
let objectUrls = [];
let running = null;

/** An element with properties, attributes (aria-*, role) and children. */
function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

const at = (collection, rest) => `/v1/collections/${encodeURIComponent(collection)}${rest}`;
const itemPath = (hit, rest = "") => at(hit.collection, `/items/${encodeURIComponent(hit.id)}${rest}`);
const nameOf = (hit) => hit.title || (hit.uri ?? "").split("/").pop() || hit.id;
const milliseconds = (value) => `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;

// State and URL

function readUrl() {
  const given = new URLSearchParams(location.search);
  state.words = given.get("q") ?? "";
  state.modality = given.get("m") ?? "";
  state.like = given.get("like") ?? "";
  state.collection = given.get("c") ?? "";
  state.photo = null;
  state.k = PAGE;
}

function writeUrl() {
  const told = { q: state.words, c: state.collection, m: state.modality, like: state.like };
  const query = new URLSearchParams(Object.entries(told).filter(([, value]) => value));
  const url = query.size ? `/?${query}` : "/";
  if (url !== location.pathname + location.search) history.pushState(null, "", url);
}

function showState() {
  $("words").value = state.words;
  for (const radio of document.querySelectorAll("#modalities input")) radio.checked = radio.value === state.modality;
  $("collection").value = state.collection;
  const asked = state.photo ?? (state.like ? { name: `like ${state.likeName ?? state.like}` } : null);
  $("asked").hidden = asked === null;
  $("asked-name").textContent = asked?.name ?? "";
  $("asked-image").hidden = !state.photo;
  if (state.photo) $("asked-image").src = state.photo.uri;
  document.title = state.words ? `${state.words} · Crossbind` : "Crossbind";
}

// Asking

function queryTerms() {
  const terms = [];
  if (state.words) terms.push({ text: state.words });
  if (state.photo) terms.push({ image: state.photo.uri });
  if (state.like) terms.push({ item: state.like });
  return terms;
}

async function ask(signal) {
  const terms = queryTerms();
  if (terms.length === 0) {
    const about = new URLSearchParams({ limit: Math.min(state.k, MOST) });
    if (state.modality) about.set("modality", state.modality);
    const page = await getJson(at(state.collection, `/items?${about}`), { signal });
    return { hits: page.items, more: page.next_cursor !== null, told: page.items.length ? "Browsing. Say what you are looking for." : "" };
  }
  const body = { query: terms, k: state.k, ...(state.modality && { modalities: [state.modality] }) };
  const answer = await getJson(at(state.collection, "/search"), {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
    signal,
  });
  const count = answer.hits.length;
  const { total, ...stages } = answer.timings_ms;
  const parts = Object.entries(stages).map(([stage, ms]) => `${stage} ${milliseconds(ms)}`).join(", ");
  const told = `${count} ${count === 1 ? "result" : "results"} in ${milliseconds(total)} (${parts})`;
  return { hits: answer.hits, more: count === state.k && state.k < MOST, told: count ? told : "Nothing like that here." };
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
    $("problem").hidden = true;
    showHits(hits);
    $("status").textContent = told;
    $("more").hidden = !more;
  } catch (error) {
    if (error.name !== "AbortError") showProblem(error);
  } finally {
    if (running === mine) $("hits").removeAttribute("aria-busy");
  }
}

function showProblem(error) {
  const known = error instanceof Problem;
  const message = known ? error.message : "Crossbind does not answer. Is it still running?";
  const small = known ? `${error.code}${error.requestId ? ` · request ${error.requestId}` : ""}` : String(error.message);
  $("problem").replaceChildren(message, make("small", { textContent: small }));
  $("problem").hidden = false;
  $("status").textContent = "";
  showHits([]);
  $("more").hidden = true;
}

// Pictures: plain URLs, or, where a key is wanted, fetched with it as they come into view

const seen = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    seen.unobserve(target);
    objectUrl(target.dataset.path).then((url) => (target.src = url), () => target.remove());
  }
}, { rootMargin: "400px" });

async function objectUrl(path) {
  const url = URL.createObjectURL(await (await request(path)).blob());
  objectUrls.push(url);
  return url;
}

function thumbnail(hit) {
  const path = itemPath(hit, "/preview?side=480");
  const image = make("img", { alt: "", loading: "lazy", decoding: "async" });
  image.onerror = () => image.replaceWith("no preview");
  if (hasKey()) {
    image.dataset.path = path;
    seen.observe(image);
  } else image.src = path;
  return image;
}

// Results

function showHits(hits) {
  seen.disconnect();
  objectUrls.forEach((url) => URL.revokeObjectURL(url));
  objectUrls = [];
  $("hits").replaceChildren(...hits.map((hit) => make("li", {}, card(hit))));
}

function card(hit) {
  const isImage = hit.modality === "image";
  const passage = hit.text ? make("div", { className: "passage", textContent: hit.text.slice(0, 600) }) : hit.modality;
  const look = make("div", { className: isImage ? "look" : "look words" }, isImage ? thumbnail(hit) : passage);
  const title = make("span", { className: "title", textContent: nameOf(hit), title: nameOf(hit) });
  const about = make("div", { className: "about" }, title, scoreBar(hit.score));
  const button = make("button", { type: "button", className: "hit", "aria-haspopup": "dialog" }, look, about);
  button.onclick = () => showDetail(hit);
  return button;
}

function scoreBar(score) {
  if (score === undefined || score === null) return null;
  const bar = make("i", { "aria-hidden": "true" });
  bar.style.setProperty("--part", Math.max(0, Math.min(1, score)));
  const label = make("span", { textContent: score.toFixed(3), title: "cosine" });
  return make("span", { className: "score" }, bar, make("span", { className: "unseen", textContent: "cosine" }), label);
}

// Detail

async function showDetail(hit) {
  $("detail-title").textContent = nameOf(hit);
  $("detail-media").replaceChildren();
  showFacts(hit);
  $("detail-like").onclick = () => {
    $("detail").close();
    Object.assign(state, { words: "", photo: null, like: hit.id, likeName: nameOf(hit), k: PAGE });
    writeUrl();
    search();
    scrollTo({ top: 0 });
  };
  $("detail-open").onclick = () => openOriginal(hit);
  $("detail").showModal();
  try {
    $("detail-media").replaceChildren(await fullMedium(hit));
  } catch (error) {
    $("detail-media").replaceChildren(make("p", { className: "passage", textContent: error.message }));
  }
}

async function fullMedium(hit) {
  if (hit.modality === "text") return fullText(hit, await getJson(itemPath(hit)));
  const path = itemPath(hit, "/media");
  const src = hasKey() ? await objectUrl(path) : path;
  if (hit.modality === "image") return make("img", { src, alt: nameOf(hit) });
  return make(hit.modality === "audio" ? "audio" : "video", { src, controls: true });
}

/** The text with the passage that was found marked. Spans count characters, not UTF-16 units. */
function fullText(hit, item) {
  const characters = Array.from(item.text ?? hit.text ?? "");
  const box = make("div", { className: "passage", tabIndex: 0 });
  if (hit.span?.kind !== "chars") {
    box.textContent = characters.join("");
    return box;
  }
  const { start, end } = hit.span;
  const piece = (from, to) => characters.slice(from, to).join("");
  const mark = make("mark", { textContent: piece(start, end) });
  box.append(piece(0, start), mark, piece(end));
  if (start > 0) requestAnimationFrame(() => mark.scrollIntoView({ block: "center" }));
  return box;
}

const plain = (value) => (typeof value === "object" ? Object.values(value).join(", ") : String(value));

function showFacts(hit) {
  const facts = {
    cosine: hit.score?.toFixed(4),
    kind: hit.origin === "generated" ? `${hit.modality}, generated` : hit.modality,
    where: hit.uri,
    ...Object.fromEntries(Object.entries(hit.metadata).map(([key, value]) => [key, plain(value)])),
    record: hit.record === hit.id ? null : hit.record,
    id: hit.id,
  };
  const rows = Object.entries(facts).filter(([, value]) => value);
  $("detail-facts").replaceChildren(...rows.flatMap(([name, value]) => [make("dt", { textContent: name }), make("dd", { textContent: value })]));
}

async function openOriginal(hit) {
  const path = itemPath(hit, "/media");
  const tab = hasKey() ? open("about:blank") : open(path, "_blank", "noopener");
  if (tab && hasKey()) tab.location = await objectUrl(path);
}

// A photo to search with: chosen, dropped or pasted

function usePhoto(file) {
  if (!file?.type.startsWith("image/")) return;
  const reader = new FileReader();
  reader.onload = () => {
    Object.assign(state, { photo: { name: file.name || "photo", uri: reader.result }, like: "", k: PAGE });
    readWords();
    search();
  };
  reader.readAsDataURL(file);
}

const readWords = () => (state.words = $("words").value.trim());

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
    Object.assign(state, { collection: $("collection").value, like: "" });
    $("form").requestSubmit();
  };
  $("asked-clear").onclick = () => {
    Object.assign(state, { photo: null, like: "" });
    $("words").focus();
    $("form").requestSubmit();
  };
  $("file").onchange = () => {
    usePhoto($("file").files[0]);
    $("file").value = "";
  };
  $("more").onclick = () => {
    state.k = Math.min(MOST, state.k * 2);
    search();
  };
  $("detail-close").onclick = () => $("detail").close();
  $("detail").onclick = (event) => event.target === $("detail") && $("detail").close();
  $("detail").onclose = () => $("detail-media").replaceChildren();
  addEventListener("popstate", () => {
    readUrl();
    state.collection ||= home;
    search();
  });
  addEventListener("paste", (event) => usePhoto(event.clipboardData?.files[0]));
  addEventListener("dragover", (event) => { event.preventDefault(); document.body.classList.add("dropping"); });
  addEventListener("dragleave", (event) => event.relatedTarget ?? document.body.classList.remove("dropping"));
  addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dropping");
    usePhoto(event.dataTransfer?.files[0]);
  });
  addEventListener("keydown", (event) => {
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement?.tagName ?? "");
    if (event.key !== "/" || typing || document.querySelector("dialog[open]")) return;
    event.preventDefault();
    $("words").focus();
  });
}

async function start() {
  listen();
  readUrl();
  try {
    const { collections } = await getJson("/v1/collections");
    $("collection").replaceChildren(...collections.map(({ name, items }) => make("option", { value: name, textContent: `${name} (${items.toLocaleString()})` })));
    const fullest = collections.reduce((best, one) => (one.items > (best?.items ?? 0) ? one : best), null);
    $("empty").hidden = fullest !== null;
    $("collection").parentElement.hidden = collections.length === 0;
    home = fullest?.name ?? "";
    state.collection ||= home;
    await search();
  } catch (error) {
    showProblem(error);
  }
}

start();
