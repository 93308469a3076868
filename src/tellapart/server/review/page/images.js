// Images that are ready before they are asked for: the next ones are loaded and decoded ahead.

const MOST_KEPT = 40;

export class Images {
  constructor() {
    this.kept = new Map(); // address → {element, ready}
  }

  // An image element, and a promise that it can be painted. A failure is the promise's false.
  get(address) {
    let entry = this.kept.get(address);
    if (!entry) {
      const element = new Image();
      element.src = address;
      entry = { element, ready: element.decode().then(() => true, () => false) };
    }
    this.kept.delete(address); // so that it counts as the newest
    this.kept.set(address, entry);
    while (this.kept.size > MOST_KEPT) this.kept.delete(this.kept.keys().next().value);
    return entry;
  }

  // Why an image cannot be shown, in the server's words.
  static async reason(address) {
    try {
      const response = await fetch(address);
      return response.ok ? "The browser cannot show this image." : (await response.json()).error.message;
    } catch {
      return "The server does not answer.";
    }
  }
}
