// A picture, sound, film or item that is asked with beside words, small, with its name.

import { KINDS, kindOf, make } from "/dom.js";
import { thumbnail } from "/media.js";

/** turn: called when it is to count the other way; remove: when it is to be left out. */
export function chip(part, { turn, remove } = {}) {
  const name = make("span", { className: "asked-name", textContent: part.name, title: part.name });
  return make("span", { className: part.weight < 0 ? "chip minus" : "chip" }, turn ? sign(part, turn) : null, look(part), name, remove ? away(part, remove) : null);
}

/** Its picture where there is one, else the sign of its kind. hit: of an item. */
function look({ kind, url, hit }) {
  if (hit) return hit.modality === "text" ? kindOf(hit).mark : thumbnail(hit, 160);
  return url ? make("img", { src: url, alt: "" }) : (KINDS[kind]?.mark ?? null);
}

function sign(part, turn) {
  const button = make("button", { type: "button", className: "sign", textContent: part.weight < 0 ? "−" : "+" });
  button.ariaLabel = `${part.weight < 0 ? "Away from" : "Towards"} ${part.name}; press to turn round`;
  button.onclick = turn;
  return button;
}

function away(part, remove) {
  const button = make("button", { type: "button", className: "away", textContent: "×", "aria-label": `Leave ${part.name} out` });
  button.onclick = remove;
  return button;
}
