// The strongest places of a map: their mask, outline, area and share of the mass.

import { quantile } from './scale'
import { percent } from './words'
import type { Grid } from './packed'

export interface Region {
  /** 1 inside. */
  mask: Uint8Array
  /** Least value inside (of |v| where signed). */
  level: number
  /** Share of the places, and of the sum of |v| (signed) or of v above zero, that lies inside. */
  area: number
  mass: number
}

const weight = (v: number, signed: boolean) =>
  Number.isFinite(v) ? (signed ? Math.abs(v) : Math.max(v, 0)) : 0

/** The places at or above a value (of |v| where signed); places of zero weight never belong to it. */
export function above(map: Grid, level: number): Region {
  const mask = new Uint8Array(map.values.length)
  let [inside, mass, total] = [0, 0, 0]
  map.values.forEach((v, i) => {
    const w = weight(v, map.signed)
    total += w
    if (w > 0 && w >= level) {
      mask[i] = 1
      inside++
      mass += w
    }
  })
  return { mask, level, area: inside / Math.max(1, mask.length), mass: total ? mass / total : 0 }
}

/** The strongest `share` of the places, 0 to 1; of equal places all or none, so its area may be larger. */
export function strongest(map: Grid, share: number): Region {
  const sorted = map.values.map((v) => weight(v, map.signed)).sort()
  return above(map, share >= 1 ? 0 : quantile(sorted, 1 - share))
}

/** "Strongest 10 % of the area: 62 % of the mass". */
export const regionText = (region: Region): string =>
  `Strongest ${percent(region.area)} of the area holds ${percent(region.mass)} of the mass`

/** The borders of a mask, as segments `x0, y0, x1, y1` along the edges of its places. */
export function outline(mask: Uint8Array, width: number): Int32Array {
  const height = mask.length / width
  const at = (x: number, y: number) =>
    x >= 0 && y >= 0 && x < width && y < height && mask[y * width + x] === 1
  const found: number[] = []
  const runs = (
    lines: number,
    length: number,
    crosses: (line: number, i: number) => boolean,
    down: boolean,
  ) => {
    for (let line = 0; line <= lines; line++)
      for (let i = 0; i < length; i++) {
        if (!crosses(line, i)) continue
        const from = i
        while (i < length && crosses(line, i)) i++
        found.push(...(down ? [line, from, line, i] : [from, line, i, line]))
      }
  }
  runs(height, width, (y, x) => at(x, y) !== at(x, y - 1), false)
  runs(width, height, (x, y) => at(x, y) !== at(x - 1, y), true)
  return Int32Array.from(found)
}
