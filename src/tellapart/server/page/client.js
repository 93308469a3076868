// Where answers come from: the server that this page came from.

export const privacy =
  "Images go to this server and nowhere else. It keeps none of them, and this page forgets them when you close it.";

export async function models() {
  return (await read(await fetch("/v1/models"))).models;
}

// The answer to one image, as the server's API gives it.
export async function classify(model, image) {
  for (let tries = 0; ; tries += 1) {
    const response = await fetch(`/v1/models/${encodeURIComponent(model)}/predict?map=1`, {
      method: "POST",
      headers: { "Content-Type": "application/octet-stream" },
      body: image,
    });
    if (response.status === 429 && tries < 20) {
      const wait = Number(response.headers.get("Retry-After") ?? 1);
      await new Promise((resolve) => setTimeout(resolve, 1000 * wait));
      continue;
    }
    return read(response);
  }
}

async function read(response) {
  let body;
  try {
    body = await response.json();
  } catch {
    throw new Error(`The server answered with status ${response.status}.`);
  }
  if (body.error) throw new Error(body.error.message);
  return body;
}
