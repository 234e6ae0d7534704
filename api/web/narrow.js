// What narrows a search: a filter as text, and chips of what items say, which write it.

import { $, at, make } from "/dom.js";
import { getJson } from "/key.js";

const FIELDS = 4;
const VALUES = 6;
const PLAIN = /^[A-Za-z_][\w.:-]*$/;
const KEYWORDS = /^(and|or|not|in|between|true|false)$/i;

const clause = (field, value) => `${PLAIN.test(field) && !KEYWORDS.test(field) ? field : `\`${field}\``} = ${JSON.stringify(value)}`;

/** A filter that asks for a clause too; without it where it asked for it already. */
export function toggled(filter, wanted) {
  const parts = filter ? filter.split(" and ") : [];
  if (parts.includes(wanted)) return parts.filter((part) => part !== wanted).join(" and ");
  const before = /\bor\b/i.test(filter) && !parts.some((part) => part.startsWith("(")) ? `(${filter})` : filter;
  return before ? `${before} and ${wanted}` : wanted;
}

/** The fields that most of these items have something to say in. */
function fieldsOf(hits) {
  const counts = new Map();
  for (const field of hits.flatMap(({ metadata }) => Object.keys(metadata))) {
    if (field !== "duration" && !/[`\s@]/.test(field)) counts.set(field, (counts.get(field) ?? 0) + 1);
  }
  return [...counts].sort(([, one], [, other]) => other - one).slice(0, FIELDS).map(([field]) => field);
}

/** Chips of what items under the filter say. choose: called with the filter that a chip makes. */
export async function showFacets(collection, hits, filter, choose, signal) {
  const fields = fieldsOf(hits);
  const found = fields.length === 0 ? [] : await facetsOf(collection, fields, filter, signal);
  const asked = filter.split(" and ");
  const told = ({ field, values, distinct }) => (distinct > 1 && values[0].items > 1) || values.some(({ value }) => asked.includes(clause(field, value)));
  const rows = found.filter(told).map((facet) => row(facet, filter, choose));
  const held = rows.length ? [] : chosen(filter, choose);
  $("facets").replaceChildren(...rows, ...held);
  $("facets").hidden = rows.length + held.length === 0;
}

async function facetsOf(collection, fields, filter, signal) {
  const body = JSON.stringify({ fields, limit: VALUES, ...(filter && { filter }) });
  const headers = { "Content-Type": "application/json" };
  return (await getJson(at(collection, "/facets"), { method: "POST", headers, body, signal })).facets;
}

function row({ field, values }, filter, choose) {
  const chips = values.map(({ value, items }) => chip(`${value}`, items, clause(field, value), filter, choose));
  return make("div", { className: "facet" }, make("span", { className: "field", textContent: field }), ...chips);
}

/** What is asked for already, when nothing is left to choose among. */
const chosen = (filter, choose) =>
  filter.split(" and ").filter((part) => / = /.test(part)).map((part) => chip(part, null, part, filter, choose));

function chip(text, items, wanted, filter, choose) {
  const pressed = filter.split(" and ").includes(wanted);
  const count = items === null ? null : make("small", { textContent: items.toLocaleString() });
  const button = make("button", { type: "button", className: "value", "aria-pressed": String(pressed) }, make("span", { textContent: text }), count);
  button.onclick = () => choose(toggled(filter, wanted));
  return button;
}
