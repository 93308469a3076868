// A file → RGB pixels, or a named status: what a browser can do of tellapart's decode contract.
//
// Headers are read first, because a browser shows half of a file that was cut, and because an image
// beyond the limit must be refused before its pixels need memory.

const VISIBLE = 20; // levels of 255; an image with less contrast shows nothing
const ON_BLACK = 4 * VISIBLE; // what black has to show more than white
const LEFT_OUT = 0.001; // the share of the pixels at each end of the contrast

export async function decode(file, rules) {
  if (file.size === 0) return { status: "empty", detail: "The file has no content." };
  const bytes = new Uint8Array(await file.arrayBuffer());
  const head = headOf(bytes);
  if (head.status) return head;
  const refused = refusal(head, rules);
  if (refused) return refused;
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, {
      imageOrientation: "from-image",
      // Without a profile in the file a browser must not touch the colours.
      colorSpaceConversion: head.profile && rules.colour === "srgb" ? "default" : "none",
    });
  } catch {
    const detail = `The ${head.kind} data is damaged, or of a kind that this browser cannot read.`;
    return { status: "corrupt", detail };
  }
  try {
    const { width, height } = bitmap; // AVIF tells its size only now
    return refusal({ ...head, width, height }, rules) ?? pixelsOf(bitmap, head, rules);
  } finally {
    bitmap.close();
  }
}

function refusal({ kind, width, height, components, depth }, rules) {
  if (width * height > rules.max_pixels) {
    const detail = `It has ${width} × ${height} pixels; the limit is ${rules.max_pixels}.`;
    return { status: "too_large", detail };
  }
  if (components === 4) return unsupported("a JPEG in ink colours (CMYK)");
  if (depth > 8) return unsupported(`a ${kind} of ${depth} bits a channel`);
  return null;
}

function unsupported(what) {
  return {
    status: "unsupported",
    detail: `It is ${what}, which a browser reads otherwise than tellapart. Convert it first.`,
  };
}

// ── from a decoded image to pixels ──

function pixelsOf(bitmap, { kind }, rules) {
  let rgba = laidOn("white", bitmap);
  const notes = [];
  if (kind !== "JPEG" && rules.black_ground && contrastOf(rgba) < VISIBLE) {
    const onBlack = laidOn("black", bitmap); // an opaque image looks the same, and stays
    if (contrastOf(onBlack) >= ON_BLACK) {
      rgba = onBlack;
      notes.push("alpha_on_black");
    }
  }
  const count = bitmap.width * bitmap.height;
  const pixels = new Uint8Array(3 * count);
  for (let place = 0; place < count; place += 1) {
    pixels[3 * place] = rgba[4 * place];
    pixels[3 * place + 1] = rgba[4 * place + 1];
    pixels[3 * place + 2] = rgba[4 * place + 2];
  }
  return { status: "ok", notes, pixels, width: bitmap.width, height: bitmap.height };
}

function laidOn(colour, bitmap) {
  const canvas = document.createElement("canvas");
  canvas.width = bitmap.width;
  canvas.height = bitmap.height;
  // In main memory: a graphics card would round the colours in its own way.
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (!context) throw new Error("This browser has too little memory for an image of this size.");
  context.fillStyle = colour;
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(bitmap, 0, 0);
  return context.getImageData(0, 0, canvas.width, canvas.height).data;
}

// How far the darkest and the lightest thousandth are apart, in the channel where it is most.
function contrastOf(rgba) {
  const count = rgba.length / 4;
  const leftOut = Math.floor(count * LEFT_OUT);
  const reach = (channel) => {
    const counts = new Array(256).fill(0);
    for (let place = channel; place < rgba.length; place += 4) counts[rgba[place]] += 1;
    let [sum, low, high] = [0, 0, 0];
    for (const number of counts) {
      sum += number;
      if (sum <= leftOut) low += 1;
      if (sum < count - leftOut) high += 1;
    }
    return high - low;
  };
  return Math.max(reach(0), reach(1), reach(2));
}

// ── what the first bytes say ──

const KINDS = [
  ["JPEG", [0xff, 0xd8, 0xff], jpegHead],
  ["PNG", [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a], pngHead],
  ["GIF", [0x47, 0x49, 0x46, 0x38], gifHead],
  ["WebP", [0x52, 0x49, 0x46, 0x46, null, null, null, null, 0x57, 0x45, 0x42, 0x50], webpHead],
  ["BMP", [0x42, 0x4d], bmpHead],
  ["AVIF", [null, null, null, null, 0x66, 0x74, 0x79, 0x70, 0x61, 0x76, 0x69], () => ({})],
];
const UNREAD = [
  ["a TIFF image", [0x49, 0x49, 0x2a, 0x00]],
  ["a TIFF image", [0x4d, 0x4d, 0x00, 0x2a]],
  ["a HEIC image", [null, null, null, null, 0x66, 0x74, 0x79, 0x70, 0x68, 0x65, 0x69]],
  ["a JPEG 2000 image", [0x00, 0x00, 0x00, 0x0c, 0x6a, 0x50]],
  ["a JPEG XL image", [0xff, 0x0a]],
];

export function headOf(bytes) {
  const begins = (mark) => mark.every((byte, place) => byte === null || bytes[place] === byte);
  const found = KINDS.find(([, mark]) => begins(mark));
  if (!found) {
    const known = UNREAD.find(([, mark]) => begins(mark));
    return known
      ? unsupported(known[0])
      : { status: "not_an_image", detail: "Its first bytes are those of no image that a browser reads." };
  }
  const [kind, , read] = found;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  try {
    return { kind, ...read(bytes, view) };
  } catch (error) {
    if (error instanceof RangeError) return cut(kind);
    throw error;
  }
}

function cut(kind) {
  return { status: "truncated", detail: `The ${kind} data stops before the image is complete.` };
}

function textAt(bytes, at, count) {
  return String.fromCharCode(...bytes.subarray(at, at + count));
}

function jpegHead(bytes, view) {
  const head = { profile: false };
  let at = 2;
  while (at < bytes.length) {
    const marker = view.getUint16(at);
    if (marker === 0xffff) {
      at += 1; // a fill byte
      continue;
    }
    if (marker === 0xffda) break;
    const isFrame = marker >= 0xffc0 && marker <= 0xffcf && ![0xffc4, 0xffc8, 0xffcc].includes(marker);
    if (isFrame) {
      head.depth = view.getUint8(at + 4);
      head.height = view.getUint16(at + 5);
      head.width = view.getUint16(at + 7);
      head.components = view.getUint8(at + 9);
    }
    if (marker === 0xffe2 && textAt(bytes, at + 4, 11) === "ICC_PROFILE") head.profile = true;
    at += 2 + view.getUint16(at + 2);
  }
  return hasEnd(bytes, at) ? head : cut("JPEG");
}

function hasEnd(bytes, from) {
  for (let at = bytes.length - 2; at >= from; at -= 1) {
    if (bytes[at] === 0xff && bytes[at + 1] === 0xd9) return true;
  }
  return false;
}

function pngHead(bytes, view) {
  const head = { width: view.getUint32(16), height: view.getUint32(20), depth: view.getUint8(24) };
  for (let at = 8; ; ) {
    const size = view.getUint32(at);
    const name = textAt(bytes, at + 4, 4);
    if (name === "iCCP") head.profile = true;
    if (name === "IEND") return head;
    at += 12 + size; // beyond the end getUint32 throws, and the file is cut
  }
}

function gifHead(bytes, view) {
  return { width: view.getUint16(6, true), height: view.getUint16(8, true) };
}

function bmpHead(bytes, view) {
  return { width: Math.abs(view.getInt32(18, true)), height: Math.abs(view.getInt32(22, true)) };
}

function webpHead(bytes, view) {
  if (view.getUint32(4, true) + 8 > bytes.length) return cut("WebP");
  const kind = textAt(bytes, 12, 4);
  if (kind === "VP8X") {
    const side = (at) => 1 + view.getUint16(at, true) + (view.getUint8(at + 2) << 16);
    return { width: side(24), height: side(27), profile: Boolean(view.getUint8(20) & 0x20) };
  }
  if (kind === "VP8L") {
    const bits = view.getUint32(21, true);
    return { width: 1 + (bits & 0x3fff), height: 1 + ((bits >> 14) & 0x3fff) };
  }
  return { width: view.getUint16(26, true) & 0x3fff, height: view.getUint16(28, true) & 0x3fff };
}
