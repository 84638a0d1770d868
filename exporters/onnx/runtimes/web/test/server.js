/** The folder of the page over http, on this machine only, with a list of what was asked for. */

import { createReadStream, existsSync, statSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";

const TYPES = { ".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript", ".css": "text/css", ".wasm": "application/wasm" };

/**
 * @param {string} folder
 * @returns {Promise<{ url: string, asked: string[], close: () => void }>}
 */
export async function serve(folder) {
  const asked = [];
  const server = createServer((request, answer) => {
    const name = normalize(decodeURIComponent(new URL(request.url, "http://x").pathname));
    const file = join(folder, name === "/" ? "index.html" : name);
    asked.push(`${request.method} ${name}`);
    if (request.method !== "GET" || !existsSync(file) || !statSync(file).isFile()) {
      answer.writeHead(404).end();
      return;
    }
    answer.writeHead(200, { "content-type": TYPES[extname(file)] ?? "application/octet-stream" });
    createReadStream(file).pipe(answer);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { url: `http://127.0.0.1:${server.address().port}/`, asked, close: () => server.close() };
}
