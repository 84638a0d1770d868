/** What somebody does who changes a bundle on purpose: mends every hash afterwards. */

import { createHash } from "node:crypto";

const sha256 = (content) => createHash("sha256").update(content).digest("hex");

/**
 * @param {Map<string, Uint8Array>} files
 * @param {Record<string, Uint8Array>} changed  new contents
 * @param {(manifest: any) => void} [change]  edits the manifest
 * @param {(text: string) => string} [rewrite]  edits its text
 * @returns {Promise<Map<string, Uint8Array>>}
 */
export async function resealed(files, changed, change = () => {}, rewrite = (text) => text) {
  const members = new Map([...files, ...Object.entries(changed)]);
  const manifest = JSON.parse(new TextDecoder().decode(members.get("manifest.json")));
  for (const [name, content] of members) {
    if (manifest.files[name]) manifest.files[name] = { sha256: sha256(content), size: content.length };
  }
  change(manifest);
  manifest.digest = "0".repeat(64);
  const text = `${rewrite(JSON.stringify(manifest, null, 1))}\n`;
  const sealed = text.replace(`"digest": "${manifest.digest}"`, `"digest": "${sha256(text)}"`);
  return members.set("manifest.json", new TextEncoder().encode(sealed));
}
