// The photo with the pixels of a curve's step taken away (deletion) or given back (insertion).

import type { Rgba } from './paint'

export interface Removal {
  /** Step (1 = first) at which each pixel changes; 0: never. */
  places: Uint8Array
  /** What stands where a pixel is gone: as large as the photo, four bytes a pixel. */
  fill: Rgba
  /** Steps taken so far; 0: none. */
  step: number
  /** Whether pixels come back to the fill instead of going from the photo. */
  insert?: boolean
}

export function removed(photo: Rgba, { places, fill, step, insert = false }: Removal): Rgba {
  const out = new Uint8ClampedArray(photo)
  for (let i = 0; i < places.length; i++) {
    const changed = places[i]! > 0 && places[i]! <= step
    if (changed !== insert) out.set(fill.subarray(4 * i, 4 * i + 4), 4 * i)
  }
  return out
}
