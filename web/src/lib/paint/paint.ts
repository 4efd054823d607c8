// A photo under its map: the modes of src/seewhy/show/drawing.py, byte for byte at the map's own size.

import { contours } from './contours'
import { fadeOf, type Look } from './look'
import type { Scale } from './scale'
import { NO_VALUE, table } from './tables'

export type Rgba = Uint8ClampedArray<ArrayBuffer>

/** Colours of an array of values, four bytes a place; places without a number are mid-grey. */
export function colourise(values: Float64Array, scale: Scale, cmap?: string | null): Rgba {
  const colours = table(cmap, scale.signed)
  const out = new Uint8ClampedArray(4 * values.length)
  for (let i = 0; i < values.length; i++) {
    const v = values[i]!
    if (Number.isFinite(v)) {
      const at = 3 * scale.position(v)
      out[4 * i] = colours[at]!
      out[4 * i + 1] = colours[at + 1]!
      out[4 * i + 2] = colours[at + 2]!
    } else out.set(NO_VALUE, 4 * i)
    out[4 * i + 3] = 255
  }
  return out
}

/** The photo without its colours (ITU-R 601-2 luma in 16-bit integers). */
export function greyed(photo: Rgba): Rgba {
  const out = new Uint8ClampedArray(photo.length)
  for (let i = 0; i < photo.length; i += 4) {
    const grey = (19595 * photo[i]! + 38470 * photo[i + 1]! + 7471 * photo[i + 2]! + 32768) >> 16
    out[i] = out[i + 1] = out[i + 2] = grey
    out[i + 3] = 255
  }
  return out
}

/**
 * Paint a map over its photo.
 *
 * `photo` has four bytes a place, `values` one number, `width` columns. The bytes of a `Uint8ClampedArray`
 * round halves to even, as NumPy's rint does.
 */
export function paint(photo: Rgba, values: Float64Array, width: number, scale: Scale, look: Look): Rgba {
  const base = look.grey || look.mode === 'contour' ? greyed(photo) : photo
  if (look.mode === 'map') return colourise(values, scale, look.cmap)
  if (look.mode === 'contour') return contours(base, values, width, scale, look.cmap)
  const out = new Uint8ClampedArray(base)
  if (look.mode === 'photo') return out
  if (look.mode === 'mask') {
    for (let i = 0; i < values.length; i++) {
      const strength = scale.strength(values[i]!)
      for (let c = 4 * i; c < 4 * i + 3; c++) out[c] = 128 + (base[c]! - 128) * strength
    }
    return out
  }
  const colours = colourise(values, scale, look.cmap)
  const fade = fadeOf(values, scale, look)
  for (let i = 0; i < values.length; i++) {
    const alpha = look.opacity * scale.strength(values[i]!) ** fade
    for (let c = 4 * i; c < 4 * i + 3; c++) out[c] = base[c]! + (colours[c]! - base[c]!) * alpha
  }
  return out
}
