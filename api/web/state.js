// What the page is asked, and its URL, in which that lives. Media and what was said are not in it.

export const PAGE = 48;

export const state = { asks: false, words: "", collection: "", modality: "", like: "", filter: "", hybrid: false, media: [], k: PAGE };

/** home: the collection where the URL names none. */
export function readUrl(home) {
  const given = new URLSearchParams(location.search);
  state.asks = given.has("ask");
  state.words = given.get("q") ?? "";
  state.modality = given.get("m") ?? "";
  state.like = given.get("like") ?? "";
  state.filter = given.get("f") ?? "";
  state.hybrid = given.has("w");
  state.collection = given.get("c") ?? home;
  state.media = [];
  state.k = PAGE;
}

export function writeUrl() {
  const searched = { q: state.words, m: state.modality, like: state.like, f: state.filter, w: state.hybrid ? "1" : "" };
  const told = { ...(state.asks ? {} : searched), c: state.collection };
  const query = new URLSearchParams(Object.entries(told).filter(([, value]) => value));
  const parts = [state.asks ? "ask" : "", query.toString()].filter(Boolean);
  const url = parts.length ? `/?${parts.join("&")}` : "/";
  if (url !== location.pathname + location.search) history.pushState(null, "", url);
}
