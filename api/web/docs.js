// The API, read from /openapi.json and set as text: routes by tag, with shapes and a curl line.

import { getJson } from "/key.js";

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children.filter((child) => child !== null));
  return element;
}

const nameOf = (ref) => ref.split("/").pop();

/** A JSON schema as text; the types it refers to are named, and added to `used`. */
function shape(schema, used = new Set()) {
  if (!schema) return "any";
  if (schema.$ref) {
    used.add(nameOf(schema.$ref));
    return nameOf(schema.$ref);
  }
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  const choices = schema.anyOf ?? schema.oneOf;
  if (choices) return [...new Set(choices.map((choice) => shape(choice, used)))].join(" | ");
  if (schema.type === "array") return `[${shape(schema.items, used)}, …]`;
  if (schema.properties) return objectShape(schema, used);
  if (schema.type === "object") return "{…}";
  return schema.format === "binary" ? "file" : (schema.type ?? "any");
}

function objectShape(schema, used) {
  const lines = Object.entries(schema.properties).map(([name, field]) => {
    const mark = schema.required?.includes(name) ? "" : "?";
    const fallback = field.default === undefined || field.default === null ? "" : ` = ${JSON.stringify(field.default)}`;
    const note = field.description ? `   // ${field.description}` : "";
    return `  "${name}"${mark}: ${shape(field, used)}${fallback}${note}`;
  });
  return `{\n${lines.join("\n")}\n}`;
}

/** A schema and, once each, the types it is made of. */
function definition(schema, schemas) {
  const used = new Set();
  const told = [schema.$ref ? shape(schemas[nameOf(schema.$ref)], used) : shape(schema, used)];
  for (const name of used) told.push(`${name} = ${shape(schemas[name], used)}`); // grows as it goes
  return told.join("\n\n");
}

function parameters(list) {
  if (!list?.length) return null;
  const rows = list.map((one) => make("tr", {},
    make("td", {}, make("code", { textContent: one.name })),
    make("td", { textContent: one.in }),
    make("td", { textContent: shape(one.schema) + (one.schema?.default === undefined ? "" : ` = ${one.schema.default}`) }),
    make("td", { textContent: one.description ?? one.schema?.description ?? "" })));
  return make("table", {}, make("tbody", {}, ...rows));
}

function curl(method, path, operation) {
  const parts = ["curl"];
  if (method !== "get") parts.push(`-X ${method.toUpperCase()}`);
  parts.push(`'${location.origin}${path.replace("{c}", "default")}'`);
  const body = EXAMPLES[`${method} ${path}`];
  if (body) parts.push("-H 'Content-Type: application/json'", `-d '${JSON.stringify(body)}'`);
  else if (operation.requestBody) parts.push("-H 'Content-Type: application/json'", "-d '{…}'");
  return parts.join(" ");
}

const EXAMPLES = {
  "post /v1/embeddings": { model: "builtin", input: "a dog on a beach" },
  "post /v1/collections/{c}/search": { query: { text: "a dog on a beach" }, k: 5 },
  "post /v1/chat/completions": { model: "crossbind", messages: [{ role: "user", content: "When do dahlias bloom?" }], retrieval: { collection: "default" } },
  "post /v1/collections/{c}/complete": { item: "ID", missing: ["text"] },
  "post /v1/collections/{c}/items": { items: [{ text: "A dog runs along the beach." }] },
  "put /v1/collections/{c}": { space: "builtin" },
  "patch /v1/collections/{c}/items/{item_id}": { title: "Rex", metadata: { year: 2026 } },
};

function section(title, text) {
  return text === null ? [] : [make("h3", { textContent: title }), make("pre", {}, make("code", { textContent: text }))];
}

function showOperation(method, path, operation, schemas) {
  const bodies = Object.entries(operation.requestBody?.content ?? {});
  const answers = Object.entries(operation.responses ?? {});
  const inside = make("div", { className: "inside" },
    ...section("Try it", curl(method, path, operation)),
    parameters(operation.parameters),
    ...bodies.flatMap(([type, { schema }]) => section(`Body, ${type}`, definition(schema, schemas))),
    ...answers.flatMap(([status, answer]) => {
      const schema = answer.content?.["application/json"]?.schema;
      return section(`${status === "default" ? "Error" : status}: ${answer.description}`, schema ? definition(schema, schemas) : null);
    }));
  const summary = make("summary", {},
    make("code", {}, make("b", { className: "method", textContent: method.toUpperCase() }), path),
    make("span", { textContent: operation.summary ?? "" }));
  return make("details", {}, summary, inside);
}

async function start() {
  const box = document.getElementById("docs");
  try {
    const { paths, components, info } = await getJson("/openapi.json");
    const byTag = new Map();
    for (const [path, methods] of Object.entries(paths)) {
      for (const [method, operation] of Object.entries(methods)) {
        const tag = operation.tags?.[0] ?? "other";
        byTag.set(tag, [...(byTag.get(tag) ?? []), showOperation(method, path, operation, components.schemas)]);
      }
    }
    const groups = [...byTag].flatMap(([tag, list]) => [make("h2", { textContent: tag }), ...list]);
    box.replaceChildren(make("p", { textContent: `${info.summary} Version ${info.version}.` }), ...groups);
  } catch (error) {
    box.replaceChildren(make("p", { textContent: error.message }));
  }
}

start();
