/** Numbers and names that manifests of either format share. */

/** Score of a row that cannot be scored. */
export const INVALID_SCORE = Math.fround(3e38);
/** Rows of one graph's golden vectors. */
export const MOST_GOLDEN = 256;
/** Cells times layers times width of a bundle with a graph that takes activations. */
export const LARGEST_PROBE = 2 ** 25;
/** Graphs with the anchors inside. */
export const SENSITIVE = ["full", "step"];
