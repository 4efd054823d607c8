// How a map is to be drawn. Everything here is local to the page: no change of a look asks the server.

import type { Grid } from './packed'
import type { Scale } from './scale'

export const MODES = ['alpha', 'mask', 'contour', 'map', 'photo'] as const
export type Mode = (typeof MODES)[number]
export const MODE_NAMES: Record<Mode, string> = {
  alpha: 'Overlay',
  mask: 'Mask',
  contour: 'Contour',
  map: 'Map only',
  photo: 'Photo only',
}

export const SIGNS = ['both', 'for', 'against', 'size'] as const
export type Sign = (typeof SIGNS)[number]
export const SIGN_NAMES: Record<Sign, string> = { both: '±', for: '+', against: '−', size: '|v|' }
export const SIGN_TITLES: Record<Sign, string> = {
  both: 'Evidence for and against',
  for: 'Evidence for only',
  against: 'Evidence against only',
  size: 'Size, whatever its sign',
}

export interface Look {
  mode: Mode
  /** Of the strongest value, 0 to 1. */
  opacity: number
  /** Name of a colour map; null chooses by sign. */
  cmap: string | null
  /** The photo without its colours. */
  grey: boolean
  /** Which part of a signed map to show. */
  sign: Sign
  /** Quantile at which the scale ends, 0.5 to 1. */
  clip: number
  /** Whether enlarging smooths; null: only inputs above 64 pixels. */
  smooth: boolean | null
  /** Exponent from strength to opacity; null: 1, or 0.6 for maps of fine grain. */
  fade: number | null
}

export const LOOK: Readonly<Look> = {
  mode: 'alpha',
  opacity: 0.85,
  cmap: null,
  grey: false,
  sign: 'both',
  clip: 0.995,
  smooth: null,
  fade: null,
}

/** The part of a map that a look shows; the map itself where that is all of it. */
export function shown(map: Grid, look: Pick<Look, 'sign'>): Grid {
  if (!map.signed || look.sign === 'both') return map
  const part: Record<Exclude<Sign, 'both'>, (v: number) => number> = {
    for: (v) => Math.max(v, 0),
    against: (v) => Math.max(-v, 0),
    size: Math.abs,
  }
  return { ...map, signed: false, values: map.values.map(part[look.sign]) }
}

/** The exponent from strength to opacity: 0.6 where the median strength is under a twentieth. */
export function fadeOf(values: Float64Array, scale: Scale, look: Pick<Look, 'fade'>): number {
  if (look.fade !== null) return look.fade
  const strengths = values.map((v) => scale.strength(v)).sort()
  const half = strengths.length >> 1
  const median = strengths.length % 2 ? strengths[half]! : (strengths[half - 1]! + strengths[half]!) / 2
  return median < 0.05 ? 0.6 : 1
}

/** Whether enlarged cells are smoothed. */
export const smooths = (look: Pick<Look, 'smooth'>, width: number, height: number): boolean =>
  look.smooth ?? Math.max(width, height) > 64
