// The key of this library, kept in the tab, and requests that carry it. Knows nothing of the page.

const NAME = "crossbind-key";

export class Problem extends Error {
  constructor(status, error) {
    super(error.message);
    Object.assign(this, { status, code: error.code, requestId: error.request_id });
  }
}

export const hasKey = () => sessionStorage.getItem(NAME) !== null;

/** Sends a request; asks for the key when it is wanted, as often as it is wrong. */
export async function request(path, options = {}) {
  for (;;) {
    const key = sessionStorage.getItem(NAME);
    const headers = { ...options.headers, ...(key === null ? {} : { Authorization: `Bearer ${key}` }) };
    const response = await fetch(path, { ...options, headers });
    if (response.ok) return response;
    if (response.status !== 401) throw await problemOf(response);
    await askForKey();
  }
}

export const getJson = async (path, options) => (await request(path, options)).json();

async function problemOf(response) {
  const body = await response.json().catch(() => null);
  const fallback = { message: `The server answered ${response.status}.`, code: "unexpected", request_id: null };
  return new Problem(response.status, body?.error ?? fallback);
}

let asking = null;

/** One dialog, however many requests wait for it. */
function askForKey() {
  asking ??= new Promise((resolve) => {
    const dialog = document.getElementById("ask");
    const input = document.getElementById("key");
    input.value = "";
    dialog.oncancel = (event) => event.preventDefault();
    dialog.onclose = () => {
      sessionStorage.setItem(NAME, input.value);
      asking = null;
      resolve();
    };
    dialog.showModal();
  });
  return asking;
}
