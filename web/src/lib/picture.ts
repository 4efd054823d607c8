// The bitmap of a panel: the photo under its map, or with the pixels of a curve's step taken away.

import { enlarged, interpolated, paint, removed as remove, shown, smooths } from './paint'
import type { Grid, Look, Removal, Rgba, Scale } from './paint'
import { canvasOf, enlargedPhoto } from './photos'

export interface Layers {
  photo: Rgba
  size: { width: number; height: number }
  /** The part of the map that the look shows, and its scale; null: the photo alone. */
  part: Grid | null
  scale: Scale | null
  native: Grid | null
  look: Look
  removed: Removal | null
}

/** Lines are drawn at the panel's own fineness; all else is painted at the photo's size and enlarged. */
const MOST = 3

/** How many pixels of the bitmap go on one of the photo, in a panel so many pixels wide. */
export function fineness(layers: Layers, across: number): number {
  const { look, part, removed, size } = layers
  const lines = part && !removed && look.mode === 'contour' && smooths(look, size.width, size.height)
  return lines ? Math.min(Math.max(Math.round(across / size.width), 1), MOST) : 1
}

export function pictured(layers: Layers, factor: number): HTMLCanvasElement {
  const { photo, size, part, scale, native, look, removed } = layers
  const { width, height } = size
  if (removed) return canvasOf(remove(photo, removed), width, height)
  if (!part || !scale) return canvasOf(photo, width, height)
  const cells = look.smooth === false && native ? enlarged(shown(native, look), size) : part
  const fine = interpolated(cells, factor)
  const base = enlargedPhoto(photo, width, height, factor)
  return canvasOf(paint(base, fine.values, fine.width, scale, look), fine.width, fine.height)
}
