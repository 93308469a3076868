// Where answers come from: the model in this folder, run by this browser.

import * as ort from "./ort.js";
import { answerOf, heatMap } from "./answer.js";
import { decode } from "./decode.js";

export const privacy =
  "Your images never leave this device: the model runs in this browser. After the first visit the page works offline.";

// One thread, because more need headers that a static host seldom sends.
ort.env.wasm.numThreads = 1;
ort.env.wasm.wasmPaths = { wasm: new URL("ort.wasm", import.meta.url).href };

let model;
let session;
let last = Promise.resolve(); // the run before: a session does one at a time

if ("serviceWorker" in navigator) navigator.serviceWorker.register("sw.js").catch(() => {});

export async function models() {
  model = await (await fetched("model.json")).json();
  session = load();
  session.catch(() => {}); // whoever asks for an answer gets the error
  return [model];
}

// The answer to one image, in the form of the server's API.
export async function classify(name, file) {
  const running = await session;
  const image = await decode(file, model.decoding);
  if (image.status !== "ok") return image;
  const { pixels, width, height, notes } = image;
  const outputs = await inTurn(() => {
    const input = new ort.Tensor("uint8", pixels, [1, height, width, 3]);
    const wanted = running.outputNames.filter((output) => output !== "embedding");
    return running.run({ pixels: input }, wanted);
  });
  const unfamiliarity = outputs.unfamiliarity.data[0];
  const answer = answerOf(model, outputs.probabilities.data, unfamiliarity);
  const map = outputs.activation_map;
  if (map) answer.map = heatMap(map.data, map.dims, model.preprocessing, width, height);
  return { ...answer, notes };
}

async function load() {
  const bytes = await (await fetched("model.onnx")).arrayBuffer();
  return ort.InferenceSession.create(bytes, { executionProviders: ["wasm"] });
}

async function fetched(name) {
  const response = await fetch(name);
  if (!response.ok) throw new Error(`${name} is missing beside this page (${response.status}).`);
  return response;
}

function inTurn(work) {
  const result = last.then(work);
  last = result.catch(() => {});
  return result;
}
