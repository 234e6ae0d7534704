// Pictures, sounds and films: plain URLs, or, where a key is wanted, fetched with it.

import { hasKey, request } from "/key.js";
import { itemPath, kindOf, make, nameOf } from "/dom.js";

let objectUrls = [];

/** A URL that an element can load by itself. */
export async function sourceOf(path) {
  if (!hasKey()) return path;
  const url = URL.createObjectURL(await (await request(path)).blob());
  objectUrls.push(url);
  return url;
}

/** Lets go of everything that was fetched for results that are no longer shown. */
export function forget() {
  seen.disconnect();
  objectUrls.forEach((url) => URL.revokeObjectURL(url));
  objectUrls = [];
}

const seen = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    seen.unobserve(target);
    sourceOf(target.dataset.path).then((url) => (target.src = url), () => target.onerror());
  }
}, { rootMargin: "400px" });

const pageOf = (span) => (span?.page ? `&page=${span.page}` : "");

/** The preview of a picture, film, sound or document, fetched as it comes into view. */
export function thumbnail(hit, side = 480) {
  const { span } = hit;
  const at = hit.modality === "video" && span?.kind === "seconds" ? `&at=${(span.start + span.end) / 2}` : "";
  const path = itemPath(hit, `/preview?side=${side}${at}${pageOf(span)}`);
  const image = make("img", { alt: "", loading: "lazy", decoding: "async", className: hit.modality });
  image.onerror = () => image.replaceWith(make("span", { className: "mark", textContent: kindOf(hit).mark }));
  if (hasKey()) {
    image.dataset.path = path;
    seen.observe(image);
  } else image.src = path;
  return image;
}

/** A player that starts at the moment that was found, and stops at its end. */
export async function player(hit, { autoplay }) {
  const { span } = hit;
  const part = span?.kind === "seconds" ? `#t=${span.start},${span.end}` : "";
  const src = (await sourceOf(itemPath(hit, "/media"))) + part;
  const element = make(hit.modality, { controls: true, preload: "metadata", "aria-label": nameOf(hit) });
  element.onerror = () => element.replaceWith(cannotPlay(hit));
  element.src = src;
  if (autoplay) element.play().catch(() => {}); // a browser that wants one more click shows the controls
  return element;
}

function cannotPlay(hit) {
  const told = `This browser cannot play ${nameOf(hit)}. Open the original instead.`;
  return make("div", { className: "unplayable" }, thumbnail(hit, 960), make("p", { textContent: told }));
}

/** A picture as large as it comes; its preview where the browser does not know the format. */
export async function picture(hit) {
  const image = make("img", { alt: nameOf(hit) });
  const preview = async () => {
    image.onerror = () => image.replaceWith("no preview");
    image.src = await sourceOf(itemPath(hit, `/preview?side=1600${pageOf(hit.span)}`));
  };
  image.onerror = preview;
  if (hit.span?.kind === "page" || /\.(pdf|docx)(#|$)/i.test(hit.uri ?? hit.title ?? "")) await preview();
  else image.src = await sourceOf(itemPath(hit, "/media"));
  return image;
}

// One at a time: what starts to play makes everything else pause.
document.addEventListener("play", (event) => {
  for (const other of document.querySelectorAll("audio, video")) if (other !== event.target) other.pause();
}, true);
