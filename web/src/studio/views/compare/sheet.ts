// Scales of a contact sheet: one for each map, for the maps of each method, or for all.

import { grid, Scale, shown, type Look } from '../../../lib/paint'
import type { Schemas } from '../../../lib/api/client'
import type { View } from '../../state/address'

type MapEvent = Schemas['MapEvent']
export type Sharing = View['scale']

const known = new WeakMap<MapEvent, { key: string; scale: Scale }>()

/** The scale of one map by itself, kept as long as the look stays. */
export function ownScale(map: MapEvent, look: Look): Scale {
  const key = `${look.sign} ${look.clip}`
  const found = known.get(map)
  if (found?.key === key) return found.scale
  const part = shown(grid(map.values, map.signed), look)
  const scale = Scale.of(part.values, part.signed, look.clip)
  known.set(map, { key, scale })
  return scale
}

/** One scale that holds several: it ends where the widest of them ends. */
export function widest(scales: readonly Scale[]): Scale {
  const [first] = scales
  if (!first || scales.length === 1) return first ?? new Scale(0, 0, false)
  const signed = scales.some((scale) => scale.signed)
  const high = Math.max(...scales.map((scale) => scale.high))
  const filled = scales.filter((scale) => scale.high > 0)
  return new Scale(signed ? -high : Math.min(...filled.map((scale) => scale.low), high), high, signed)
}

/** The scale of every map, method by method. */
export function sheetScales(
  columns: readonly (readonly MapEvent[])[],
  look: Look,
  sharing: Sharing,
): Scale[][] {
  const own = columns.map((maps) => maps.map((map) => ownScale(map, look)))
  if (sharing === 'own') return own
  const all = sharing === 'all' ? widest(own.flat()) : null
  return own.map((scales) => scales.map(() => all ?? widest(scales)))
}

export const SHARING: Record<Sharing, { text: string; title: string; caption: string }> = {
  method: {
    text: 'By method',
    title: 'The maps of one method share a scale',
    caption:
      'The maps of one method share a scale: colours can be compared down a column, not across, since units differ.',
  },
  all: {
    text: 'One',
    title: 'All maps share one scale, whatever their units',
    caption: 'All maps share one scale, whatever their units: maps of small numbers look pale.',
  },
  own: {
    text: 'Each its own',
    title: 'Every map has its own scale',
    caption: 'Every map has its own scale: weak maps look as strong as strong ones.',
  },
}
