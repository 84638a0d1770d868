/** Shuts the page off: after this, no script of it can send anything anywhere, not even to where it came from. */

/**
 * Fetches the runtime while the page still may, then forbids itself every further request.
 * @returns {Promise<ArrayBuffer>} the runtime's WebAssembly
 */
export async function fetchAndLock() {
  const answer = await fetch(new URL("../ort/ort.wasm", import.meta.url));
  if (!answer.ok) throw new Error(`the runtime cannot be loaded (${answer.status})`);
  const binary = await answer.arrayBuffer();
  // A policy that is added later holds from then on, and can only forbid more.
  const meta = document.createElement("meta");
  meta.httpEquiv = "Content-Security-Policy";
  meta.content = "connect-src 'none'; img-src 'none'; font-src 'none'; media-src 'none'; frame-src 'none'; worker-src 'none'";
  document.head.append(meta);
  return binary;
}
