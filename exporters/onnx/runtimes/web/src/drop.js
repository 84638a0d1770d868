/** Files that somebody chose or dropped, folders included. */

/** A bundle has a handful of files; more than this is the wrong folder. */
const MOST = 100;

/**
 * Lets files be dropped on an element.
 * @param {HTMLElement} zone
 * @param {(files: File[]) => void} take
 */
export function acceptDrops(zone, take) {
  let depth = 0;
  const mark = (by) => {
    depth = Math.max(0, depth + by);
    zone.classList.toggle("over", depth > 0);
  };
  zone.addEventListener("dragenter", (event) => {
    event.preventDefault();
    mark(1);
  });
  zone.addEventListener("dragleave", () => mark(-1));
  zone.addEventListener("dragover", (event) => event.preventDefault());
  zone.addEventListener("drop", async (event) => {
    event.preventDefault();
    event.stopPropagation();
    mark(-depth);
    // Entries must be taken before the first wait: the list is emptied afterwards.
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
    const files = [...event.dataTransfer.files];
    take(entries.length ? (await Promise.all(entries.map(filesOf))).flat() : files);
  });
}

/** A file beside the zones must not replace the page. */
export function ignoreOtherDrops() {
  for (const kind of ["dragover", "drop"]) window.addEventListener(kind, (event) => event.preventDefault());
}

/** A file itself, or the files that lie directly in a folder. */
async function filesOf(entry) {
  if (entry.isFile) return [await new Promise((resolve, reject) => entry.file(resolve, reject))];
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    found.push(...some);
    if (!some.length || found.length > MOST) break;
  }
  return (await Promise.all(found.filter((one) => one.isFile).map(filesOf))).flat();
}

/**
 * The bytes of files, by name.
 * @param {File[]} files
 * @returns {Promise<Map<string, Uint8Array>>}
 */
export async function contentOf(files) {
  const pairs = files.slice(0, MOST).map(async (file) => [file.name, new Uint8Array(await file.arrayBuffer())]);
  return new Map(await Promise.all(pairs));
}
