// The page paints what Python paints, byte for byte: tests/show/test_golden.py holds Python to the same file.

import { describe, expect, it } from 'vitest'
import {
  bytes,
  LOOK,
  number,
  paint,
  percent,
  Scale,
  textTwin,
  unpack,
  type Look,
  type Rgba,
} from '../src/lib/paint'
import committed from './golden.json'

interface Case {
  name: string
  signed: boolean
  packed: { shape: number[]; factor: number; data: string }
  text: string
  scale: number[]
  tight: number[]
  remarks: string[]
  ticks: string[]
  painted: string[]
}
interface Golden {
  photo: string
  looks: Partial<Look>[]
  cases: Case[]
  numbers: [number, string][]
  shares: [number, string][]
}

const golden = committed as unknown as Golden
const rgb = bytes(golden.photo)
const photo: Rgba = new Uint8ClampedArray((rgb.length / 3) * 4)
for (let i = 0; i < rgb.length / 3; i++) photo.set([...rgb.subarray(3 * i, 3 * i + 3), 255], 4 * i)

async function digest(rgba: Rgba): Promise<string> {
  const sum = await crypto.subtle.digest(
    'SHA-256',
    rgba.filter((_, i) => i % 4 !== 3),
  )
  return Array.from(new Uint8Array(sum), (byte) => byte.toString(16).padStart(2, '0'))
    .join('')
    .slice(0, 16)
}
const facts = (s: Scale) => [s.low, s.high, s.clipped, s.missing]

describe.each(golden.cases)('$name', ({ packed, signed, ...told }) => {
  const values = unpack(packed)
  const scale = Scale.of(values, signed)

  it('has the scale that Python chooses', () => {
    expect(facts(scale)).toEqual(told.scale)
    expect(facts(Scale.of(values, signed, 0.9))).toEqual(told.tight)
    expect(scale.remarks()).toEqual(told.remarks)
    expect(scale.ticks().map(([, label]) => label)).toEqual(told.ticks)
  })
  it('is told in the same words', () => {
    expect(textTwin(values, packed.shape[1]!, signed)).toBe(told.text)
  })
  it.each(golden.looks.map((look, i) => [JSON.stringify(look), look, told.painted[i]] as const))(
    'is painted the same: %s',
    async (_, look, expected) => {
      const rgba = paint(photo, values, packed.shape[1]!, scale, { ...LOOK, ...look })
      expect(rgba.every((byte, i) => i % 4 !== 3 || byte === 255)).toBe(true)
      expect(await digest(rgba)).toBe(expected)
    },
  )
})

describe('words', () => {
  it.each(golden.numbers)('number %d is %s', (value, text) => expect(number(value)).toBe(text))
  it.each(golden.shares)('share %d is %s', (value, text) => expect(percent(value)).toBe(text))
})

it('would see a scale that is a little off', async () => {
  const [first] = golden.cases
  const values = unpack(first!.packed)
  const scale = Scale.of(values, first!.signed)
  const off = new Scale(scale.low, scale.high * 1.02, scale.signed)
  const look = { ...LOOK, mode: 'map' } as Look
  expect(await digest(paint(photo, values, 24, off, look))).not.toBe(
    await digest(paint(photo, values, 24, scale, look)),
  )
})
