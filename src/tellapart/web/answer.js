// From the outputs of the model to an answer, by the rule in its metadata. The arithmetic is that of
// tellapart's Python.

const FOR = [255, 96, 0]; // of the places that speak for the answer
const AGAINST = [0, 104, 255];
const HEAT_SIDE = 224;

export function answerOf(model, probabilities, unfamiliarity) {
  const best = bestClass(probabilities, model.rule.weights);
  const answer = {
    status: "ok",
    decision: decide(model, probabilities, best, unfamiliarity),
    answer: model.classes[best],
    confidence: probabilities[best],
    probabilities: Object.fromEntries(model.classes.map((name, place) => [name, probabilities[place]])),
  };
  if (model.detects_unfamiliar) answer.unfamiliarity = unfamiliarity;
  return answer;
}

function bestClass(probabilities, weights) {
  let best = 0;
  let most = -Infinity;
  probabilities.forEach((share, place) => {
    // Rounded as Python rounds it, so that ties fall the same way.
    const ranked = weights.length ? Math.fround(share * Math.fround(weights[place])) : share;
    if (ranked > most) [best, most] = [place, ranked];
  });
  return best;
}

function decide(model, probabilities, best, unfamiliarity) {
  // Written so that NaN never leads to an answer.
  if (model.detects_unfamiliar && !(unfamiliarity <= 1)) return "unfamiliar";
  const { threshold, costs } = model.rule;
  if (costs) {
    const wrong = sumOf(probabilities, costs.wrong) - probabilities[best] * costs.wrong[best];
    return wrong <= sumOf(probabilities, costs.unanswered) ? "answered" : "unsure";
  }
  if (threshold === null) return "answered";
  return probabilities[best] >= Math.fround(threshold) ? "answered" : "unsure";
}

function sumOf(probabilities, costs) {
  return probabilities.reduce((sum, share, place) => sum + share * costs[place], 0);
}

// A transparent PNG in base64, and the rectangle of the image that it covers, in shares of its sides.
export function heatMap(values, dims, preprocessing, width, height) {
  const [across, down] = [dims[2], dims[1]];
  const most = Math.max(...values.map(Math.abs), 1e-9);
  const small = canvasOf(across, down);
  const context = small.getContext("2d");
  const image = context.createImageData(across, down);
  values.forEach((value, place) => {
    image.data.set([...(value < 0 ? AGAINST : FOR), (191 * Math.abs(value)) / most], 4 * place);
  });
  context.putImageData(image, 0, 0);
  const large = canvasOf(HEAT_SIDE, HEAT_SIDE);
  large.getContext("2d").drawImage(small, 0, 0, HEAT_SIDE, HEAT_SIDE);
  const seen = square(preprocessing, width, height);
  return {
    png: large.toDataURL("image/png").split(",")[1],
    left: seen.left / width,
    top: seen.top / height,
    width: seen.width / width,
    height: seen.height / height,
  };
}

function canvasOf(width, height) {
  return Object.assign(document.createElement("canvas"), { width, height });
}

// What the network sees of an image, in its pixels. With "pad" it reaches beyond the image.
export function square(preprocessing, width, height) {
  const { mode, share_permille: share, spare_small: spare, size_px: size } = preprocessing;
  if (mode === "squash") return { left: 0, top: 0, width, height };
  let side = Math.max(width, height);
  if (mode === "crop") {
    const short = Math.min(width, height);
    side = Math.max(1, Math.floor((short * share + 500) / 1000));
    if (spare) side = Math.max(side, Math.min(short, size));
  }
  const before = (whole) => (mode === "pad" ? -Math.floor((side - whole) / 2) : Math.floor((whole - side) / 2));
  return { left: before(width), top: before(height), width: side, height: side };
}
