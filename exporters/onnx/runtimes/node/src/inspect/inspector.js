/**
 * Reads an ONNX file and refuses it, or lets onnxruntime have it. Nothing in it is executed, and nothing is believed.
 *
 * A runtime follows references to other files, runs loops that never end and allocates what a file of 168 bytes asks
 * for. So every graph is first read here, byte by byte: only fields of ONNX that a bundle needs, only operators and
 * attributes of the tier `portable`, no subgraphs, no functions, no data elsewhere, constants exactly as large as their
 * shape says, every name defined once and before it is used, inputs and outputs as the manifest promises them, every
 * tensor of a shape that is known and small, and all of them together a bound on memory and time per row. Whatever goes
 * wrong in here is a reason to refuse.
 *
 * The Python SDK has the same checks (`sri_sdk/scoring/inspect/inspector.py`); a test holds both against the same damaged files.
 */

import { brief, BundleError } from "../errors.js";
import { Dtypes } from "./dtypes.js";
import { svmSize, treesSize } from "./learned.js";
import * as onnx from "./messages.js";
import { allowed, attributeField, BOOL, FLOAT, INT64, IR, OPSETS, results, SVM, TREES, widthOf } from "./operators.js";
import { BATCH, Shapes } from "./shapes.js";
import { number, sizes, span, spans, Tensors } from "./tensors.js";
import { asSigned, read, Refused, text } from "./wire.js";
import { affordable, Work } from "./work.js";

/** Bytes of one file. */
const LARGEST_GRAPH = 512 * 2 ** 20;
/** Metadata with which a model may set options of onnxruntime. */
const CONFIGURES_RUNTIME = "ort_config";
const TYPE_NUMBER = { float32: FLOAT, int64: INT64, bool: BOOL };

/** @typedef {import("./wire.js").Fields} Fields */
/** @typedef {import("./tensors.js").Edge} Edge */
/** @typedef {{ field: string, value: import("./wire.js").Value[] }} Attribute */

/**
 * Refuses a graph that is not one a portable bundle may hold.
 * @param {Uint8Array} content  the ONNX file
 * @param {string} subject  what it is, for the message
 * @param {import("../../index.js").GraphEntry} [entry]  the edges the manifest promises; none = any
 * @returns {Work} what one row takes at most
 * @throws {BundleError} refused; the message says why
 */
export function inspect(content, subject, entry) {
  try {
    if (content.length > LARGEST_GRAPH) throw new Refused(`${content.length} bytes, allowed: up to ${LARGEST_GRAPH}`);
    return new Inspection(content).model(entry);
  } catch (err) {
    const why = err instanceof Refused ? err.message : `not a readable ONNX file (${brief(err)})`;
    throw new BundleError(
      `${subject}: not a graph of tier portable: ${why}. It was not loaded; export the guard again, ` +
        "and load bundles only from whom you trust.",
      err,
    );
  }
}

class Inspection extends Tensors {
  /** @param {Uint8Array} data */
  constructor(data) {
    super(data);
    /** @type {Set<string>} */
    this.opsets = new Set();
  }

  /**
   * @param {import("../../index.js").GraphEntry} [entry]
   * @returns {Work}
   */
  model(entry) {
    const found = read(this.data, [0, this.data.length], onnx.MODEL);
    const ir = number(found, "ir_version");
    const graph = span(found, "graph");
    if (ir !== IR) throw new Refused(`IR version ${ir}, allowed: ${IR}`);
    for (const one of spans(found, "opset_import")) this.opset(read(this.data, one, onnx.OPSET));
    for (const one of spans(found, "metadata_props")) {
      if (this.text(read(this.data, one, onnx.PROPERTY), "key") === CONFIGURES_RUNTIME) {
        throw new Refused(`its metadata "${CONFIGURES_RUNTIME}" would configure the runtime`);
      }
    }
    return this.graph(read(this.data, graph, onnx.GRAPH), entry);
  }

  /** @param {Fields} found */
  opset(found) {
    const domain = this.text(found, "domain");
    const version = number(found, "version");
    const name = JSON.stringify(domain || "ai.onnx");
    if (!OPSETS.has(domain) || this.opsets.has(domain)) {
      throw new Refused(`operator set ${name} is unknown, or imported twice`);
    }
    if (version !== OPSETS.get(domain)) {
      throw new Refused(`version ${version} of operator set ${name}, allowed: ${OPSETS.get(domain)}`);
    }
    this.opsets.add(domain);
  }

  /**
   * @param {Fields} found
   * @param {import("../../index.js").GraphEntry} [entry]
   * @returns {Work}
   */
  graph(found, entry) {
    const inputs = this.edges(found, "input");
    const outputs = this.edges(found, "output");
    if (entry !== undefined) {
      promised("inputs", inputs, entry.inputs);
      promised("outputs", outputs, entry.outputs);
    }
    const held = spans(found, "initializer");
    const widths = [...inputs.values()].map(({ dtype, shape }) => ({ shape: sizes(shape), width: widthOf(dtype) }));
    affordable(this.data.length, held.reduce((sum, [start, end]) => sum + end - start, 0), widths);
    for (const one of held) {
      const [name, constant] = this.constant(one);
      if (!name || this.constants.has(name) || inputs.has(name)) {
        throw new Refused(`constant ${JSON.stringify(name)} has no name of its own`);
      }
      this.constants.set(name, constant);
    }
    const shapes = this.shapes(inputs);
    const types = [...inputs, ...this.constants].map(([name, { dtype }]) => /** @type {[string, number]} */ ([name, dtype]));
    const dtypes = new Dtypes(types, (name) => this.values(name));
    const work = new Work(widths);
    for (const one of spans(found, "node")) this.node(read(this.data, one, onnx.NODE), shapes, dtypes, work);
    for (const [name, { shape }] of outputs) {
      const known = shapes.known.get(name);
      if (known === undefined || inputs.has(name) || this.constants.has(name)) {
        throw new Refused(`output ${JSON.stringify(name)} is not the result of a node`);
      }
      if (known.join() !== sizes(shape).join()) {
        throw new Refused(`output ${JSON.stringify(name)} has another shape than it says, [${shape.join(", ")}]`);
      }
    }
    return work;
  }

  /** @param {Map<string, Edge>} inputs */
  shapes(inputs) {
    const known = new Map([...inputs].map(([name, { shape }]) => [name, /** @type {readonly number[]} */ (sizes(shape))]));
    const first = new Set([...inputs.values()].map(({ shape }) => shape[0]));
    if (first.size > 1 || [...known.values()].some((shape) => shape[0] !== BATCH)) {
      throw new Refused("the first dimension of every input must be the free one, under one name");
    }
    const shapes = new Shapes(known, (name) => this.values(name));
    // Constants come after the limit, which follows from the inputs: they are held in check by their own.
    for (const [name, constant] of this.constants) known.set(name, constant.shape);
    return shapes;
  }

  /**
   * @param {Fields} found
   * @param {Shapes} shapes
   * @param {Dtypes} dtypes
   * @param {Work} work
   */
  node(found, shapes, dtypes, work) {
    const domain = this.text(found, "domain");
    const op = this.text(found, "op_type");
    if (!allowed(domain, op)) {
      throw new Refused(`operator ${JSON.stringify(op)}${domain && ` of ${JSON.stringify(domain)}`} is not allowed`);
    }
    if (!this.opsets.has(domain)) {
      throw new Refused(`operator ${JSON.stringify(op)} comes from a set that is not imported`);
    }
    const inputs = spans(found, "input").map((one) => text(this.data, one));
    const outputs = spans(found, "output").map((one) => text(this.data, one));
    for (const name of inputs) {
      if (!shapes.known.has(name)) throw new Refused(`${op} reads ${JSON.stringify(name)}, which nothing before it makes`);
    }
    const [output, second] = outputs;
    if (outputs.length !== results(op) || output === undefined) {
      throw new Refused(`${op} has ${outputs.length} results, allowed: ${results(op)}`);
    }
    const taken = outputs.find((name, at) => !name || shapes.known.has(name) || outputs.indexOf(name) !== at);
    if (taken !== undefined) throw new Refused(`${op} makes ${JSON.stringify(taken)}, which is no new name`);
    const attributes = this.attributes(found, op);
    const whole = [...attributes].filter(([, { field }]) => field === "i");
    const numbers = new Map(whole.map(([name, { value }]) => [name, asSigned(value[0] ?? 0)]));
    dtypes.add(op, inputs, output, numbers);
    const [width, steps] = this.learned(op, attributes);
    const call = { op, inputs, output, attributes: numbers, width, steps };
    shapes.add(call);
    const [result, ...given] = [output, ...inputs].map((name) => /** @type {readonly number[]} */ (shapes.known.get(name)));
    work.add(call, given, /** @type {readonly number[]} */ (result), widthOf(dtypes.known.get(output)));
    if (second !== undefined) {
      shapes.known.set(second, /** @type {readonly number[]} */ (result));
      dtypes.known.set(second, INT64);
    }
  }

  /**
   * By name. Their fields and types must be the ones this operator has.
   * @param {Fields} found
   * @param {string} op
   */
  attributes(found, op) {
    /** @type {Map<string, Attribute>} */
    const attributes = new Map();
    for (const one of spans(found, "attribute")) {
      const holds = read(this.data, one, onnx.ATTRIBUTE);
      const name = this.text(holds, "name");
      const kind = number(holds, "type");
      const fields = [...onnx.ATTRIBUTE_TYPES.keys()].filter((key) => holds.has(key));
      const field = fields[0] ?? onnx.EMPTY.get(kind) ?? "";
      if (fields.length > 1 || onnx.ATTRIBUTE_TYPES.get(field) !== kind || attributes.has(name)) {
        throw new Refused(`attribute ${JSON.stringify(name)} of ${op} is not one value of its type`);
      }
      if (attributeField(op, name) !== field) {
        throw new Refused(`attribute ${JSON.stringify(name)} of ${op} is not allowed, or not of this type`);
      }
      attributes.set(name, { field, value: holds.get(field) ?? [] });
    }
    return attributes;
  }

  /**
   * Columns and steps of an operator that keeps learnt numbers in its attributes; none of any other.
   * @param {string} op
   * @param {Map<string, Attribute>} attributes
   * @returns {[number, number]}
   */
  learned(op, attributes) {
    if (op !== TREES && op !== SVM) return [0, 0];
    const values = new Map([...attributes].map(([name, { value }]) => [name, value]));
    return (op === TREES ? treesSize : svmSize)(this.data, values);
  }
}

/**
 * @param {string} what
 * @param {Map<string, Edge>} found
 * @param {Record<string, import("../../index.js").TensorEntry>} entries
 */
function promised(what, found, entries) {
  const wanted = new Map(
    Object.entries(entries).map(([name, { dtype, shape }]) => [name, { dtype: TYPE_NUMBER[dtype], shape: [...shape] }]),
  );
  if (described(found) !== described(wanted)) {
    throw new Refused(`its ${what} are ${described(found)}, the manifest promises ${described(wanted)}`);
  }
}

/** @param {Map<string, Edge>} edges */
function described(edges) {
  const each = [...edges].map(([name, edge]) => JSON.stringify([name, edge.dtype, edge.shape]));
  return each.sort().join(" ");
}
