// The map of a collection: a dot an item, the like near each other, a colour a cluster.

import { $, at, count, make, nameOf } from "/dom.js";
import { getJson } from "/key.js";

const RADIUS = 4;
const NEAR = 12; // pixels within which a dot is meant

let spots = [];
let size = 0;

/** Opens the map. open: called with an item when its dot is chosen. */
export async function showMap(collection, modality, open) {
  const canvas = $("map-canvas");
  $("map-about").textContent = "Drawing…";
  spots = [];
  $("map").showModal();
  size = Math.min($("map").clientWidth, innerHeight * 0.74);
  draw(canvas);
  try {
    ({ spots } = await getJson(at(collection, `/map${modality ? `?modality=${modality}` : ""}`)));
    $("map-about").textContent = `${count(spots.length, "item")} of ${collection}. The like lie near each other.`;
  } catch (error) {
    $("map-about").textContent = error.message;
  }
  draw(canvas);
  canvas.onmousemove = (event) => point(nearest(canvas, event));
  canvas.onclick = async (event) => {
    const spot = nearest(canvas, event);
    if (!spot) return;
    const item = await getJson(at(collection, `/items/${encodeURIComponent(spot.id)}`));
    $("map").close();
    open(item);
  };
}

const place = ({ x, y }) => [RADIUS * 2 + x * (size - RADIUS * 4), RADIUS * 2 + (1 - y) * (size - RADIUS * 4)];
const colour = (cluster) => `hsl(${(cluster * 137.5) % 360} 55% 52% / .8)`; // the golden angle keeps neighbours apart

function draw(canvas) {
  const scale = devicePixelRatio || 1;
  Object.assign(canvas, { width: size * scale, height: size * scale });
  canvas.style.width = canvas.style.height = `${size}px`;
  const pen = canvas.getContext("2d");
  pen.scale(scale, scale);
  for (const spot of spots) {
    const [x, y] = place(spot);
    pen.beginPath();
    pen.arc(x, y, spots.length > 2000 ? RADIUS / 2 : RADIUS, 0, 2 * Math.PI);
    pen.fillStyle = colour(spot.cluster);
    pen.fill();
  }
}

function nearest(canvas, event) {
  const box = canvas.getBoundingClientRect();
  const [x, y] = [event.clientX - box.left, event.clientY - box.top];
  let best = null;
  let least = NEAR;
  for (const spot of spots) {
    const [left, top] = place(spot);
    const apart = Math.hypot(left - x, top - y);
    if (apart < least) [best, least] = [spot, apart];
  }
  return best;
}

function point(spot) {
  $("map-canvas").style.cursor = spot ? "pointer" : "default";
  $("map-name").replaceChildren(...(spot ? [make("span", { textContent: nameOf(spot) })] : []));
}
