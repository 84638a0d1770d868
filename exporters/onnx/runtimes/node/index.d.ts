/** Score bundles of sri-sdk: load a guard, hand it signals, read verdicts. */

/** `clear` was judged and not suspicious; `unmonitored` could not be judged, and is never `clear`. */
export type Status = "clear" | "flagged" | "unmonitored";
/** `final` judges a finished generation once, `online` every length of a running one; `request` judges the request alone,
 * with guards that have a part for it. */
export type Rule = "final" | "online" | "request";
/** `sigma` in [0, 1]: 1 = internally compliant, 0 = refusal-aligned; `logit` is unbounded. */
export type Domain = "sigma" | "logit";

/** What a guard says of one generation, in the schemas that every runtime of the SDK shares; `schema` tells them apart. */
export type Verdict = Verdict1 | Verdict2;

/** What verdicts of both schemas say. */
interface AnyVerdict {
  readonly request_id: string;
  readonly status: Status;
  /** Codes: why it was flagged, the most suspicious part first; why something could not be judged completely
   * (`non_finite_signal`, `signal_out_of_range`, `incomplete_signal`, `score_not_finite`, `request_missing`);
   * `unknown_group`. */
  readonly reasons: readonly string[];
  /** Higher = more suspicious, in the unit of the detector, or of the part that decided; null where something could not
   * be judged and nothing was flagged. */
  readonly score: number | null;
  /** Flagged when score > threshold. */
  readonly threshold: number;
  /** Share of calibration generations at least as suspicious, counting this one; small = suspicious. Of several parts that
   * of the one that decided, times how small its share of the promised false alarms is, up to 1. */
  readonly p_value: number | null;
  /** Step that was done when the online rule first alarmed, counted from 0. */
  readonly first_alarm_step: number | null;
  readonly steps_seen: null;
  readonly steps_expected: null;
  /** Digest of the bundle. */
  readonly bundle: string;
  /** Soft fields of the fingerprint that differ and were accepted; `unverified` = there was no fingerprint. */
  readonly accepted: readonly string[];
}

/** Of bundles of format 1; its alarms have the code `score_above_threshold`. */
export interface Verdict1 extends AnyVerdict {
  readonly rule: "final" | "online";
  readonly schema: 1;
}

/** What one part of a guard says. */
export interface PartVerdict {
  readonly name: string;
  readonly status: Status;
  /** Higher = more suspicious, in the part's own unit; null where it could not be scored. */
  readonly score: number | null;
  /** Flagged when score > threshold. */
  readonly threshold: number;
  readonly p_value: number | null;
  /** Why it alarmed, or why it is unmonitored; null if clear. */
  readonly reason: string | null;
}

/** Of bundles of format 2: several parts, flagged if any is. */
export interface Verdict2 extends AnyVerdict {
  readonly rule: Rule;
  /** The guard judged this many steps only; null = all. */
  readonly judged_steps: number | null;
  /** How a finished generation ended inside; null = the guard does not say, or could not tell. */
  readonly ended: "refusing" | "complying" | null;
  /** Whose thresholds counted; null where there are no groups, or the row's is unknown. */
  readonly group: string | null;
  readonly parts: readonly PartVerdict[];
  readonly schema: 2;
}

/** N lists of T numbers (one tapped layer), or of T lists of C numbers; null = not finite. */
export type Cells = readonly (ArrayLike<number> | readonly (number | null)[] | readonly (readonly (number | null)[])[])[];

/** Signals as plain lists. One of `sigma` and `logit` must be there. */
export interface SignalLists {
  sigma?: Cells;
  logit?: Cells;
  /** One per generation, all different; left out = "0", "1", ... */
  ids?: readonly string[] | null;
  /** Cells filled so far, per generation, 0 to T; left out = all. */
  lengths?: readonly number[] | null;
  /** What made them, as the SDK writes it; left out = scored only with `unverified: true`. */
  fingerprint?: Record<string, unknown> | null;
  /** Names of the C columns, as the manifest has them; left out = not told. */
  columns?: readonly string[] | null;
  /** Of which group of prompts each is; left out or null = of none. */
  groups?: readonly (string | null)[] | null;
}

/** Signals, checked. */
export class Signals {
  readonly ids: string[];
  /** [N, T, C]. */
  readonly shape: [number, number, number];
  /** [N, T, C] row by row. */
  readonly sigma: Float32Array | null;
  readonly logit: Float32Array | null;
  readonly lengths: number[] | null;
  readonly fingerprint: Record<string, unknown> | null;
  readonly columns: string[] | null;
  readonly groups: (string | null)[] | null;
  /** N. */
  readonly length: number;
  /** The array a detector reads. @throws ScoringError logits are needed and cannot be had from sigma */
  in(domain: Domain, subject: string): Float32Array;
  /** @throws ScoringError the lists do not fit together */
  static from(lists: SignalLists, subject?: string): Signals;
}

/** Reads a .npz, .npy, .jsonl or .json file; its name says which. @throws ScoringError unreadable */
export function readSignals(name: string, content: Uint8Array, domain?: Domain): Promise<Signals>;

export interface ScoreOptions {
  /** Default: `final`. */
  rule?: Rule;
  /** Soft fields of the fingerprint that may differ. */
  accept?: readonly string[];
  /** Score signals that do not say what made them. */
  unverified?: boolean;
  /** What the signals are, for messages. */
  subject?: string;
}

/** How suspicious a running generation is after its newest cell. */
export type Prefix = Prefix1 | Prefix2;

export interface Prefix1 {
  /** Cells so far. */
  length: number;
  /** Standardised for this length, to compare with `thresholds.online`; null = cannot be scored. */
  score: number | null;
  /** Whether the online rule alarms at this length. */
  alarm: boolean;
}

/** The same to each part. */
export interface Prefix2 {
  /** Cells so far. */
  length: number;
  /** Whether a part alarms at this length. */
  alarm: boolean;
  parts: { name: string; score: number | null; alarm: boolean }[];
}

interface AnyStream<P extends Prefix, V extends Verdict> {
  /** Cells so far. */
  readonly length: number;
  /** Takes the next cell: one number, or one per tapped layer, in the domain `manifest.signal.domain`. */
  push(cell: number | null | readonly (number | null)[]): Promise<P>;
  /** The online rule's verdict on what was seen so far. */
  verdict(): V;
}
export type Stream = Stream1 | Stream2;
export type Stream1 = AnyStream<Prefix1, Verdict1>;
export type Stream2 = AnyStream<Prefix2, Verdict2>;

export interface StreamOptions {
  /** What makes the cells. */
  fingerprint?: Record<string, unknown> | null;
  /** Soft fields of the fingerprint that may differ. */
  accept?: readonly string[];
  /** Allow cells that do not say what makes them. */
  unverified?: boolean;
}
export interface StreamOptions2 extends StreamOptions {
  /** The request's number, in the domain `manifest.signal.domain`; left out or null = it has none. */
  request?: number | null;
  /** Of which group of prompts it is; left out or null = of none. */
  group?: string | null;
}

/** Per row; with bundles of format 2 per row and part, row by row. */
export interface Scored {
  score: Float32Array;
  valid: boolean[];
}

/** What guards of both formats do. */
interface AnyGuard<V extends Verdict> {
  /** Names this very bundle. */
  readonly digest: string;
  /** Id of the key whose signature was checked; null = no key was given. */
  readonly signedBy: string | null;
  /** Largest share of its tolerance that a golden vector used, per graph: 1 would be the limit. */
  readonly parity: Record<string, number>;
  /** One verdict per generation, in order. @throws ScoringError, ModelMismatch, ConfigError */
  score(signals: Signals | SignalLists, options?: ScoreOptions): Promise<V[]>;
  /** The same with the online rule. */
  scoreOnline(signals: Signals | SignalLists, options?: Omit<ScoreOptions, "rule">): Promise<V[]>;
  /** [B, T, C] finished generations, unchecked -> scores and whether they count. */
  scoreFinal(signals: Float32Array): Promise<Scored>;
  /** [B, T, C] running generations with B lengths -> standardised scores and whether they count. */
  scorePrefix(signals: Float32Array, lengths: ArrayLike<number>): Promise<Scored>;
  /** Frees the runtime's memory. */
  dispose(): Promise<void>;
}

/** A bundle, loaded and self-tested; `format` tells the two kinds apart. Calls may overlap. */
export type Guard = Guard1 | Guard2;

/** Of format 1: one detector. */
export interface Guard1 extends AnyGuard<Verdict1> {
  readonly format: 1;
  readonly manifest: Manifest1;
  readonly thresholds: { readonly final: number; readonly online: number };
  /** A generation that is still running. @throws ScoringError, ModelMismatch */
  stream(id?: string, options?: StreamOptions): Stream1;
}

/** Of format 2: K parts. */
export interface Guard2 extends AnyGuard<Verdict2> {
  readonly format: 2;
  readonly manifest: Manifest2;
  /** Rule -> part -> group (`all` without groups) -> threshold. */
  readonly thresholds: Record<string, Record<string, Record<string, number>>>;
  /** A generation that is still running. @throws ScoringError, ModelMismatch */
  stream(id?: string, options?: StreamOptions2): Stream2;
}

export interface LoadOptions {
  /** Who must have signed the bundle: an Ed25519 public key as PEM text, or its bytes. */
  publicKey?: string | Uint8Array;
  /** The digest the bundle must have, as hex. */
  digest?: string;
  /** Node: `native` (onnxruntime-node, the default), `wasm` (onnxruntime-web), or such a module. */
  backend?: "native" | "wasm" | object;
  /** What the bundle is, for messages. */
  subject?: string;
}

/** Where a bundle may come from: a path (Node only), the bytes of a zip, or the files by name. */
export type BundleSource = string | URL | Uint8Array | ArrayBuffer | Map<string, Uint8Array>;

/** Loads a bundle: checked, inspected, self-tested. @throws BundleError, ConfigError, MissingRuntime */
export function loadGuard(source: BundleSource, options?: LoadOptions): Promise<Guard>;

/** What can be said of a bundle without a runtime: everything up to the hashes. @throws BundleError, ConfigError */
export function checkBundle(
  source: BundleSource,
  options?: LoadOptions,
): Promise<{ subject: string; manifest: Manifest; files: Map<string, Uint8Array>; signedBy: string | null }>;

/** Refuses an ONNX file that no portable bundle may hold; says what one row takes at most, in bytes and nanoseconds of a
 * slow core. @throws BundleError */
export function inspect(content: Uint8Array, subject: string, entry?: GraphEntry): { size: number; time: number };

/** Anything a user can mend. */
export class SriError extends Error {}
export class ConfigError extends SriError {}
export class MissingRuntime extends SriError {}
export class ModelMismatch extends SriError {}
export class BundleError extends SriError {}
export class ScoringError extends SriError {}

export interface PackedArray {
  readonly dtype: "float32" | "int64" | "bool";
  readonly shape: readonly number[];
  readonly base64: string;
}
export interface TensorEntry {
  readonly dtype: "float32" | "int64" | "bool";
  readonly shape: readonly (number | string)[];
}
export interface GraphEntry {
  readonly file: string;
  readonly inputs: Record<string, TensorEntry>;
  readonly outputs: Record<string, TensorEntry>;
}
/** A threshold, and what it was taken from. */
export interface Calibration {
  readonly value: number;
  readonly n: number;
  readonly rank: number;
  readonly tolerance: number;
  readonly scores: PackedArray;
}
export interface RuleEntry extends Calibration {
  readonly alpha: number;
  readonly delta: number | null;
}
export interface DetectorEntry {
  readonly name: string;
  readonly config: Record<string, unknown>;
  readonly tier: "portable" | "python";
}
export interface Fingerprint {
  readonly hard: Record<string, unknown>;
  readonly soft: Record<string, unknown>;
}

/** `manifest.json` of a bundle; `format` tells the two kinds apart. */
export type Manifest = Manifest1 | Manifest2;

/** What manifests of both formats hold. */
interface AnyManifest {
  readonly digest: string;
  readonly files: Record<string, { readonly sha256: string; readonly size: number }>;
  readonly graphs: Record<string, GraphEntry>;
  readonly sensitive: boolean;
  readonly tau: number;
  readonly eps: number;
  readonly pooling: unknown;
  readonly grid: unknown;
  readonly fingerprint: Fingerprint;
  readonly fingerprint_digest: string;
  readonly invalid_score: number;
  readonly rates: readonly { name: string; k: number; n: number; low: number; high: number }[];
  readonly golden: Record<
    string,
    { inputs: Record<string, PackedArray>; score: PackedArray; valid: PackedArray; tolerance: PackedArray }
  >;
  readonly producer: Record<string, string>;
}

export interface Manifest1 extends AnyManifest {
  readonly format: 1;
  readonly signal: {
    readonly cells: number;
    readonly layers: number;
    readonly hidden_size: number;
    readonly domain: Domain;
    readonly low: number;
    readonly high: number;
  };
  readonly anchors: { readonly sha256: string; readonly provenance: Record<string, unknown> };
  readonly detector: DetectorEntry;
  readonly rules: { readonly final: RuleEntry; readonly online: RuleEntry };
}

export interface Manifest2 extends AnyManifest {
  readonly format: 2;
  readonly signal: {
    readonly cells: number;
    readonly hidden_size: number;
    readonly domain: Domain;
    readonly columns: readonly {
      readonly name: string;
      readonly kind: "sri" | "request";
      readonly layers: readonly ("final" | number)[];
      readonly low: number;
      readonly high: number;
    }[];
  };
  readonly anchors: {
    readonly sha256: string;
    readonly provenance: Record<string, unknown>;
    readonly request: { readonly sha256: string; readonly provenance: Record<string, unknown> } | null;
  };
  readonly parts: readonly {
    readonly name: string;
    readonly columns: readonly string[];
    readonly reason: string;
    readonly detector: DetectorEntry;
  }[];
  readonly tier: "portable" | "python";
  readonly groups: readonly string[];
  readonly rules: Record<
    string,
    {
      readonly alpha: number;
      readonly parts: Record<
        string,
        { readonly alpha: number; readonly delta: number | null; readonly groups: Record<string, Calibration> }
      >;
    }
  >;
  readonly horizon: { readonly steps: number } | null;
  readonly ended: { readonly column: string; readonly value: number } | null;
}
