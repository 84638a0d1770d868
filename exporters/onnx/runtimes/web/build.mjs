/** Copies everything the page needs into dist/: our own modules, onnxruntime-web, uPlot. Nothing is bundled or minified. */

import { cpSync, mkdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const HERE = dirname(fileURLToPath(import.meta.url));
const DIST = join(HERE, "dist");
/** Modules of the Node package that only Node can run. */
const NODE_ONLY = ["index.js", "folder.js", "crypto-node.js"];

const packages = join(HERE, "node_modules");
/** Where it lies -> where it goes. */
const COPIES = [
  [join(HERE, "index.html"), "index.html"],
  [join(HERE, "page.css"), "page.css"],
  [join(HERE, "src"), "page"],
  [join(HERE, "../node/src"), "sri-guard"],
  [join(packages, "onnxruntime-web/dist/ort.wasm.bundle.min.mjs"), "ort/ort.mjs"],
  [join(packages, "onnxruntime-web/dist/ort-wasm-simd-threaded.wasm"), "ort/ort.wasm"],
  [join(packages, "uplot/dist/uPlot.esm.js"), "uplot/uPlot.js"],
  [join(packages, "uplot/dist/uPlot.min.css"), "uplot/uPlot.css"],
  [join(packages, "uplot/LICENSE"), "uplot/LICENSE"],
];

rmSync(DIST, { recursive: true, force: true });
for (const [from, to] of COPIES) {
  const target = join(DIST, to);
  mkdirSync(dirname(target), { recursive: true });
  cpSync(from, target, { recursive: true, filter: (file) => !NODE_ONLY.includes(basename(file)) });
}
const { version } = JSON.parse(readFileSync(join(packages, "onnxruntime-web/package.json"), "utf8"));
const size = statSync(join(DIST, "ort/ort.wasm")).size;
process.stdout.write(`dist/: the page, with onnxruntime-web ${version} (${(size / 2 ** 20).toFixed(0)} MiB)\n`);
