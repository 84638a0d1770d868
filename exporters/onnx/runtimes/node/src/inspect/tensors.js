/** Inputs, outputs and constants of a graph, read and held against what they say of themselves. */

import * as onnx from "./messages.js";
import { DTYPES, INT64 } from "./operators.js";
import { BATCH, elements } from "./shapes.js";
import { asNumber, asSpan, read, Refused, text } from "./wire.js";

/** Elements of all constants together. */
const MOST_CONSTANTS = 2 ** 26;
/** A constant with more elements says no shape. */
const MOST_SHAPE_VALUES = 64;
/** Where the data of a constant may be kept. */
const HOLDERS = ["raw_data", "float_data", "double_data", "int32_data", "int64_data"];

/** @typedef {import("./wire.js").Span} Span */
/** @typedef {import("./wire.js").Fields} Fields */
/** @typedef {{ dtype: number, shape: (number | string)[] }} Edge */
/** @typedef {{ shape: number[], dtype: number, raw: Span }} Constant */

export class Tensors {
  /** @param {Uint8Array} data */
  constructor(data) {
    this.data = data;
    /** By name. @type {Map<string, Constant>} */
    this.constants = new Map();
    this.room = MOST_CONSTANTS;
  }

  /**
   * Name, data type and shape of every input or output.
   * @param {Fields} graph
   * @param {string} field
   */
  edges(graph, field) {
    /** @type {Map<string, Edge>} */
    const edges = new Map();
    for (const one of spans(graph, field)) {
      const found = read(this.data, one, onnx.VALUE);
      const name = this.text(found, "name");
      const type = read(this.data, span(found, "type"), onnx.TYPE);
      const tensor = read(this.data, span(type, "tensor_type"), onnx.TENSOR_TYPE);
      if (edges.has(name)) throw new Refused(`two ${field}s are called ${JSON.stringify(name)}`);
      edges.set(name, { dtype: this.dtype(tensor, "elem_type", name), shape: this.shape(tensor, name) });
    }
    return edges;
  }

  /**
   * @param {Fields} tensor
   * @param {string} name
   */
  shape(tensor, name) {
    const said = JSON.stringify(name);
    const shape = spans(read(this.data, span(tensor, "shape"), onnx.SHAPE), "dim").map((one) => {
      const size = read(this.data, one, onnx.DIMENSION);
      return size.has("dim_value") ? number(size, "dim_value") : this.text(size, "dim_param");
    });
    if (!shape.length || shape.some((size) => size === "" || size === 0)) {
      throw new Refused(`${said} has a dimension without a size or a name, or of size 0`);
    }
    const count = elements(sizes(shape));
    if (count > MOST_CONSTANTS) throw new Refused(`${said} has ${count} elements per row, allowed: up to ${MOST_CONSTANTS}`);
    return shape;
  }

  /**
   * @param {Fields} found
   * @param {string} field
   * @param {string} name
   */
  dtype(found, field, name) {
    const dtype = number(found, field);
    if (!DTYPES.has(dtype)) {
      throw new Refused(`${JSON.stringify(name)} has data type ${dtype}, allowed: ${[...DTYPES.keys()].join(", ")}`);
    }
    return dtype;
  }

  /**
   * @param {Span} at
   * @returns {[string, Constant]}
   */
  constant(at) {
    const found = read(this.data, at, onnx.TENSOR);
    const name = this.text(found, "name");
    const said = JSON.stringify(name);
    const dtype = this.dtype(found, "data_type", name);
    if (number(found, "data_location", 0)) throw new Refused(`constant ${said} is kept in another file`);
    const shape = (found.get("dims") ?? []).map(asNumber);
    const count = elements(shape);
    this.room -= count;
    if (!count || this.room < 0) throw new Refused(`constant ${said} of shape [${shape}] has no elements, or too many`);
    const held = HOLDERS.filter((field) => found.has(field));
    if (held.length !== 1 || held[0] !== "raw_data") {
      throw new Refused(`constant ${said} holds its data in ${held.join(", ") || "no field"}, allowed: raw_data`);
    }
    const raw = span(found, "raw_data");
    if (raw[1] - raw[0] !== count * (DTYPES.get(dtype) ?? 0)) {
      throw new Refused(`constant ${said} of shape [${shape}] holds ${raw[1] - raw[0]} bytes`);
    }
    return [name, { shape, dtype, raw }];
  }

  /**
   * The numbers of a constant that says a shape or axes.
   * @param {string} name
   */
  values(name) {
    const said = JSON.stringify(name);
    const constant = this.constants.get(name);
    if (constant === undefined || constant.dtype !== INT64 || constant.shape.length > 1) {
      throw new Refused(`${said} says a shape, so it must be a constant of int64`);
    }
    const [start, end] = constant.raw;
    if (end - start > 8 * MOST_SHAPE_VALUES) throw new Refused(`${said} says a shape of ${(end - start) / 8} dimensions`);
    const view = new DataView(this.data.buffer, this.data.byteOffset + start, end - start);
    return Array.from({ length: (end - start) / 8 }, (_, i) => Number(view.getBigInt64(8 * i, true)));
  }

  /**
   * @param {Fields} found
   * @param {string} field
   */
  text(found, field) {
    return found.has(field) ? text(this.data, span(found, field)) : "";
  }
}

/** @param {(number | string)[]} shape */
export const sizes = (shape) => shape.map((size) => (typeof size === "string" ? BATCH : size));

/**
 * @param {Fields} found
 * @param {string} field
 */
export const spans = (found, field) => (found.get(field) ?? []).map(asSpan);

/**
 * @param {Fields} found
 * @param {string} field
 */
export function span(found, field) {
  const value = found.get(field)?.[0];
  if (value === undefined) throw new Refused(`${field} is missing`);
  return asSpan(value);
}

/**
 * @param {Fields} found
 * @param {string} field
 * @param {number} [otherwise]
 */
export function number(found, field, otherwise) {
  const value = found.get(field)?.[0] ?? otherwise;
  if (value === undefined) throw new Refused(`${field} is missing`);
  return asNumber(value);
}
