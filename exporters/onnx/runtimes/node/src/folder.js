/** A bundle on disk, a folder or a zip file, read whole before anything in it is believed. Node only. */

import { constants } from "node:fs";
import { lstat, open, readdir, stat } from "node:fs/promises";
import { join } from "node:path";

import { brief, BundleError, SriError } from "./errors.js";
import { checkSizes, LARGEST_BUNDLE, MANIFEST } from "./members.js";
import { unpack } from "./zip.js";

/** What was a plain file a moment ago may be a link or a pipe by now. Windows has neither flag. */
const CAREFUL = (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0);

/**
 * The files of a bundle folder or zip file.
 * @param {string} path
 * @returns {Promise<import("./members.js").Members>}
 * @throws {BundleError} nothing is there, it is no bundle, it cannot be read, or it is too large
 */
export async function readPath(path) {
  try {
    if ((await stat(path)).isDirectory()) return await readFolder(path);
    return unpack(await readFile(path, LARGEST_BUNDLE, constants.O_NONBLOCK ?? 0), path);
  } catch (err) {
    if (err instanceof SriError) throw err;
    throw new BundleError(`${path}: cannot be read (${brief(err)}). Give a bundle folder or zip file.`, err);
  }
}

/** @param {string} path */
async function readFolder(path) {
  const names = await readdir(path);
  if (!names.includes(MANIFEST) && names.includes("bundle")) {
    throw new BundleError(`${path}: a guard's folder, not a bundle. Its bundle is ${join(path, "bundle")}.`);
  }
  /** @type {Map<string, number>} */
  const sizes = new Map();
  for (const name of names) {
    const found = await lstat(join(path, name));
    if (!found.isFile()) {
      throw new BundleError(
        `${path}: ${name} is not a plain file, and a bundle holds plain files only. Copy the bundle again.`,
      );
    }
    sizes.set(name, found.size);
  }
  checkSizes(sizes, path);
  /** @type {import("./members.js").Members} */
  const files = new Map();
  for (const [name, size] of sizes) files.set(name, await readFile(join(path, name), size, CAREFUL));
  return files;
}

/**
 * A plain file of at most so many bytes, as it is when it is opened.
 * @param {string} path
 * @param {number} most
 * @param {number} flags
 */
async function readFile(path, most, flags) {
  const handle = await open(path, constants.O_RDONLY | flags);
  try {
    const found = await handle.stat();
    if (!found.isFile() || found.size > most) {
      throw new BundleError(`${path}: not a plain file of at most ${most} bytes. Give a bundle folder or zip file.`);
    }
    const content = new Uint8Array(found.size);
    let at = 0;
    while (at < content.length) {
      const { bytesRead } = await handle.read(content, at, content.length - at, at);
      if (!bytesRead) throw new BundleError(`${path}: shrank while it was read. Copy the bundle again.`);
      at += bytesRead;
    }
    return content;
  } finally {
    await handle.close();
  }
}
