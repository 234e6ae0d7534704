// Files from the person: to search with, or to add to the collection. Chosen, dropped or pasted.

import { $, at, count } from "/dom.js";
import { getJson, request } from "/key.js";

const MEDIA = ["image", "audio", "video"];

/** A file as a part of a query: `{kind, name, value}`. Rejects with words for people. */
export async function asPart(file) {
  const kind = file.type.split("/")[0];
  if (MEDIA.includes(kind)) return { kind, name: file.name || kind, value: await dataUri(file), weight: 1 };
  if (kind === "text") return { kind: "text", name: file.name, value: (await file.text()).slice(0, 30000), weight: 1 };
  throw new Error(`${file.name} is no picture, sound, film or text that can be searched with.`);
}

function dataUri(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.replace(/^data:[^,]*,/, "data:application/octet-stream;base64,"));
    reader.onerror = () => reject(new Error(`${file.name} cannot be read.`));
    reader.readAsDataURL(file);
  });
}

/** Adds files one by one; tells how far it is. Resolves to `{items, problems}`. */
export async function addFiles(files, collection, tell) {
  const items = [];
  const problems = [];
  for (const [position, file] of files.entries()) {
    tell(`Adding ${file.name} (${position + 1} of ${files.length})…`);
    try {
      const { item, left } = await addFile(file, collection);
      items.push(item);
      problems.push(...left);
    } catch (error) {
      problems.push(error instanceof TypeError ? `${file.name}: the connection broke; it may be larger than this server takes.` : error.message);
    }
  }
  tell(`Added ${count(items.length, "file")} to ${collection}.`);
  return { items, problems };
}

async function addFile(file, collection) {
  const body = new FormData();
  body.append("files", file);
  const answer = await getJson(at(collection, "/items"), { method: "POST", body });
  const [result] = answer.results;
  if (result.error) throw new Error(result.error.message);
  const item = await getJson(at(collection, `/items/${encodeURIComponent(result.id)}`));
  return { item, left: Object.values(result.left_out) };
}

/** Makes a collection in the default space where there is none yet. */
export const makeCollection = (name) =>
  request(at(name, ""), { method: "PUT", headers: { "Content-Type": "application/json" }, body: "{}" });

/** Drops on one half of the page search, those on the other add. */
export function listenToDrops({ searchWith, add }) {
  const adds = (event) => event.clientX > innerWidth / 2;
  const leave = () => document.body.classList.remove("dropping");
  addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("dropping");
    $("drop-add").classList.toggle("chosen", adds(event));
    $("drop-search").classList.toggle("chosen", !adds(event));
  });
  addEventListener("dragleave", (event) => event.relatedTarget ?? leave());
  addEventListener("drop", (event) => {
    event.preventDefault();
    leave();
    const files = [...(event.dataTransfer?.files ?? [])];
    if (files.length > 0) (adds(event) ? add : searchWith)(files);
  });
}
