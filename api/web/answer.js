// An answer: its words with citations that lead to evidence, what is only supposed, and why there is
// none where there is none. Everything that comes from the server is set as text.

import { card } from "/cards.js";
import { count, kindOf, make, milliseconds, nameOf } from "/dom.js";

const CITED = /[[【]\s*\^?(\d{1,4}(?:\s*[,;–-]\s*\^?\d{1,4})*)\s*[\]】]/;
const MOST_CITED = 50; // numbers of one range
const NEAREST = 4; // shown of what an answer could not be made from

/** Words while they come: what they cite is not known yet. */
export function showWords(box, words) {
  box.replaceChildren(make("p", { className: "words" }, ...withCitations(words, (number) => make("span", { className: "cite", textContent: number }))));
}

/** The whole answer. open: called with a hit to show it large. */
export function showAnswer(box, words, grounds, open) {
  const cards = new Map(grounds.evidence.map((hit) => [hit.number, evidenceCard(hit, grounds, open)]));
  const cite = (number, sentence) => citation(number, sentence, grounds, cards, open);
  const said = make("p", { className: "words" }, ...sentences(words, grounds.sentences, cite));
  box.classList.toggle("abstained", grounds.abstained);
  const parts = [
    said,
    doubts(grounds.sentences),
    ...grounds.completions.map((one) => borrowed(one, grounds)),
    ...(grounds.abstained ? nearest(grounds, cards) : evidence(grounds, cards)),
    footing(grounds),
  ];
  box.replaceChildren(...parts.filter(Boolean));
}

/** Words with each `[2]`, `[1, 3]` or `[1-3]` in them made into something. */
function withCitations(words, cite) {
  return words.split(CITED).flatMap((part, place) => (place % 2 ? part.split(/[,;]/).flatMap(range).map(cite) : [part]));
}

/** `2`, or all numbers of `1-3`. */
function range(part) {
  const [first, last = first] = part.match(/\d+/g).map(Number);
  return Array.from({ length: Math.min(Math.max(1, last - first + 1), MOST_CITED) }, (_, step) => first + step);
}

/** Sentence by sentence. Places count characters, not UTF-16 units. */
function sentences(words, found, cite) {
  const characters = Array.from(words);
  const piece = (from, to) => characters.slice(from, to).join("");
  const nodes = [];
  let done = 0;
  found.forEach((one, number) => {
    nodes.push(piece(done, one.start), sentence(one, withCitations(piece(one.start, one.end), (cited) => cite(cited, number))));
    done = one.end;
  });
  return [...nodes, ...withCitations(piece(done), (cited) => cite(cited, null))];
}

function doubts(found) {
  const doubted = found.filter(({ supported }) => !supported).length;
  const told = `${count(doubted, "sentence")} (underlined) ${doubted === 1 ? "is" : "are"} not supported by what was found.`;
  return doubted ? make("p", { className: "small", textContent: told }) : null;
}

function sentence({ supported, hedged, reason }, nodes) {
  if (supported) return make("span", { className: hedged ? "hedged" : "", ...(hedged && { title: "a supposition" }) }, ...nodes);
  const why = make("span", { className: "unseen", textContent: ` (not supported: ${reason})` });
  return make("span", { className: "unsupported", title: reason ?? "not supported" }, ...nodes, why);
}

/** A number that leads to its evidence: looked at, it stands out; chosen, it opens at the place that is cited. */
function citation(number, sentence, { evidence, citations }, cards, open) {
  const hit = evidence.find((one) => one.number === number);
  if (!hit) return `[${number}]`;
  const cited = citations.find((one) => one.number === number && one.sentence === sentence);
  const button = make("button", { type: "button", className: "cite", textContent: number, "aria-label": `Source ${number}: ${nameOf(hit)}`, "aria-haspopup": "dialog", title: nameOf(hit) });
  const marked = (yes) => () => cards.get(number).classList.toggle("marked", yes);
  button.onpointerenter = button.onfocus = marked(true);
  button.onpointerleave = button.onblur = marked(false);
  button.onclick = () => open({ ...hit, span: cited?.span ?? hit.span });
  return button;
}

function evidenceCard(hit, { citations, evidence }, open) {
  const cited = citations.find(({ number }) => number === hit.number);
  const lends = evidence.filter(({ completions }) => completions.some(({ sources }) => sources.some(({ item }) => item === hit.id)));
  const note = hit.role === "source" && lends.length ? `lends to ${lends.map(({ number }) => `[${number}]`).join(" ")}` : null;
  const place = { ...hit, span: cited?.span ?? hit.span };
  const element = card(place, open);
  element.prepend(make("span", { className: "number", textContent: hit.number, title: note ?? `source ${hit.number}` }));
  if (note) element.append(make("span", { className: "lends", textContent: note }));
  return element;
}

function borrowed({ record, modality, value, origin, sources, p }, { evidence }) {
  const about = evidence.find((one) => one.record === record);
  const from = sources.map(({ item }) => evidence.find(({ id }) => id === item)).filter(Boolean);
  const lender = evidence.find(({ id }) => id === value);
  const supposed = modality === "text" ? `“${value}”` : lender ? nameOf(lender) : `a ${kindOf({ modality }).name}`;
  const whose = about ? `[${about.number}]` : "The question";
  const how = origin === "generated" ? "made from" : "borrowed from";
  const whom = from.length ? from.map(({ number }) => `[${number}]`).join(" ") : count(sources.length, "other");
  return make("p", { className: "borrowed" },
    make("b", { textContent: "Supposed: " }), supposed,
    make("span", { className: "small", textContent: ` · ${whose} has no ${kindOf({ modality }).name} of its own; ${how} ${whom}, probability ${(100 * p).toFixed(0)} %` }));
}

function evidence({ evidence, citations }, cards) {
  const cited = new Set(citations.map(({ number }) => number));
  const first = evidence.filter(({ number }) => cited.has(number));
  const rest = evidence.filter(({ number }) => !cited.has(number));
  const uncited = rest.length ? more(`${count(rest.length, "other")} looked at, not cited`, list("Looked at", rest, cards)) : null;
  return [list("Sources", first, cards), uncited];
}

function nearest({ evidence }, cards) {
  const found = evidence.filter(({ role }) => role === "found").slice(0, NEAREST);
  return found.length ? [make("p", { className: "small", textContent: "What was nearest:" }), list("Nearest", found, cards)] : [];
}

const list = (label, found, cards) => (found.length ? make("ul", { className: "evidence", "aria-label": label }, ...found.map(({ number }) => cards.get(number))) : null);
const more = (summary, inside) => make("details", {}, make("summary", { textContent: summary }), inside);

/** How the question was understood, who wrote, how sure it is, and where the time went. */
function footing({ plan, generator, confidence, abstained, timings_ms: timings }) {
  const { total, ...stages } = timings;
  const looked = plan.queries.map(({ words, media, without, modalities, why }) => {
    const asked = [words && `“${words}”`, ...media.map((modality) => `a ${kindOf({ modality }).name}`), without && `without “${without}”`].filter(Boolean).join(" + ");
    return make("li", { textContent: `${asked} among ${modalities.map((modality) => `${kindOf({ modality }).name}s`).join(", ")}: ${why}` });
  });
  const spent = Object.entries(stages).map(([stage, ms]) => `${stage.replaceAll("_", " ")} ${milliseconds(ms)}`).join(", ");
  const sure = abstained ? "" : ` · confidence ${(100 * confidence).toFixed(0)} %`;
  return make("details", { className: "footing" },
    make("summary", { textContent: `${generator}${sure} · ${milliseconds(total ?? 0)}` }),
    make("p", { textContent: `Understood as: ${plan.question || "what is shown"}` }),
    make("ul", {}, ...looked, ...plan.notes.map((note) => make("li", { textContent: note }))),
    make("p", { textContent: spent }));
}
