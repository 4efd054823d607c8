// Which panels share a scale, and the words that say so.

import { Scale, shown, type Grid, type Look } from '../../../lib/paint'
import type { View } from '../../state/address'

export interface Scaled {
  scale: Scale | null
  note: string
}

/** Scales of panels, in their order; `units`: what a panel's numbers are, by method. */
export function scales(
  maps: readonly (Grid | null)[],
  units: readonly string[],
  look: Look,
  mode: View['scale'],
): Scaled[] {
  const parts = maps.map((map) => (map ? shown(map, look) : null))
  const keys = parts.map((part, i) =>
    mode === 'own' ? String(i) : mode === 'all' ? `signed ${part?.signed}` : `${units[i]} ${part?.signed}`,
  )
  const known = new Map<string, { scale: Scale; count: number }>()
  parts.forEach((part, i) => {
    const key = keys[i]!
    if (!part || known.has(key)) return
    const group = parts.filter((other, j): other is Grid => !!other && keys[j] === key)
    const values = group.map((one) => one.values)
    known.set(key, {
      scale:
        group.length > 1
          ? Scale.shared(values, part.signed, look.clip)
          : Scale.of(part.values, part.signed, look.clip),
      count: group.length,
    })
  })
  const several = parts.filter(Boolean).length > 1
  return parts.map((part, i) => {
    const found = part ? known.get(keys[i]!) : undefined
    if (!found) return { scale: null, note: '' }
    const note = !several ? '' : found.count > 1 ? `same scale in ${found.count} panels` : 'own scale'
    return { scale: found.scale, note }
  })
}
