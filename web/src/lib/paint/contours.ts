// Lines where the strength crosses 1/4, 1/2 and 3/4 of the scale, with a white edge, over a pale photo.

import type { Rgba } from './paint'
import { colourise } from './paint'
import type { Scale } from './scale'

const LEVELS = [0.25, 0.5, 0.75]

export function contours(
  base: Rgba,
  values: Float64Array,
  width: number,
  scale: Scale,
  cmap?: string | null,
): Rgba {
  const levels = new Uint8Array(values.length)
  values.forEach((v, i) => {
    const strength = scale.strength(v)
    levels[i] = LEVELS.filter((level) => level <= strength).length
  })
  const line = new Uint8Array(values.length)
  for (let i = 0; i < line.length; i++) {
    const left = i % width !== 0 && levels[i - 1] !== levels[i]
    const above = i >= width && levels[i - width] !== levels[i]
    line[i] = left || above ? 1 : 0
  }
  const thick = grown(line, width)
  const edge = grown(thick, width)
  const colours = colourise(lineValues(values, levels, width, scale), scale, cmap)
  const out = new Uint8ClampedArray(base.length)
  for (let i = 0; i < values.length; i++) {
    for (let c = 4 * i; c < 4 * i + 3; c++)
      out[c] = thick[i] ? colours[c]! : edge[i] ? 255 : base[c]! * 0.6 + 102
    out[4 * i + 3] = 255
  }
  return out
}

/** The value whose colour a line has: near the end of its sign, or the level of its stronger side. */
function lineValues(values: Float64Array, levels: Uint8Array, width: number, scale: Scale): Float64Array {
  if (scale.signed) {
    return values.map((v) => 0.9 * ((Number.isNaN(v) ? 0 : v) < 0 ? scale.low : scale.high))
  }
  const [start, span] = [scale.start, scale.high - scale.start]
  return highest(levels, width, 2).map((level) => start + (level / 4) * span)
}

/** The highest entry of the square of `2 reach + 1` places around each. */
function highest(levels: Uint8Array, width: number, reach: number): Float64Array {
  const height = levels.length / width
  const out = new Float64Array(levels.length)
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      let most = 0
      for (let j = Math.max(0, y - reach); j <= Math.min(height - 1, y + reach); j++)
        for (let i = Math.max(0, x - reach); i <= Math.min(width - 1, x + reach); i++)
          most = Math.max(most, levels[j * width + i]!)
      out[y * width + x] = most
    }
  return out
}

/** The mask with its four-neighbours. */
function grown(mask: Uint8Array, width: number): Uint8Array {
  const out = mask.slice()
  for (let i = 0; i < mask.length; i++) {
    if (!mask[i]) continue
    if (i >= width) out[i - width] = 1
    if (i + width < mask.length) out[i + width] = 1
    if (i % width) out[i - 1] = 1
    if ((i + 1) % width) out[i + 1] = 1
  }
  return out
}
