// Sorting, filtering, the confusion dialog, copying, thresholds, folding, keys, and the mark in the contents. Every page
// can be read without it.
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

// A slider with its label. `show` gets the chosen place.
function slider(label, most, start, show) {
  const input = make("input");
  input.type = "range";
  input.min = 0;
  input.max = most;
  input.value = start;
  const name = make("label", "", label);
  name.append(input);
  input.addEventListener("input", () => show(Number(input.value)));
  return [name, input];
}
const number = (value) => value.toLocaleString("en");
const percent = (value) => `${Number((100 * value).toPrecision(3))}\u202f%`;
// The plot inside its image, as axes.py has it.
const plot = { left: 54, right: 328, top: 12, bottom: 204 };
function moveDot(svg, x, y, low = 0) {
  let dot = svg.querySelector("circle.dot");
  if (!dot) {
    dot = document.createElementNS(svg.namespaceURI, "circle");
    dot.setAttribute("class", "dot");
    dot.setAttribute("r", 5);
    svg.append(dot);
  }
  dot.querySelector("title")?.remove(); // it named the place that the dot leaves
  dot.setAttribute("cx", plot.left + x * (plot.right - plot.left));
  dot.setAttribute("cy", plot.bottom - Math.max(0, (y - low) / (1 - low)) * (plot.bottom - plot.top));
}

// The threshold of the whole model: what it leaves to a person, and what stays wrong.
for (const place of all("[data-sweep]")) {
  const { count, thresholds, asked, wrong } = content.sweep;
  const line = document.getElementById("sweep-line");
  const coverage = document.getElementById("coverage-plot");
  const show = (at) => {
    const answered = count - asked[at];
    const left = `At ${percent(thresholds[at])}, ${number(asked[at])} of ${number(count)} images ${asked[at] === 1 ? "goes" : "go"} to a person`;
    line.textContent = answered
      ? `${left}, and ${number(wrong[at])} of ${number(answered)} answers ${wrong[at] === 1 ? "is" : "are"} wrong.`
      : `${left}, and none is answered.`;
    if (answered) moveDot(coverage, answered / count, 1 - wrong[at] / answered, Number(coverage.dataset.low));
    input.setAttribute("aria-valuetext", percent(thresholds[at]));
  };
  const [label, input] = slider("Threshold", thresholds.length - 1, place.dataset.sweep, show);
  input.setAttribute("aria-valuetext", percent(thresholds[place.dataset.sweep]));
  place.append(label);
}

// One class against the others: its curves, and what a probability of it finds.
for (const place of all("[data-curves]")) {
  const line = document.getElementById("curve-line");
  const [precisionRecall, roc] = ["pr-plot", "roc-plot"].map((id) => document.getElementById(id));
  const choice = make("select");
  for (const [at, curve] of content.curves.entries()) {
    const option = make("option", "", curve.name);
    option.value = at;
    choice.append(option);
  }
  const show = () => {
    const curve = content.curves[choice.value];
    const at = Number(input.value);
    const [found, others] = [curve.found[at], curve.others[at]];
    precisionRecall.querySelector(".curve").setAttribute("points", curve.pr);
    roc.querySelector(".curve").setAttribute("points", curve.roc);
    moveDot(precisionRecall, found / curve.positives, found + others ? found / (found + others) : 1);
    moveDot(roc, others / curve.negatives, found / curve.positives);
    line.textContent = `From ${at + 1}\u202f% on, ${number(found)} of ${number(curve.positives)} images of ‘${curve.name}’ are found, and ${number(others)} of ${number(curve.negatives)} other images are taken for ‘${curve.name}’.`;
    input.setAttribute("aria-valuetext", `${at + 1}\u202f%`);
  };
  const [label, input] = slider("Probability", 98, 49, show);
  choice.addEventListener("change", show);
  const name = make("label", "", "Class");
  name.append(choice);
  place.append(name, label);
  show();
}

// Folding: a link opens the section that it leads to, and a button opens or folds all.
const folds = all("details.fold");
const openFold = () => {
  const fold = document.getElementById(decodeURIComponent(location.hash.slice(1)))?.querySelector("details.fold");
  if (fold) fold.open = true;
};
addEventListener("hashchange", openFold);
openFold();
if (folds.length) {
  const button = make("button", "all-folds", "Fold all");
  button.type = "button";
  button.title = "The keys j and k go to the next and the previous section";
  const isOpen = () => folds.some((fold) => fold.open);
  button.addEventListener("click", () => {
    const open = !isOpen();
    for (const fold of folds) fold.open = open;
  });
  for (const fold of folds) fold.addEventListener("toggle", () => { button.textContent = isOpen() ? "Fold all" : "Open all"; });
  document.querySelector("nav").append(button);
}

// Keyboard: j and k go to the next and the previous section. Fields keep their own keys.
document.addEventListener("keydown", (event) => {
  const isField = event.target.closest?.("input, select, textarea, dialog");
  if (isField || event.ctrlKey || event.metaKey || event.altKey || !["j", "k"].includes(event.key)) return;
  const tops = folds.map((fold) => fold.parentElement);
  const at = tops.findLastIndex((section) => section.getBoundingClientRect().top < 40);
  const next = tops[event.key === "j" ? at + 1 : Math.max(at - 1, 0)];
  if (!next) return;
  next.scrollIntoView();
  next.querySelector("summary").focus({ preventScroll: true });
});

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
