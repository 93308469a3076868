// What was decided: shown at once, sent in order, and told as saved only when the disk has it.

const MOST_AT_ONCE = 500;
const RETRY_MS = 1000;

export class Decisions {
  // told(saving, problem) is called whenever what is saved changes.
  constructor(told) {
    this.told = told;
    this.decided = new Map(); // number of an image → [action, label]
    this.disputed = new Map(); // number of an image → [[person, label], …]
    this.history = []; // steps that undo takes back, each a list of {item, image, before}
    this.queue = [];
    this.sending = false;
  }

  async load() {
    const { decided, disputed } = await (await fetch("decisions")).json();
    for (const [image, decision] of Object.entries(decided)) this.decided.set(Number(image), decision);
    for (const [image, answers] of Object.entries(disputed)) this.disputed.set(Number(image), answers);
  }

  get unsaved() {
    return this.queue.length;
  }

  // entries: {item, image, action, now, isNew}; one step of the history.
  decide(entries) {
    this.history.push(
      entries.map(({ item, image }) => ({
        item,
        image,
        before: this.decided.get(image),
      })),
    );
    for (const entry of entries) {
      this.decided.set(entry.image, [entry.action, entry.now ?? null]);
      this.disputed.delete(entry.image);
      this.queue.push({ item: entry.item, action: entry.action, now: entry.now, new: entry.isNew });
    }
    this.send();
  }

  // Takes back the last step; returns its first item, or undefined where there is none.
  undo() {
    const step = this.history.pop();
    if (!step) return undefined;
    for (const { item, image, before } of step) this.put(item, image, before);
    this.send();
    return step[0].item;
  }

  // Takes back what was decided on one image before this page was opened.
  undoOf(item, image) {
    this.put(item, image, undefined);
    this.send();
  }

  put(item, image, before) {
    if (before) this.decided.set(image, before);
    else this.decided.delete(image);
    const [action, now] = before ?? ["undo", null];
    this.queue.push({ item, action, now, new: false });
  }

  async send() {
    if (this.sending) return;
    this.sending = true;
    while (this.queue.length > 0) {
      this.told(this.queue.length, "");
      const batch = this.queue.slice(0, MOST_AT_ONCE);
      const problem = await post(batch);
      if (problem) {
        this.told(this.queue.length, problem);
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      } else {
        this.queue.splice(0, batch.length);
      }
    }
    this.sending = false;
    this.told(0, "");
  }
}

async function post(decisions) {
  try {
    const response = await fetch("decisions", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ decisions }),
    });
    if (response.ok) return "";
    return (await response.json()).error.message;
  } catch {
    return "The server does not answer. Leave this page open until it does, or start the review again.";
  }
}
