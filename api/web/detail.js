// One item, large: the medium itself at the moment that was found, what is known, the rest of its record.

import { $, at, itemPath, kindOf, make, moment, nameOf, placeIn } from "/dom.js";
import { getJson, hasKey } from "/key.js";
import { picture, player, sourceOf, thumbnail } from "/media.js";

let shown = null;

/** Opens the dialog. likeThis: called with the hit when more like it is wanted. */
export async function showDetail(hit, likeThis) {
  shown = hit;
  $("detail-title").textContent = nameOf(hit);
  $("detail-media").replaceChildren();
  $("detail-record").replaceChildren();
  showFacts(hit);
  showMoments(hit);
  $("detail-like").onclick = () => {
    $("detail").close();
    likeThis(hit);
  };
  $("detail-ask").onclick = () => {
    $("detail").close();
    dispatchEvent(new CustomEvent("ask-about", { detail: hit }));
  };
  $("detail-open").onclick = () => openOriginal(hit);
  if (!$("detail").open) $("detail").showModal();
  await Promise.all([fill($("detail-media"), hit, fullMedium), fill($("detail-record"), hit, (one) => restOfRecord(one, likeThis))]);
}

/** Puts what `found` gives into a box, unless another item was chosen in the meantime. */
async function fill(box, hit, found) {
  let children;
  try {
    children = [await found(hit)].flat();
  } catch (error) {
    children = [make("p", { className: "passage", textContent: error.message })];
  }
  if (shown === hit && $("detail").open) box.replaceChildren(...children);
}

export function closeDetail() {
  shown = null;
  $("detail-media").replaceChildren(); // what plays stops
}

async function fullMedium(hit) {
  if (hit.modality === "text") return fullText(hit, await getJson(itemPath(hit)));
  if (hit.modality === "image") return picture(hit);
  const playing = await player(hit, { autoplay: true });
  return hit.modality === "audio" ? [thumbnail(hit, 960), playing] : playing;
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

/** The other items of the record: a film's sound, a photo's caption, a document's pages. */
async function restOfRecord(hit, likeThis) {
  const { items } = await getJson(at(hit.collection, `/items?limit=50&record=${encodeURIComponent(hit.record)}`));
  const others = items.filter((item) => item.id !== hit.id);
  if (others.length === 0) return [];
  const list = make("ul", {}, ...others.map((item) => make("li", {}, part(item, likeThis))));
  return [make("h3", { textContent: "Also in this record" }), list];
}

function part(item, likeThis) {
  const { mark, name } = kindOf(item);
  const look = item.modality === "text" ? make("span", { className: "mark", textContent: mark }) : thumbnail(item, 160);
  const words = item.text ? item.text.slice(0, 120) : nameOf(item);
  const button = make("button", { type: "button" }, look, make("span", {}, make("b", { textContent: name }), ` ${words}`));
  button.onclick = () => showDetail(item, likeThis);
  return button;
}

/** Other places of a film or a sound that fit, best first: each takes the player there. */
function showMoments(hit) {
  const moments = (hit.moments ?? []).filter(({ span }) => span?.kind === "seconds");
  const buttons = moments.map(({ span, score }) => {
    const button = make("button", { type: "button", textContent: placeIn(span), title: `cosine ${score.toFixed(3)}` });
    button.onclick = () => {
      const player = $("detail-media").querySelector("audio, video");
      if (!player) return;
      player.currentTime = span.start;
      player.play().catch(() => {});
    };
    return button;
  });
  $("detail-moments").replaceChildren(...(buttons.length > 1 ? buttons : []));
  $("detail-moments").hidden = buttons.length < 2;
}

/** What each part of the query gave: `a dog +0.31, beach.jpg −0.05`. */
const sharesOf = (parts) => parts?.map(([name, share]) => `${name} ${share < 0 ? "−" : "+"}${Math.abs(share).toFixed(2)}`).join(", ");

const plain = (value) => (typeof value === "object" ? Object.values(value).join(", ") : String(value));

function showFacts(hit) {
  const { name } = kindOf(hit);
  const { duration, ...metadata } = hit.metadata;
  const facts = {
    cosine: hit.score?.toFixed(4),
    because: sharesOf(hit.parts),
    kind: hit.origin === "generated" ? `${name}, generated` : name,
    found: placeIn(hit.span),
    duration: typeof duration === "number" ? moment(duration) : duration && plain(duration),
    where: hit.uri,
    ...Object.fromEntries(Object.entries(metadata).map(([key, value]) => [key, plain(value)])),
    record: hit.record === hit.id ? null : hit.record,
    id: hit.id,
  };
  const rows = Object.entries(facts).filter(([, value]) => value);
  $("detail-facts").replaceChildren(...rows.flatMap(([key, value]) => [make("dt", { textContent: key }), make("dd", { textContent: value })]));
}

async function openOriginal(hit) {
  const path = itemPath(hit, "/media");
  const tab = hasKey() ? open("about:blank") : open(path, "_blank", "noopener");
  if (tab && hasKey()) tab.location = await sourceOf(path);
}
