/** Keeps the studio on this machine, so that it opens without a network. */

export {};

/** What the build writes in: the files to keep, and a digest of them. */
declare const STUDIO_FILES: readonly string[];
declare const STUDIO_DIGEST: string;

const scope = self as unknown as ServiceWorkerGlobalScope;
const NAME = `harmonizer-studio-${STUDIO_DIGEST}`;

scope.addEventListener("install", (event) => {
  event.waitUntil(
    caches.open(NAME).then((cache) => cache.addAll(STUDIO_FILES)).then(() => scope.skipWaiting()),
  );
});

scope.addEventListener("activate", (event) => {
  const old = (name: string) => name.startsWith("harmonizer-studio-") && name !== NAME;
  // The page that is open is not claimed: an isolated one in Firefox 140 then waits for its fetches
  // for ever. It has what it needs, and the next one comes from here.
  event.waitUntil(
    caches.keys().then((names) =>
      Promise.all(names.filter(old).map((name) => caches.delete(name))),
    ),
  );
});

scope.addEventListener("fetch", (event) => {
  if (event.request.method !== "GET" || !event.request.url.startsWith(scope.registration.scope)) return;
  event.respondWith(
    caches.open(NAME).then(async (cache) => {
      const kept = await cache.match(event.request, { ignoreSearch: true });
      if (kept) return kept;
      const fetched = await fetch(event.request);
      if (fetched.ok) await cache.put(event.request, fetched.clone());
      return fetched;
    }),
  );
});
