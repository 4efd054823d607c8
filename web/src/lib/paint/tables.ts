// The tables of 256 colours: those of the Python package's own file. Widget and report hold it (`held.ts`),
// the studio's page is told it by its server.

import { bytesOfHex } from './hex'

export interface ColourMap {
  name: string
  kind: 'sequential' | 'diverging'
  /** Whether equal steps look equal. */
  uniform: boolean
}

type Entries = Record<string, { kind: string; uniform: boolean; hex: string }>

let entries: Entries = {}
const cache = new Map<string, Uint8Array>()

/** Set the tables; nothing is painted before. */
export function provide(tables: Entries) {
  entries = tables
  cache.clear()
}

export const colourMaps = (): ColourMap[] =>
  Object.entries(entries).map(([name, entry]) => ({
    name,
    kind: entry.kind === 'diverging' ? 'diverging' : 'sequential',
    uniform: entry.uniform,
  }))

export const SEQUENTIAL = 'inferno'
export const DIVERGING = 'blue-red'
/** Colour of a place without a value. */
export const NO_VALUE = [128, 128, 128] as const

/** 256 colours of three bytes, lowest value first. An unknown name gives the map that goes with the sign. */
export function table(name: string | null | undefined, signed: boolean): Uint8Array {
  const known = name && name in entries ? name : signed ? DIVERGING : SEQUENTIAL
  let colours = cache.get(known)
  if (!colours) cache.set(known, (colours = bytesOfHex(entries[known]?.hex ?? '00'.repeat(768))))
  return colours
}

/** A colour map as a CSS gradient from left to right. */
export function gradient(name: string | null, signed: boolean, stops = 33): string {
  const colours = table(name, signed)
  const places = Array.from({ length: stops }, (_, i) => 3 * Math.round((255 * i) / (stops - 1)))
  return `linear-gradient(90deg, ${places.map((p) => `rgb(${colours.slice(p, p + 3).join(' ')})`).join(', ')})`
}
