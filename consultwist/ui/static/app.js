// Shows what the agent's own API tells; each view follows changes by blocking queries.
"use strict";

const view = document.getElementById("view");
let shown = 0; // counts views, so that an answer for a former one is dropped

async function read(path) {
  const answer = await fetch(path);
  if (answer.status === 404) return { index: answer.headers.get("X-Consul-Index"), value: null };
  if (!answer.ok) throw new Error(await answer.text());
  return { index: answer.headers.get("X-Consul-Index"), value: await answer.json() };
}

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function link(text, target) {
  const made = element("a", text);
  made.href = target;
  return made;
}

function table(heads, rows) {
  const made = element("table");
  const head = made.appendChild(element("tr"));
  heads.forEach((text) => head.appendChild(element("th", text)));
  for (const cells of rows) {
    const row = made.appendChild(element("tr"));
    for (const cell of cells) {
      const place = row.appendChild(element("td"));
      place.append(cell instanceof Node ? cell : String(cell));
    }
  }
  return made;
}

function worst(checks) {
  const statuses = checks.map((check) => check.Status);
  return ["critical", "warning"].find((status) => statuses.includes(status)) || "passing";
}

const status = (text) => element("span", text, text);

function services(found) {
  return table(["Service", "Instances", "Passing", "Warning", "Critical", "Tags"],
    found.map((each) => [
      link(each.Name, `#service/${encodeURIComponent(each.Name)}`), each.InstanceCount ?? each.Nodes.length,
      each.ChecksPassing, each.ChecksWarning, each.ChecksCritical, (each.Tags || []).join(", "),
    ]));
}

function instances(found) {
  return table(["Node", "Address", "Port", "Status", "Output"], found.map((each) => [
    each.Node.Node, each.Service.Address || each.Node.Address, each.Service.Port,
    status(worst(each.Checks)), each.Checks.map((check) => check.Output).filter(Boolean).join("\n"),
  ]));
}

function nodes(found) {
  return table(["Node", "Address", "Status", "Services"], found.map((each) => [
    each.Node, each.Address, status(worst(each.Checks)),
    each.Services.map((service) => service.Service).join(", "),
  ]));
}

function keys(found, prefix) {
  return table(["Key"], (found || []).map((key) => [
    link(key, `#${key.endsWith("/") ? "kv" : "key"}/${encodeURIComponent(key)}`),
  ]).concat(prefix ? [[link("..", "#kv")]] : []));
}

function value(found) {
  if (!found) return element("p", "This key does not exist.");
  const bytes = Uint8Array.from(atob(found[0].Value || ""), (each) => each.charCodeAt(0));
  return element("pre", new TextDecoder().decode(bytes));
}

const encoded = (path) => path.split("/").map(encodeURIComponent).join("/");

function source(place) {
  const [kind, ...rest] = place.split("/");
  const name = decodeURIComponent(rest.join("/"));
  switch (kind) {
    case "service": return [`/v1/health/service/${encodeURIComponent(name)}?`, instances];
    case "nodes": return ["/v1/internal/ui/nodes?", nodes];
    case "kv": return [`/v1/kv/${encoded(name)}?keys&separator=/&`, (found) => keys(found, name)];
    case "key": return [`/v1/kv/${encoded(name)}?`, value];
    default: return ["/v1/internal/ui/services?", services];
  }
}

async function show() {
  const mine = ++shown;
  const [path, render] = source(location.hash.slice(1));
  let index = 0;
  while (mine === shown) {
    try {
      const { index: next, value: found } = await read(`${path}index=${index}&wait=60s`);
      if (mine !== shown) return;
      index = Number(next) >= index ? Number(next) : 0;
      view.replaceChildren(render(found));
    } catch (error) {
      if (mine !== shown) return;
      view.replaceChildren(element("p", error.message, "error"));
      index = 0;
      await new Promise((resume) => setTimeout(resume, 5000));
    }
  }
}

addEventListener("hashchange", show);
show();
