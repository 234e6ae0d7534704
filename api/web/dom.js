// Elements, paths and small words. Knows nothing of the page.

/** An element with properties, attributes (aria-*, role) and children; null children are left out. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

export const $ = (id) => document.getElementById(id);
export const at = (collection, rest) => `/v1/collections/${encodeURIComponent(collection)}${rest}`;
export const itemPath = (hit, rest = "") => at(hit.collection, `/items/${encodeURIComponent(hit.id)}${rest}`);
export const nameOf = (hit) => hit.title || (hit.uri ?? "").split("/").pop() || hit.id;
export const milliseconds = (value) => `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;
export const count = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;

export const KINDS = {
  text: { mark: "¶", name: "text" },
  image: { mark: "▣", name: "picture" },
  audio: { mark: "♪", name: "sound" },
  video: { mark: "▶", name: "film" },
};
export const kindOf = (hit) => KINDS[hit.modality] ?? { mark: "·", name: hit.modality };

/** Seconds as 0:07, 12:30, 1:02:03. */
export function moment(seconds) {
  const whole = Math.floor(seconds);
  const pad = (value) => String(value).padStart(2, "0");
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return h ? `${h}:${pad(m)}:${pad(s)}` : `${m}:${pad(s)}`;
}

/** Where in its item a hit is, in words; null where the whole item was found. */
export function placeIn(span) {
  if (span?.kind === "seconds") return `${moment(span.start)}–${moment(span.end)}`;
  return span?.page ? `page ${span.page}` : null;
}
