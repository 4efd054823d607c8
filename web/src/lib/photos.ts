// Pictures to bytes: what a data URL, a blob or an address of this page holds, decoded without colour management.

import type { Rgba } from './paint'

export interface Pixels {
  data: Rgba
  width: number
  height: number
}

/** Decode a picture; transparent places are as they are stored. */
export async function pixelsOf(source: Blob | string): Promise<Pixels> {
  let blob = source
  if (typeof blob === 'string') {
    const inline = /^data:([^;,]+);base64,(.*)$/s.exec(blob)
    blob = inline // not by fetch, which a policy without connect-src forbids
      ? new Blob([Uint8Array.from(atob(inline[2]!), (c) => c.charCodeAt(0))], { type: inline[1]! })
      : await (await fetch(blob)).blob()
  }
  const bitmap = await createImageBitmap(blob, { colorSpaceConversion: 'none', premultiplyAlpha: 'none' })
  const canvas = document.createElement('canvas')
  canvas.width = bitmap.width
  canvas.height = bitmap.height
  const ctx = canvas.getContext('2d', { willReadFrequently: true })!
  ctx.drawImage(bitmap, 0, 0)
  bitmap.close()
  const { data, width, height } = ctx.getImageData(0, 0, canvas.width, canvas.height)
  return { data: data as Rgba, width, height }
}

/** Pixels as a canvas, which others can draw. */
export function canvasOf(data: Rgba, width: number, height: number): HTMLCanvasElement {
  const canvas = document.createElement('canvas')
  canvas.width = width
  canvas.height = height
  canvas.getContext('2d')?.putImageData(new ImageData(data, width, height), 0, 0)
  return canvas
}

/** A photo at `factor` times its size, smoothed by the browser. */
export function enlargedPhoto(data: Rgba, width: number, height: number, factor: number): Rgba {
  if (factor === 1) return data
  const large = document.createElement('canvas')
  large.width = width * factor
  large.height = height * factor
  const ctx = large.getContext('2d', { willReadFrequently: true })
  if (!ctx) return new Uint8ClampedArray(4 * large.width * large.height)
  ctx.imageSmoothingQuality = 'high'
  ctx.drawImage(canvasOf(data, width, height), 0, 0, large.width, large.height)
  return ctx.getImageData(0, 0, large.width, large.height).data as Rgba
}
