// The heat map of the model's answer, fetched when a person asks for it.

export class Heat {
  // find(id): an element of the page; shown(index): whether this image is still the one in view.
  constructor(find, shown) {
    Object.assign(this, { find, shown, asking: null, plain: null });
  }

  get isOn() {
    return this.find("heat").getAttribute("aria-pressed") === "true";
  }

  // Shows the map in the place of the image, or the image again.
  async toggle(index) {
    if (this.isOn) {
      const { plain } = this;
      this.forget();
      if (plain) this.find("frame").replaceChildren(plain);
      return;
    }
    const plain = this.find("frame").querySelector("img");
    if (plain?.dataset.item !== String(index)) return; // the image is not there yet
    this.find("heat").setAttribute("aria-pressed", "true");
    this.tell("The heat map is being made …");
    const found = await this.ask(index);
    if (!found || !this.isOn || !this.shown(index)) return;
    if (found.problem) {
      this.tell(`The heat map cannot be shown. ${found.problem}`);
      return;
    }
    const picture = new Image();
    picture.src = found.image;
    picture.alt = `The image with the heat map of the answer ${found.answer}`;
    await picture.decode().catch(() => {});
    if (!this.isOn || !this.shown(index)) return;
    picture.dataset.item = index;
    this.plain = plain;
    this.find("frame").replaceChildren(picture);
    this.tell(`The model answers ${found.answer}, ${(100 * found.probability).toFixed(1)} %. Orange places speak for it, and blue ones against it.`);
  }

  // {answer, probability, image}, or {problem}; undefined where the person has gone on.
  async ask(index) {
    const asking = new AbortController();
    this.asking = asking;
    try {
      const response = await fetch(`heat/${index}`, { signal: asking.signal });
      const answer = await response.json();
      return response.ok ? answer : { problem: answer.error.message };
    } catch {
      return asking.signal.aborted ? undefined : { problem: "The server does not answer." };
    }
  }

  // Another image is shown: the map of this one is no longer wanted.
  forget() {
    this.asking?.abort();
    Object.assign(this, { asking: null, plain: null });
    this.find("heat").setAttribute("aria-pressed", "false");
    this.tell("");
  }

  tell(text) {
    this.find("heat-text").textContent = text;
  }
}
