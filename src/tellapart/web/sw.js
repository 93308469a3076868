// Keeps all files of this folder, so that the page works offline after the first visit.

const FILES = FILES_OF_THE_EXPORT;
const MINE = `tellapart ${registration.scope} `; // other pages of this host have caches of their own
const KEPT = `${MINE}DIGEST_OF_THE_EXPORT`;

addEventListener("install", (event) => event.waitUntil(keep()));
addEventListener("activate", (event) => event.waitUntil(forget()));
addEventListener("fetch", (event) => {
  if (event.request.method === "GET") event.respondWith(answer(event.request));
});

async function keep() {
  const cache = await caches.open(KEPT);
  // "no-cache" asks the host whether a file has changed; a kept file of an older export never mixes in.
  await cache.addAll(FILES.map((file) => new Request(file, { cache: "no-cache" })));
  await skipWaiting();
}

async function forget() {
  for (const name of await caches.keys()) {
    if (name.startsWith(MINE) && name !== KEPT) await caches.delete(name);
  }
  await clients.claim();
}

async function answer(request) {
  const cache = await caches.open(KEPT);
  return (await cache.match(request, { ignoreSearch: true, ignoreVary: true })) ?? fetch(request);
}
