// The review: findings as a stream of images, one key a decision.

import { Decisions } from "./decisions.js";
import { Grid } from "./grid.js";
import { Heat } from "./heat.js";
import { Images } from "./images.js";
import { HELP, areNumbered, beginningWith, commandOf } from "./keys.js";

const AHEAD = 8; // images that are loaded before they are reached
const MOST_BUTTONS = 9; // classes that get a number
const MOST_UNSAVED = 20; // decisions; then the page waits for the server
const find = (id) => document.getElementById(id);
const images = new Images();
const decisions = new Decisions(tellSaved);

let page; // what the server sent
let total = 0; // different images
let numbered = true;
let at = 0; // place in `visible`
let typed = "";
let choices = []; // names of the buttons, in their order

const review = {
  visible: [],
  item(index) {
    const [finding, image, path, label, proposal, confidence, split] = page.items[index];
    const name = (place) => (place < 0 ? null : page.classes[place]);
    return { finding, image, path, label: name(label), proposal: name(proposal), confidence, split };
  },
  address: (index, size) => `image/${index}/${size}`,
  isDecided(index) {
    const decision = decisions.decided.get(page.items[index][1]);
    return decision !== undefined && decision[0] !== "later";
  },
  words(index) {
    const [action, label] = decisions.decided.get(page.items[index][1]) ?? [""];
    return { relabel: `now ${label}`, keep: "kept", drop: "dropped", later: "later" }[action] ?? "";
  },
  decide(items, action) {
    const entries = items.map((index) => {
      const { image, label, proposal } = this.item(index);
      const relabels = action === "relabel" && proposal !== label;
      return { item: index, image, action: relabels || action !== "relabel" ? action : "keep", now: relabels ? proposal : null, isNew: false };
    });
    decisions.decide(entries);
  },
};
const grid = new Grid(find, review, progress);
const heat = new Heat(find, (index) => current() === index && find("grid").hidden);

async function begin() {
  try {
    const [stream] = await Promise.all([fetch("stream.json").then((response) => response.json()), decisions.load()]);
    page = stream;
  } catch {
    find("problem").textContent = "The server does not answer. Start tellapart review again.";
    return;
  }
  numbered = areNumbered(page.classes);
  total = new Set(page.items.map((item) => item[1])).size;
  find("name").textContent = page.title;
  document.title = `${page.title} – tellapart`;
  for (const name of page.classes) {
    find("class").append(new Option(name, name));
    find("class-names").append(new Option(name));
  }
  const kinds = new Set(page.findings.map(([kind]) => kind));
  for (const kind of kinds) find("kind").append(new Option(kind, kind));
  const withImages = new Set(page.items.map(([finding]) => finding));
  const whole = page.findings.filter((_, place) => !withImages.has(place));
  find("whole").hidden = whole.length === 0;
  find("whole-list").replaceChildren(...terms(whole.map(([, title, text]) => [title, text])));
  for (const [key, meaning] of HELP) {
    const row = find("key-rows").insertRow();
    const head = document.createElement("th");
    head.scope = "row";
    head.textContent = key;
    row.append(head);
    row.insertCell().textContent = meaning;
  }
  if (decisions.disputed.size) find("show").value = "disputed";
  else find("show").querySelector("[value=disputed]").remove();
  tellSaved(0, "");
  filter();
}

function filter() {
  const [state, kind, name] = ["show", "kind", "class"].map((id) => find(id).value);
  const place = page.classes.indexOf(name);
  const fits = {
    open: (image) => !decisions.decided.has(image),
    later: (image) => decisions.decided.get(image)?.[0] === "later",
    disputed: (image) => decisions.disputed.has(image),
    all: () => true,
  }[state];
  review.visible = [];
  for (let index = 0; index < page.items.length; index += 1) {
    const [finding, image, , label, proposal] = page.items[index];
    const ofKind = !kind || page.findings[finding][0] === kind;
    const ofClass = !name || label === place || proposal === place;
    if (ofKind && ofClass && fits(image)) review.visible.push(index);
  }
  at = 0;
  show();
  if (!find("grid").hidden) grid.open(0);
}

function current() {
  return review.visible[at];
}

async function show() {
  forget();
  heat.forget();
  progress();
  const index = current();
  const isDone = index === undefined;
  find("done").hidden = !isDone || !find("grid").hidden;
  find("stream").hidden = isDone || !find("grid").hidden;
  if (isDone) {
    tellDone();
    return;
  }
  describe(index);
  const address = review.address(index, isZoomed() ? "full" : "large");
  const { element, ready } = images.get(address);
  const isShown = await ready;
  if (current() !== index) return; // another one was asked for meanwhile
  find("missing").hidden = isShown;
  element.alt = `Image ${at + 1} of ${review.visible.length}`;
  element.dataset.item = index;
  find("frame").replaceChildren(...(isShown ? [element] : []));
  performance.mark("image", { detail: index });
  if (!isShown) find("missing").textContent = `This image cannot be shown. ${await Images.reason(address)}`;
  // Once this image is painted: what comes later must not delay it.
  requestAnimationFrame(() => setTimeout(() => loadAhead(index)));
}

function loadAhead(index) {
  if (current() !== index) return;
  for (let step = 1; step <= AHEAD; step += 1) {
    const next = review.visible[at + step];
    if (next !== undefined) images.get(review.address(next, "large"));
  }
  showNear(index);
}

function describe(index) {
  const { finding, image, label, proposal, split } = review.item(index);
  const [kind, title, text] = page.findings[finding];
  find("place").textContent = `${(at + 1).toLocaleString("en")} of ${review.visible.length.toLocaleString("en")}, ${kind}${review.words(index) ? `: ${review.words(index)}` : ""}`;
  // What the finding says tells the label from the proposal. It is among the facts, for those who look.
  const blind = kind === "label" && label !== null && proposal !== null;
  const caution = split === "test" ? "A correction of this test image changes the score that was reported." : "";
  find("title").textContent = blind ? "Which class does the image show?" : title;
  find("text").textContent = blind ? caution : text;
  const answers = decisions.disputed.get(image);
  find("dispute").hidden = !answers;
  find("dispute").textContent = answers ? `People disagree: ${answers.map(([who, name]) => `${who} says ${name}`).join(", ")}.` : "";
  // In an order that tells nothing: a reader who knows which is the label tends to keep it.
  const two = [...new Set([label, proposal].filter((name) => name !== null))];
  if (isTurned(index)) two.reverse();
  const rest = page.classes.length <= MOST_BUTTONS ? page.classes.filter((name) => !two.includes(name)) : [];
  choices = [...two, ...rest];
  find("question").textContent = question(two);
  find("choices").replaceChildren(...choices.map((name, place) => choiceButton(name, place, place < two.length)));
  find("keep").disabled = label === null;
  facts(index, blind ? `${title}. ${text}` : null);
}

function question(names) {
  if (names.length === 0) return "Which class is it?";
  return names.length === 1 ? `Is it ${names[0]}?` : `Is it ${names[0]} or ${names[1]}?`;
}

function choiceButton(name, place, isLikely) {
  const button = document.createElement("button");
  button.type = "button";
  if (isLikely) button.className = "likely";
  if (numbered) {
    const key = document.createElement("kbd");
    key.textContent = place + 1;
    button.append(key, " ");
    button.setAttribute("aria-keyshortcuts", place + 1);
  }
  button.append(name);
  button.addEventListener("click", () => give(name));
  return button;
}

function isTurned(index) {
  return ((Math.imul(index + 1, 2654435761) >>> 16) & 1) === 1;
}

function facts(index, told) {
  const { label, proposal, path, split, confidence } = review.item(index);
  const rows = [["finding", told], ["label", label ?? "none"], ["proposal", proposal], ["file", path], ["split", split], ["the model's confidence", confidence === null ? null : `${(100 * confidence).toFixed(1)} %`]];
  find("fact-list").replaceChildren(...terms(rows.filter(([, value]) => value)));
}

function terms(rows) {
  return rows.flatMap(([name, value]) => {
    const [term, detail] = [document.createElement("dt"), document.createElement("dd")];
    term.textContent = name;
    detail.textContent = value;
    return [term, detail];
  });
}

async function showNear(index) {
  if (!page.near) return;
  let found = [];
  try {
    const response = await fetch(`near/${index}`);
    if (response.ok) found = await response.json();
  } catch {
    // Neighbours are a help: without them the image can be judged all the same.
  }
  if (current() !== index) return;
  find("near").hidden = found.length === 0;
  find("near-list").replaceChildren(
    ...found.map(({ label, similarity, image }) => {
      const [entry, picture, name] = ["li", "img", "span"].map((tag) => document.createElement(tag));
      picture.src = image;
      picture.alt = "";
      name.textContent = `${label}, likeness ${similarity.toFixed(2)}`;
      entry.append(picture, name);
      return entry;
    }),
  );
}

function give(name, isNew = false) {
  const { label } = review.item(current());
  if (name === label) decide("keep");
  else decide("relabel", name, isNew);
}

function decide(action, name = null, isNew = false) {
  const index = current();
  if (index === undefined) return;
  if (decisions.unsaved >= MOST_UNSAVED) {
    find("problem").textContent ||= "Earlier decisions are not saved yet. Wait a moment.";
    return;
  }
  if (action === "keep" && review.item(index).label === null) return;
  decisions.decide([{ item: index, image: review.item(index).image, action, now: name, isNew }]);
  // The button that was pressed may be gone, and keys are meant for the image.
  if (find("choices").contains(document.activeElement)) find("stage").focus({ preventScroll: true });
  let next = at + 1;
  while (next < review.visible.length && decisions.decided.has(page.items[review.visible[next]][1])) next += 1;
  go(next);
}

function undo() {
  const index = current();
  const item = decisions.undo();
  if (item !== undefined) {
    const place = review.visible.indexOf(item);
    if (place >= 0) go(place);
    else filter();
  } else if (index !== undefined && decisions.decided.has(review.item(index).image)) {
    decisions.undoOf(index, review.item(index).image);
    show();
  } else {
    find("typed").textContent = "There is nothing to undo.";
    return;
  }
  if (!find("grid").hidden) grid.show();
}

function go(place) {
  at = Math.max(0, Math.min(place, review.visible.length));
  show();
}

function progress() {
  let done = 0;
  for (const [action] of decisions.decided.values()) done += action !== "later";
  find("bar").max = Math.max(total, 1);
  find("bar").value = done;
  find("progress").textContent = `${done.toLocaleString("en")} of ${total.toLocaleString("en")} images decided`;
}

function tellDone() {
  const filtered = find("kind").value || find("class").value || find("show").value !== "all";
  find("done-text").textContent = `${filtered ? "All images that these filters show are decided." : "This was the last image."} The decisions are in ${page.file}. What they gain is shown by:`;
  find("done-next").textContent = page.next;
}

function tellSaved(unsaved, problem) {
  find("problem").textContent = problem ? `${unsaved} of your decisions are not saved yet. ${problem}` : "";
  find("saved").textContent = unsaved ? `Saving ${unsaved} …` : `All is saved in ${page?.file ?? "the file"} as ${page?.who ?? "you"}`;
  find("saved").className = unsaved ? "waits" : "";
}

function isZoomed() {
  return find("zoom").getAttribute("aria-pressed") === "true";
}

function zoom() {
  find("zoom").setAttribute("aria-pressed", String(!isZoomed()));
  find("stage").classList.toggle("zoomed", isZoomed());
  show();
}

function switchView() {
  const toGrid = find("grid").hidden;
  find("grid").hidden = !toGrid;
  find("view").setAttribute("aria-pressed", String(toGrid));
  if (toGrid) grid.open(at);
  else at = Math.max(0, review.visible.indexOf(grid.page[0]));
  show();
}

function forget() {
  typed = "";
  find("typed").textContent = "";
  find("class-name").value = "";
  find("new-class").hidden = true;
}

function type(letter) {
  const found = beginningWith(typed + letter, page.classes);
  if (found.length === 0) {
    find("typed").textContent = `No class begins with “${typed}${letter}”.`;
    return;
  }
  typed += letter;
  const exact = found.find((name) => name.toLowerCase() === typed.toLowerCase());
  if (found.length === 1) give(found[0]);
  else find("typed").textContent = `“${typed}”: ${found.slice(0, 6).join(", ")}${found.length > 6 ? " …" : ""}. Type on, or press Enter for ${exact ?? found[0]}.`;
}

function keep() {
  if (!typed) return decide("keep");
  const found = beginningWith(typed, page.classes);
  return give(found.find((name) => name.toLowerCase() === typed.toLowerCase()) ?? found[0]);
}

const commands = {
  keep,
  drop: () => decide("drop"),
  later: () => decide("later"),
  undo,
  back: () => go(at - 1),
  next: () => go(at + 1),
  zoom,
  heat: () => current() !== undefined && heat.toggle(current()),
  grid: switchView,
  help: () => find("keys").showModal(),
  escape: forget,
};

function onKey(event) {
  if (!page || find("keys").open || event.target.closest("input, select")) return;
  const command = commandOf(event, numbered);
  if (command === undefined) return;
  const onControl = event.target.closest("button, summary, a");
  if (onControl && (event.key === "Enter" || event.key === " ")) return; // they press it
  const inGrid = !find("grid").hidden;
  if (inGrid && !["undo", "grid", "help"].includes(command)) return;
  event.preventDefault();
  if (typeof command === "string") commands[command]();
  else if (current() === undefined) return;
  else if (command.letter) type(command.letter);
  else if (choices[command.digit - 1] !== undefined) give(choices[command.digit - 1]);
}

function onOther(event) {
  event.preventDefault();
  const name = find("class-name").value.trim();
  if (!name || current() === undefined) return;
  if (page.classes.includes(name)) {
    give(name);
    find("stage").focus();
    return;
  }
  find("new-class").hidden = false;
  find("new-class").querySelector("span").textContent = `“${name}” is no class of the data yet.`;
}

function make() {
  const name = find("class-name").value.trim();
  if (!name) return;
  page.classes.push(name);
  for (const id of ["class", "class-names"]) find(id).append(new Option(name, name));
  give(name, true);
  find("stage").focus();
}

document.addEventListener("keydown", onKey);
for (const id of ["keep", "drop", "later", "undo", "back", "next", "zoom", "heat"]) {
  find(id).addEventListener("click", (event) => {
    commands[id]();
    // After a pointer's click, so that Space and Enter do not press the same button again.
    if (event.detail > 0) find("stage").focus({ preventScroll: true });
  });
}
find("grid-undo").addEventListener("click", undo);
find("view").addEventListener("click", switchView);
find("help").addEventListener("click", commands.help);
find("other").addEventListener("submit", onOther);
find("make").addEventListener("click", make);
find("stage").addEventListener("dblclick", zoom);
for (const id of ["show", "kind", "class"]) {
  find(id).addEventListener("change", () => {
    filter();
    find("stage").focus();
  });
}
addEventListener("beforeunload", (event) => {
  if (decisions.unsaved) event.preventDefault();
});

begin();
