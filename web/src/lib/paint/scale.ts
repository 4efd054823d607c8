// Which number gets which colour: the rules of `Scale` in src/seewhy/show/colour.py, number for number.

import { number, percent, rint } from './words'

/** A quantile by linear interpolation between the neighbours, as NumPy computes it. `sorted` ascends. */
export function quantile(sorted: Float64Array, q: number): number {
  const place = (sorted.length - 1) * q
  const below = Math.floor(place)
  const t = place - below
  const a = sorted[below]!
  const b = sorted[Math.min(below + 1, sorted.length - 1)]!
  return t >= 0.5 ? b - (b - a) * (1 - t) : a + (b - a) * t
}

export class Scale {
  constructor(
    /** Value of the first colour, and of the last one. */
    readonly low: number,
    readonly high: number,
    /** Whether the middle colour means exactly zero. */
    readonly signed: boolean,
    /** Fraction of the finite values beyond the ends. */
    readonly clipped = 0,
    /** Fraction of all values that are no finite number. */
    readonly missing = 0,
    /** Why there is nothing to show, or "". */
    readonly flat = '',
  ) {}

  /** The scale of a map: up to the given quantile of v, or of |v| where signed. */
  static of(values: Float64Array, signed: boolean, q = 0.995): Scale {
    const finite = values.filter(Number.isFinite)
    const missing = values.length ? 1 - finite.length / values.length : 1
    const sizes = (signed ? finite.map(Math.abs) : finite.slice()).sort()
    let top = sizes.length ? quantile(sizes, q) : 0
    if (top <= 0 && sizes.length) top = sizes[sizes.length - 1]!
    if (top <= 0) {
      if (!finite.length) return new Scale(0, 0, signed, 0, missing, 'no finite value')
      const other = count(finite, (v) => v !== 0)
      return new Scale(
        0,
        0,
        signed,
        other / finite.length,
        missing,
        other ? 'nothing above zero' : 'zero everywhere',
      )
    }
    const sorted = signed ? finite.slice().sort() : sizes
    const least = sorted[0]!
    const flat = finite.length > 1 && least === sorted.at(-1) ? 'the same value everywhere' : ''
    let low = signed ? -top : 0
    if (!signed && !flat) {
      const start = quantile(sorted, 1 - q)
      if (start > top / 3) low = start < top ? start : least
    }
    return new Scale(
      low,
      top,
      signed,
      count(finite, (v) => v < low || v > top) / finite.length,
      missing,
      flat,
    )
  }

  /** One scale for several maps. */
  static shared(maps: readonly Float64Array[], signed: boolean, q = 0.995): Scale {
    const all = new Float64Array(maps.reduce((n, m) => n + m.length, 0))
    let at = 0
    for (const map of maps) {
      all.set(map, at)
      at += map.length
    }
    return Scale.of(all, signed, q)
  }

  /** Value at the weak end: zero, or where an unsigned scale starts. */
  get start(): number {
    return Math.max(0, this.low)
  }

  /** -1 to 1 (signed) or 0 to 1; 0 for values without a number. */
  fraction(value: number): number {
    const start = this.start
    if (this.high <= start || !Number.isFinite(value)) return 0
    return (Math.min(Math.max(value, this.low), this.high) - start) / (this.high - start)
  }

  /** Distance from the weak end as a fraction of the scale. */
  strength(value: number): number {
    return Math.abs(this.fraction(value))
  }

  /** Entry in the colour table: 0 to 255, or 1 to 255 around 128 where signed. */
  position(value: number): number {
    return rint(this.signed ? 128 + 127 * this.fraction(value) : 255 * this.fraction(value))
  }

  /** Places along the bar from 0 to 1, with their numbers. */
  ticks(): [place: number, label: string][] {
    if (this.high <= 0) return [[0.5, '0']]
    return [
      [0, number(this.low)],
      [0.5, number((this.low + this.high) / 2)],
      [1, number(this.high)],
    ]
  }

  /** What a reader must know beside the numbers. */
  remarks(): string[] {
    const said = this.flat ? [this.flat] : []
    if (this.low > 0) said.push('starts above 0')
    if (this.clipped) said.push(`${percent(this.clipped)} clipped`)
    if (this.missing) said.push(`${percent(this.missing)} without a number`)
    return said
  }
}

function count(values: Float64Array, test: (v: number) => boolean): number {
  let n = 0
  for (const v of values) if (test(v)) n++
  return n
}
