// Sorting, filtering, the confusion dialog, copying, and the mark in the contents. Every page can be read without it.
"use strict";

const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const make = (name, className, text) => {
  const element = document.createElement(name);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
};
const content = JSON.parse(document.getElementById("content")?.textContent ?? '{"cells":{},"thumbnails":{}}');

// A thumbnail is in the file once: in a gallery, or in the content.
const sourceOf = (key) => document.getElementById("t" + key)?.src ?? content.thumbnails[key];

function image(key, problem, name) {
  const source = key ? sourceOf(key) : undefined;
  if (!source) return make("span", "frame gone", problem || "no image");
  const frame = make("span", "frame");
  const image = make("img");
  image.src = source;
  image.alt = name;
  frame.append(image);
  return frame;
}

for (const frame of all("[data-key]")) {
  frame.replaceWith(image(frame.dataset.key, "", frame.dataset.name));
}

// Confusion: a cell opens its images.
const dialog = document.getElementById("images");
function openCell(key) {
  const cell = content.cells[key];
  const right = cell.truth === cell.answer;
  const title = dialog.querySelector("h2");
  title.replaceChildren(make("bdi", "", cell.truth), right ? " predicted correctly" : " predicted as ");
  if (!right) title.append(make("bdi", "", cell.answer));
  const shown = cell.images.length;
  const order = right ? "least confident first" : "most confident first";
  dialog.querySelector("p").textContent =
    shown < cell.count ? `${shown} of ${cell.count.toLocaleString("en")} images, ${order}`
      : shown === 1 ? "1 image" : `${shown} images, ${order}`;
  dialog.querySelector(".gallery").replaceChildren(...cell.images.map(([path, confidence, key, problem]) => {
    const figure = make("figure", "shot");
    const caption = make("figcaption");
    caption.append(make("bdi", "path", path), make("span", "", `confidence ${confidence}`));
    figure.append(image(key, problem, path), caption);
    return figure;
  }));
  dialog.showModal();
  dialog.scrollTop = 0;
}
for (const button of all("[data-cell]")) button.addEventListener("click", () => openCell(button.dataset.cell));
dialog?.addEventListener("click", (event) => {
  if (event.target === dialog || event.target.closest(".close")) dialog.close();
});

// Tables: a click on a heading sorts, a second click reverses the order.
const valueOf = (row, column) => {
  const cell = row.cells[column];
  return cell.dataset.value === undefined ? cell.textContent.trim() : Number(cell.dataset.value);
};
function sortBy(header, column) {
  const up = header.getAttribute("aria-sort") !== "ascending";
  const body = header.closest("table").tBodies[0];
  const compare = (a, b) => {
    const [x, y] = [valueOf(a, column), valueOf(b, column)];
    if (typeof x === "string") return x.localeCompare(y, undefined, { numeric: true }) * (up ? 1 : -1);
    // Unknown values stay at the bottom in both orders.
    if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
    return (x - y) * (up ? 1 : -1);
  };
  for (const other of header.parentElement.cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", up ? "ascending" : "descending");
  body.append(...[...body.rows].sort(compare));
}
for (const table of all("table.sortable")) {
  [...table.tHead.rows[0].cells].forEach((header, column) => {
    const button = make("button", "sort");
    button.type = "button";
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => sortBy(header, column));
  });
}

// A long table: a field that keeps the rows which contain all its words.
for (const table of all("table.filtered")) {
  const rows = [...table.tBodies[0].rows].map((row) => [row, row.textContent.toLowerCase()]);
  const field = make("input");
  field.type = "search";
  field.id = "filter";
  field.placeholder = "for example, truncated";
  const label = make("label", "", "Show rows with");
  label.htmlFor = field.id;
  const count = make("output", "quiet");
  count.htmlFor = field.id;
  field.addEventListener("input", () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const [row, text] of rows) {
      row.hidden = !words.every((word) => text.includes(word));
      if (!row.hidden) shown += 1;
    }
    count.textContent = words.length ? `${shown.toLocaleString("en")} of ${rows.length.toLocaleString("en")}` : "";
  });
  const bar = make("div", "filter");
  bar.append(label, field, count);
  table.closest(".scroll").before(bar);
}

// Snippets: a copy button each.
for (const block of all(".snippet")) {
  const button = make("button", "copy", "Copy");
  button.type = "button";
  button.addEventListener("click", async () => {
    const code = block.querySelector("code");
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    } catch {
      getSelection().selectAllChildren(code); // a page from a file may not write to the clipboard, so the code is selected instead
    }
  });
  block.append(button);
}

// Contents: the section in view is marked.
const links = new Map(all("nav a").map((link) => [link.hash.slice(1), link]));
const watcher = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    for (const link of links.values()) link.removeAttribute("aria-current");
    links.get(entry.target.id)?.setAttribute("aria-current", "true");
  }
}, { rootMargin: "-15% 0px -75% 0px" });
for (const id of links.keys()) {
  const section = document.getElementById(id);
  if (section) watcher.observe(section);
}
