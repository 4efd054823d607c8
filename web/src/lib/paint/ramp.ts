// The colours of a scale from its low end to its high one, as the colour bar shows them: they fade as the map does.

import { fadeOf, type Look } from './look'
import { colourise } from './paint'
import type { Scale } from './scale'

export type Stop = [red: number, green: number, blue: number, alpha: number]

const STOPS = 65

/** Stops at equal distances; `values`: those of the map, from which the fade of fine-grained maps is chosen. */
export function ramp(scale: Scale, look: Look, values: Float64Array | null): Stop[] {
  const along = Float64Array.from(
    { length: STOPS },
    (_, i) => scale.low + ((scale.high - scale.low) * i) / (STOPS - 1),
  )
  const colours = colourise(along, scale, look.cmap)
  const fade = values ? fadeOf(values, scale, look) : (look.fade ?? 1)
  return Array.from(along, (v, i) => {
    const strength = scale.strength(v)
    if (look.mode === 'mask') return [128, 128, 128, 1 - strength]
    const alpha = look.mode === 'alpha' ? look.opacity * strength ** fade : 1
    return [colours[4 * i]!, colours[4 * i + 1]!, colours[4 * i + 2]!, alpha]
  })
}

/** What stands under the bar. */
export const rampWords = (scale: Scale, look: Look, unit: string, note: string): string =>
  [unit, look.mode === 'contour' ? 'lines at 1/4, 1/2 and 3/4' : '', ...scale.remarks(), note]
    .filter(Boolean)
    .join('; ')
