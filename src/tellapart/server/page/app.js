// The page: images in by any way, one answer shown large, all of this visit in a table.

import { classify, models, privacy } from "./client.js";
import { explanation, headline, notes, percent, shortDecision } from "./words.js";

const MOST_BARS = 5;
const AT_ONCE = 2; // images that are asked about together
const find = (id) => document.getElementById(id);
const visit = []; // {name, url, answer} of every image
let known = [];
let stream = null;
let facing = "environment";
let asking = 0;
const queue = [];

function say(problem) {
  find("problem").textContent = problem;
}

async function begin() {
  find("privacy").textContent = privacy;
  try {
    known = await models();
  } catch (error) {
    say(`The models cannot be asked for. ${error.message}`);
    return;
  }
  for (const model of known) find("model").append(new Option(model.name, model.name));
  find("model-choice").hidden = known.length < 2;
  describe();
}

function chosen() {
  return known.find((model) => model.name === find("model").value);
}

function describe() {
  const { name, classes } = chosen();
  find("title").textContent = name;
  document.title = `${name} – tellapart`;
  const shown = classes.slice(0, 8).join(", ");
  const more = classes.length > 8 ? `, and ${classes.length - 8} more` : "";
  find("about").textContent = `It tells apart: ${shown}${more}. It says so when it does not know.`;
}

function take(images) {
  say("");
  const usable = [...images].filter((image) => image.size > 0);
  if (usable.length === 0) {
    say("There was no image in that.");
    return;
  }
  for (const image of usable) queue.push(image);
  work(usable.length === 1);
}

function work(alone) {
  while (asking < AT_ONCE && queue.length > 0) {
    asking += 1;
    ask(queue.shift()).finally(() => {
      asking -= 1;
      progress();
      work(false);
    });
  }
  progress();
  if (alone) find("result").scrollIntoView({ block: "nearest" });
}

function progress() {
  const left = asking + queue.length;
  find("progress").textContent = left ? `${left} to go` : `${visit.length} answered`;
}

async function ask(image) {
  const model = chosen().name;
  let answer;
  try {
    answer = await classify(model, image);
  } catch (error) {
    say(`${image.name ?? "The image"} got no answer. ${error.message}`);
    return;
  }
  const entry = { name: image.name ?? "image", model, url: URL.createObjectURL(image), answer };
  visit.push(entry);
  addRow(entry);
  show(entry);
}

function addRow(entry) {
  const row = find("rows").insertRow(0);
  const opener = document.createElement("button");
  opener.type = "button";
  opener.textContent = entry.name;
  opener.addEventListener("click", () => {
    show(entry);
    find("result").focus();
  });
  row.insertCell().append(opener);
  const ok = entry.answer.status === "ok";
  row.insertCell().textContent = ok ? entry.answer.answer : "";
  row.insertCell().textContent = ok ? percent(entry.answer.confidence) : "";
  row.insertCell().textContent = shortDecision(entry.answer);
  find("visit").hidden = false;
}

function show({ name, url, answer }) {
  find("result").hidden = false;
  find("image").src = url;
  find("image").alt = `The image ${name}`;
  find("name").textContent = name;
  const decision = find("decision");
  decision.textContent = headline(answer);
  decision.className = answer.status === "ok" ? answer.decision : "unusable";
  find("explanation").textContent = explanation(answer);
  find("notes").textContent = notes(answer);
  bars(answer.probabilities ?? {});
  heat(answer.map);
}

function bars(probabilities) {
  const best = Object.entries(probabilities).sort((a, b) => b[1] - a[1]).slice(0, MOST_BARS);
  find("bars").replaceChildren(
    ...best.map(([label, share]) => {
      const item = document.createElement("li");
      const meter = document.createElement("meter");
      meter.max = 1;
      meter.value = share;
      meter.setAttribute("aria-label", label);
      const text = document.createElement("span");
      text.textContent = label;
      const number = document.createElement("span");
      number.textContent = percent(share);
      item.append(text, meter, number);
      return item;
    }),
  );
}

function heat(map) {
  const layer = find("heat");
  find("heat-choice").hidden = !map;
  layer.hidden = !(map && find("show-heat").checked);
  if (!map) return;
  layer.src = `data:image/png;base64,${map.png}`;
  for (const side of ["left", "top", "width", "height"]) layer.style[side] = `${100 * map[side]}%`;
}

function save() {
  const cell = (value) => {
    const text = String(value ?? "");
    // A spreadsheet would run a cell that begins like a formula.
    const safe = typeof value === "string" && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
    return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  };
  const lines = [["image", "model", "status", "decision", "answer", "confidence", "unfamiliarity"]];
  for (const { name, model, answer } of visit) {
    const { status, decision, answer: label, confidence, unfamiliarity } = answer;
    lines.push([name, model, status, decision, label, confidence, unfamiliarity]);
  }
  const text = lines.map((line) => line.map(cell).join(",")).join("\r\n");
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(["\ufeff", text], { type: "text/csv" }));
  link.download = "answers.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

function clear() {
  for (const { url } of visit) URL.revokeObjectURL(url);
  visit.length = 0;
  queue.length = 0;
  find("rows").replaceChildren();
  find("image").removeAttribute("src");
  for (const id of ["result", "visit"]) find(id).hidden = true;
  find("files").focus();
}

async function openCamera() {
  closeCamera();
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: facing } });
  } catch {
    say(
      navigator.mediaDevices
        ? "The camera cannot be used. Allow it for this page, or choose images."
        : "A browser gives the camera only to pages over HTTPS or on this machine. Choose images instead.",
    );
    return;
  }
  say("");
  find("video").srcObject = stream;
  await find("video").play();
  find("viewfinder").hidden = false;
  find("camera").hidden = true;
  find("shoot").focus();
}

function closeCamera() {
  for (const track of stream?.getTracks() ?? []) track.stop();
  stream = null;
  find("viewfinder").hidden = true;
  find("camera").hidden = false;
}

function shoot() {
  const video = find("video");
  const canvas = document.createElement("canvas");
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  canvas.getContext("2d").drawImage(video, 0, 0);
  const name = `photo ${visit.length + 1}.jpg`;
  canvas.toBlob((blob) => take([new File([blob], name, { type: blob.type })]), "image/jpeg", 0.95);
}

find("files").addEventListener("change", (event) => {
  take(event.target.files);
  event.target.value = "";
});
find("model").addEventListener("change", describe);
find("show-heat").addEventListener("change", () => {
  find("heat").hidden = !(find("show-heat").checked && find("heat").getAttribute("src"));
});
find("save").addEventListener("click", save);
find("clear").addEventListener("click", clear);
find("camera").addEventListener("click", openCamera);
find("stop").addEventListener("click", closeCamera);
find("shoot").addEventListener("click", shoot);
find("turn").addEventListener("click", () => {
  facing = facing === "environment" ? "user" : "environment";
  openCamera();
});
document.addEventListener("paste", (event) => {
  const images = [...event.clipboardData.files];
  if (images.length > 0) take(images);
});
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("over");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("over");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("over");
  take(event.dataTransfer.files);
});

begin();
