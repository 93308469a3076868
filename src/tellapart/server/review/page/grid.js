// The grid: many small images, to sweep through and decide on together.

const PER_PAGE = 48;

export class Grid {
  // review: the items and what is decided; changed() is called after a decision.
  constructor(find, review, changed) {
    Object.assign(this, { find, review, changed, start: 0, selected: new Set() });
    find("grid-proposal").addEventListener("click", () => this.give("relabel"));
    find("grid-drop").addEventListener("click", () => this.give("drop"));
    find("grid-later").addEventListener("click", () => this.give("later"));
    find("grid-keep").addEventListener("click", () => this.keepOthers());
    find("grid-back").addEventListener("click", () => this.turn(-PER_PAGE));
    find("grid-next").addEventListener("click", () => this.turn(PER_PAGE));
    find("tiles").addEventListener("keydown", (event) => this.move(event));
  }

  // Begin at the place of the stream.
  open(place) {
    this.start = PER_PAGE * Math.floor(Math.max(place, 0) / PER_PAGE);
    this.show();
  }

  get page() {
    return this.review.visible.slice(this.start, this.start + PER_PAGE);
  }

  turn(step) {
    const count = this.review.visible.length;
    this.start = Math.max(0, Math.min(this.start + step, PER_PAGE * Math.floor((count - 1) / PER_PAGE)));
    this.show();
    this.find("tiles").querySelector("button")?.focus();
  }

  show() {
    this.selected.clear();
    this.find("tiles").replaceChildren(...this.page.map((item) => this.tile(item)));
    this.tell();
  }

  tile(item) {
    const { label, proposal, path } = this.review.item(item);
    const [entry, button, image, caption] = ["li", "button", "img", "span"].map((tag) => document.createElement(tag));
    button.type = "button";
    button.dataset.item = item;
    button.setAttribute("aria-pressed", "false");
    image.src = this.review.address(item, "small");
    image.alt = "";
    image.loading = "lazy";
    const names = proposal === null ? (label ?? "no label") : `${label ?? "no label"} → ${proposal}?`;
    const decision = this.review.words(item);
    caption.textContent = decision ? `${names} (${decision})` : names;
    button.title = path;
    button.append(image, caption);
    button.addEventListener("click", () => this.toggle(button, item));
    entry.append(button);
    return entry;
  }

  toggle(button, item) {
    if (!this.selected.delete(item)) this.selected.add(item);
    button.setAttribute("aria-pressed", String(this.selected.has(item)));
    this.tell();
  }

  tell() {
    const count = this.review.visible.length;
    const last = Math.min(this.start + PER_PAGE, count);
    this.find("grid-place").textContent = count
      ? `Images ${this.start + 1} to ${last} of ${count.toLocaleString("en")}; ${this.selected.size} selected`
      : "No image is left here.";
    for (const id of ["grid-proposal", "grid-drop", "grid-later"]) this.find(id).disabled = !this.selected.size;
    this.find("grid-keep").disabled = !this.others().length;
  }

  others() {
    return this.page.filter(
      (item) => !this.selected.has(item) && !this.review.isDecided(item) && this.review.item(item).label !== null,
    );
  }

  give(action) {
    const items = [...this.selected].filter((item) => action !== "relabel" || this.review.item(item).proposal !== null);
    this.decide(items, action);
  }

  keepOthers() {
    this.decide(this.others(), "keep");
  }

  decide(items, action) {
    if (!items.length) return;
    this.review.decide(items, action);
    this.show();
    this.changed();
  }

  move(event) {
    const tiles = [...this.find("tiles").querySelectorAll("button")];
    const at = tiles.indexOf(document.activeElement);
    if (at < 0) return;
    const across = tiles.filter((tile) => tile.offsetTop === tiles[0].offsetTop).length;
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -across, ArrowDown: across }[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    tiles[Math.max(0, Math.min(at + step, tiles.length - 1))].focus();
  }
}
