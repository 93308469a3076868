// Which key does what. Letters belong to the names of the classes, so no command is a letter.

export const HELP = [
  ["1 … 9", "give the class with this number"],
  ["first letters", "give the class that begins so, once only one does"],
  ["Enter", "keep the label, or take the first class that was typed"],
  ["Delete or -", "drop the image: it is left out of training"],
  ["Space", "decide later"],
  ["Backspace", "undo the last decision"],
  ["← and →", "move without a decision"],
  ["+", "zoom"],
  ["*", "heat map: what in the image speaks for the model's answer"],
  ["/", "grid"],
  ["Escape", "forget what was typed"],
  ["?", "this list"],
];

const COMMANDS = {
  Enter: "keep",
  Delete: "drop",
  "-": "drop",
  " ": "later",
  Backspace: "undo",
  ArrowLeft: "back",
  ArrowRight: "next",
  "+": "zoom",
  "=": "zoom",
  "*": "heat",
  "/": "grid",
  "?": "help",
  Escape: "escape",
};

// Classes whose names begin with digits are typed, so that there digits are letters too.
export function areNumbered(classes) {
  return !classes.some((name) => /^\d/.test(name));
}

// The command of a key, {digit} or {letter}; undefined for a key that means nothing.
export function commandOf(event, numbered) {
  if (event.isComposing || event.altKey) return undefined;
  if (event.ctrlKey || event.metaKey) return event.key === "z" ? "undo" : undefined;
  if (COMMANDS[event.key]) return COMMANDS[event.key];
  if ([...event.key].length !== 1) return undefined;
  if (numbered && /^[1-9]$/.test(event.key)) return { digit: Number(event.key) };
  return { letter: event.key };
}

export function beginningWith(typed, classes) {
  const start = typed.toLowerCase();
  return classes.filter((name) => name.toLowerCase().startsWith(start));
}
