// Reads graphs as lines of base64, prints one line for each: "ok" with bytes and nanoseconds per row, or why it is refused.
import { createInterface } from "node:readline";

const { BundleError, inspect } = await import(process.argv[2]);

for await (const line of createInterface({ input: process.stdin })) {
  try {
    const { size, time } = inspect(new Uint8Array(Buffer.from(line, "base64")), "graph");
    console.log(`ok ${size} ${time}`);
  } catch (err) {
    // Anything but a refusal is a bug, and shows.
    console.log(err instanceof BundleError ? err.message : `BUG ${err.stack}`);
  }
}
