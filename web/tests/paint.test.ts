// What the panels compute besides colours: regions, probes, removed pixels, packed arrays, parts of a signed map.

import { describe, expect, it } from 'vitest'
import {
  above,
  enlarged,
  grid,
  interpolated,
  outline,
  probe,
  readingText,
  regionText,
  removed,
  rint,
  Scale,
  shown,
  strongest,
  unpack,
  type Grid,
  type Rgba,
} from '../src/lib/paint'

const map = (values: number[], width: number, signed = false): Grid => ({
  values: Float64Array.from(values),
  width,
  height: values.length / width,
  signed,
})

describe('region', () => {
  const ramp = map(
    Array.from({ length: 100 }, (_, i) => i + 1),
    10,
  )
  it('holds the strongest share of the places and their part of the mass', () => {
    const region = strongest(ramp, 0.1)
    expect(region.area).toBeCloseTo(0.1)
    expect(region.mass).toBeCloseTo(((91 + 100) * 5) / 5050)
    expect(Array.from(region.mask.slice(88, 92))).toEqual([0, 0, 1, 1])
    expect(regionText(region)).toBe('Strongest 10 % of the area holds 19 % of the mass')
  })
  it('takes |v| where the map is signed, and never places of zero weight', () => {
    const signed = map([-5, 0, 1, 0], 2, true)
    expect(Array.from(above(signed, 2).mask)).toEqual([1, 0, 0, 0])
    expect(Array.from(strongest(signed, 1).mask)).toEqual([1, 0, 1, 0])
    expect(strongest(map([-5, 0, 1, 0], 2), 1).area).toBe(0.25)
    expect(strongest(map([NaN, 0, Infinity, 0], 2), 0.5)).toMatchObject({ area: 0, mass: 0 })
  })
  it('takes all or none of equal places', () => {
    expect(strongest(map([1, 1, 1, 0], 2), 0.25).area).toBe(0.75)
  })
  it('has an outline around it', () => {
    const one = outline(Uint8Array.from([0, 0, 0, 0, 1, 0, 0, 0, 0]), 3)
    expect(one.length).toBe(16)
    const all = outline(new Uint8Array(9).fill(1), 3)
    expect(Array.from(all)).toEqual([0, 0, 3, 0, 0, 3, 3, 3, 0, 0, 0, 3, 3, 0, 3, 3])
    expect(outline(new Uint8Array(9), 3).length).toBe(0)
  })
})

describe('probe', () => {
  const values = map([0, -4, 1, 2, NaN, 3], 3, true)
  it('reads value, rank among |v| and the cell of the method', () => {
    const native = map([1, 2], 1)
    const reading = probe(values, { x: 1.9, y: 0.2 }, native)
    expect(reading).toEqual({
      x: 1,
      y: 0,
      value: -4,
      rank: 0.8,
      cell: { row: 0, column: 0, rows: 2, columns: 1 },
    })
    expect(readingText(reading!)).toBe(
      'x 1, y 0: -4, above 80 % of the places; cell row 0, column 0 of 2 × 1',
    )
  })
  it('says what has no number, and nothing outside', () => {
    expect(readingText(probe(values, { x: 1, y: 1 })!)).toBe('x 1, y 1: no number')
    expect(probe(values, { x: 3, y: 0 })).toBeNull()
    expect(probe(values, { x: -1, y: 0 })).toBeNull()
  })
})

it('interpolates between the middles of places, and holes stay holes', () => {
  const fine = interpolated(map([0, 4, NaN, 8], 2), 2)
  expect(Array.from(fine.values.slice(0, 4))).toEqual([0, 1, 3, 4])
  expect(Array.from(fine.values.slice(12))).toEqual([NaN, NaN, 6, 8])
  expect(interpolated(map([1, 2], 2), 1).values).toEqual(Float64Array.from([1, 2]))
})

describe('removed', () => {
  const photo = Uint8ClampedArray.from([1, 1, 1, 255, 2, 2, 2, 255, 3, 3, 3, 255]) as Rgba
  const fill = new Uint8ClampedArray(12).fill(9) as Rgba
  const places = Uint8Array.from([2, 0, 1])
  const red = (rgba: Rgba) => [rgba[0], rgba[4], rgba[8]]
  it('takes pixels away step by step', () => {
    expect([0, 1, 2, 9].map((step) => red(removed(photo, { places, fill, step })))).toEqual([
      [1, 2, 3],
      [1, 2, 9],
      [9, 2, 9],
      [9, 2, 9],
    ])
  })
  it('gives them back', () => {
    expect([0, 1, 2].map((step) => red(removed(photo, { places, fill, step, insert: true })))).toEqual([
      [9, 9, 9],
      [9, 9, 3],
      [1, 9, 3],
    ])
  })
})

describe('packed', () => {
  it('reads float16 of every kind', () => {
    const bits = [0x3c00, 0xbc00, 0x0000, 0x8000, 0x0001, 0x7bff, 0x7c00, 0xfc00, 0x7e00, 0x3555]
    const data = new Uint8Array(Uint16Array.from(bits).buffer)
    const values = unpack({ shape: [10], factor: 2, data })
    expect(Array.from(values)).toEqual([
      2,
      -2,
      0,
      -0,
      2 * 2 ** -24,
      131008,
      Infinity,
      -Infinity,
      NaN,
      0.66650390625,
    ])
  })
  it('reads views that begin anywhere', () => {
    const data = new DataView(Uint8Array.from([7, 0x00, 0x3c]).buffer, 1)
    expect(grid({ shape: [1, 1], factor: 3, data }, true).values[0]).toBe(3)
  })
  it('refuses what has another size', () => {
    expect(() => unpack({ shape: [2, 2], factor: 1, data: new Uint8Array(6) })).toThrow('needs 8 bytes')
  })
  it('enlarges cells without mixing them', () => {
    const large = enlarged(map([1, 2, 3, 4], 2), { width: 4, height: 6 })
    expect(Array.from(large.values.slice(0, 4))).toEqual([1, 1, 2, 2])
    expect(Array.from(large.values.slice(20))).toEqual([3, 3, 4, 4])
  })
})

it('shows parts of a signed map', () => {
  const signed = map([-2, 0, 3], 3, true)
  const part = (sign: 'both' | 'for' | 'against' | 'size') => {
    const { values, signed: s } = shown(signed, { sign })
    return [Array.from(values), s]
  }
  expect(part('both')).toEqual([[-2, 0, 3], true])
  expect(part('for')).toEqual([[0, 0, 3], false])
  expect(part('against')).toEqual([[2, 0, 0], false])
  expect(part('size')).toEqual([[2, 0, 3], false])
})

it('shares one scale among maps', () => {
  const [small, large] = [Float64Array.from([0, 1]), Float64Array.from([0, 10])]
  expect(Scale.shared([small, large], false, 1).high).toBe(10)
})

it('rounds halves to even', () => {
  expect([0.5, 1.5, 2.5, -0.5, -1.5, 2.4, 2.6].map(rint)).toEqual([0, 2, 2, 0, -2, 2, 3])
})
