/**
 * What can go wrong and be mended. The names are those of the Python SDK, and a message names the subject, the problem,
 * what was found, what is allowed, and the next step. Anything else that is thrown is a bug.
 */

/** Anything a user can mend. */
export class SriError extends Error {
  /**
   * @param {string} message
   * @param {unknown} [cause]
   */
  constructor(message, cause) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = new.target.name;
  }
}

/** An option is wrong. */
export class ConfigError extends SriError {}

/** A package that scoring needs is not installed. */
export class MissingRuntime extends SriError {}

/** Guard and signals were not made for each other. */
export class ModelMismatch extends SriError {}

/** A bundle is damaged, incomplete, hostile, of another format, or computes something else here. */
export class BundleError extends SriError {}

/** Signals do not fit the guard that should score them. */
export class ScoringError extends SriError {}

/**
 * One line about an error that somebody else threw.
 * @param {unknown} err
 * @returns {string}
 */
export function brief(err) {
  const text = err instanceof Error ? `${err.name}: ${err.message}` : String(err);
  const line = text.split("\n", 1)[0] ?? "";
  return line.length <= 160 ? line : `${line.slice(0, 157)}...`;
}
