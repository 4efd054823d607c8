// Arrays as they travel: float16 numbers times a factor, little-endian, row by row.

export interface Packed {
  shape: number[]
  factor: number
  /** base64, or the bytes themselves where they came as a buffer */
  data: string | Uint8Array | DataView | ArrayBuffer
}

/** A map: `height * width` numbers, row by row. */
export interface Grid {
  values: Float64Array
  width: number
  height: number
  signed: boolean
}

/** The number of each of the 65,536 float16 patterns. */
const HALVES = /* @__PURE__ */ (() => {
  let table: Float64Array | null = null
  return () => {
    if (table) return table
    table = new Float64Array(65536)
    for (let bits = 0; bits < 65536; bits++) {
      const exponent = (bits >> 10) & 31
      const fraction = bits & 1023
      const size =
        exponent === 0
          ? fraction * 2 ** -24
          : exponent === 31
            ? fraction
              ? NaN
              : Infinity
            : (1 + fraction / 1024) * 2 ** (exponent - 15)
      table[bits] = bits >> 15 ? -size : size
    }
    return table
  }
})()

/** The bytes of a text in base64. */
export function bytes(base64: string): Uint8Array<ArrayBuffer> {
  const text = atob(base64)
  const out = new Uint8Array(text.length)
  for (let i = 0; i < out.length; i++) out[i] = text.charCodeAt(i)
  return out
}

/** The numbers of an array: float16 times `factor`, in float64 as Python computes them. */
export function unpack(packed: Packed): Float64Array {
  const { data } = packed
  const raw =
    typeof data === 'string'
      ? bytes(data)
      : data instanceof ArrayBuffer
        ? new Uint8Array(data)
        : new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
  const size = packed.shape.reduce((a, b) => a * b, 1)
  if (raw.length !== 2 * size)
    throw new RangeError(`An array of ${size} numbers needs ${2 * size} bytes, not ${raw.length}`)
  const halves = HALVES()
  const values = new Float64Array(size)
  for (let i = 0; i < size; i++) values[i] = halves[raw[2 * i]! | (raw[2 * i + 1]! << 8)]! * packed.factor
  return values
}

/** A map `(height, width)` as it came. */
export function grid(packed: Packed, signed: boolean): Grid {
  const [height = 1, width = 1] = packed.shape
  return { values: unpack(packed), width, height, signed }
}

/** A coarse grid at another size, every place with the value of the cell it lies in. */
export function enlarged(coarse: Grid, size: { width: number; height: number }): Grid {
  const values = new Float64Array(size.width * size.height)
  for (let y = 0; y < size.height; y++)
    for (let x = 0; x < size.width; x++) {
      const row = Math.floor((y * coarse.height) / size.height)
      values[y * size.width + x] =
        coarse.values[row * coarse.width + Math.floor((x * coarse.width) / size.width)]!
    }
  return { values, signed: coarse.signed, ...size }
}

/** A map at `factor` times its size, interpolated between the middles of its places; holes stay holes. */
export function interpolated(map: Grid, factor: number): Grid {
  if (factor === 1) return map
  const [width, height] = [map.width * factor, map.height * factor]
  const values = new Float64Array(width * height)
  /** The two places that one of the finer ones lies between, and how far it is from the first. */
  const between = (i: number, most: number) => {
    const at = Math.min(Math.max((i + 0.5) / factor - 0.5, 0), most - 1)
    const first = Math.floor(at)
    return [first, Math.min(first + 1, most - 1), at - first] as const
  }
  const columns = Array.from({ length: width }, (_, x) => between(x, map.width))
  const known = (i: number) => (Number.isFinite(map.values[i]) ? map.values[i]! : 0)
  for (let y = 0; y < height; y++) {
    const [top, bottom, down] = between(y, map.height)
    const [upper, lower, row] = [top * map.width, bottom * map.width, Math.floor(y / factor) * map.width]
    for (let x = 0; x < width; x++) {
      const [left, right, across] = columns[x]!
      const above = known(upper + left) * (1 - across) + known(upper + right) * across
      const below = known(lower + left) * (1 - across) + known(lower + right) * across
      const own = map.values[row + Math.floor(x / factor)]!
      values[y * width + x] = Number.isFinite(own) ? above * (1 - down) + below * down : NaN
    }
  }
  return { values, width, height, signed: map.signed }
}
