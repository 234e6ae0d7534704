// A hit as a card: a picture, a film's poster with its moment, a sound's shape with a player, a passage.

import { kindOf, make, nameOf, placeIn } from "/dom.js";
import { player, thumbnail } from "/media.js";

/** A list element. open: called with the hit when it is chosen. */
export function card(hit, open) {
  const page = hit.modality === "text" ? placeIn(hit.span) : null;
  const title = make("span", { className: "title", title: nameOf(hit) }, nameOf(hit), page && make("span", { className: "page", textContent: ` · ${page}` }));
  const about = make("div", { className: "about" }, title, scoreBar(hit.score, hit.probability));
  const button = make("button", { type: "button", className: "hit", "aria-haspopup": "dialog" }, look(hit), about);
  button.onclick = () => open(hit);
  return make("li", { className: "card" }, button, hit.modality === "audio" ? playButton(hit) : null);
}

function look(hit) {
  const box = make("div", { className: `look ${hit.modality}` });
  if (hit.modality === "text") box.append(make("div", { className: "passage", textContent: (hit.text ?? "").slice(0, 600) }));
  else box.append(thumbnail(hit));
  if (hit.modality === "video") box.append(make("span", { className: "play", "aria-hidden": "true" }));
  box.append(make("span", { className: "unseen", textContent: `${kindOf(hit).name}: ` }));
  const place = placeIn(hit.span);
  if (place && ["image", "video"].includes(hit.modality)) box.append(make("span", { className: "place", textContent: place }));
  return box;
}

function playButton(hit) {
  const place = placeIn(hit.span);
  const button = make("button", { type: "button", className: "listen", textContent: place ? `▶ ${place}` : "▶ Play", "aria-label": `Play ${nameOf(hit)}${place ? `, ${place}` : ""}` });
  button.onclick = async () => {
    button.disabled = true;
    try {
      const sound = await player(hit, { autoplay: true });
      button.replaceWith(sound);
      sound.focus();
    } catch (error) {
      button.textContent = error.message;
    }
  };
  return button;
}

function scoreBar(cosine, probability) {
  const likely = probability !== undefined && probability !== null;
  const score = likely ? probability : cosine;
  if (score === null) return make("span", { className: "score", textContent: "found by its words" });
  if (score === undefined) return null;
  const bar = make("i", { "aria-hidden": "true" });
  bar.style.setProperty("--part", Math.max(0, Math.min(1, score)));
  const kind = likely ? "probability" : "cosine";
  const text = likely ? `${(100 * score).toFixed(1)} %` : score.toFixed(3);
  const title = likely && cosine !== null ? `probability; cosine ${cosine.toFixed(3)}` : kind;
  const label = make("span", { textContent: text, title });
  return make("span", { className: "score" }, bar, make("span", { className: "unseen", textContent: kind }), label);
}
