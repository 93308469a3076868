// What the page says of an answer.

const STATUSES = {
  not_an_image: "This file is no image.",
  empty: "This file is empty.",
  corrupt: "This image is damaged.",
  truncated: "This image is cut off.",
  unsupported: "This kind of image cannot be read.",
  too_large: "This image is too large.",
  too_small: "This image is too small.",
};

export function percent(share) {
  if (share > 0.999 && share < 1) return "over 99.9 %";
  return `${(100 * share).toFixed(1)} %`;
}

export function headline(answer) {
  if (answer.status !== "ok") return STATUSES[answer.status] ?? "This file cannot be used.";
  if (answer.decision === "answered") return answer.answer;
  if (answer.decision === "unfamiliar") return "I do not know: this is unlike anything I was trained on.";
  return `I am not sure. Perhaps ${answer.answer}.`;
}

export function explanation(answer) {
  if (answer.status !== "ok") return answer.detail ?? "";
  const sure = `The probability of ${answer.answer} is ${percent(answer.confidence)}.`;
  if (answer.decision === "answered") return sure;
  if (answer.decision === "unfamiliar") {
    return `${sure} But it holds only for images like those of the training, and this one is not.`;
  }
  return `${sure} That is too little for a promise, so look for yourself.`;
}

export function shortDecision(answer) {
  return answer.status === "ok" ? answer.decision : answer.status.replaceAll("_", " ");
}

export function notes(answer) {
  const found = (answer.notes ?? []).map((note) => note.replaceAll("_", " "));
  return found.length ? `About the file: ${found.join(", ")}.` : "";
}
