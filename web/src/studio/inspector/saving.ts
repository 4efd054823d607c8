// Files of a map: asked for with the page's token, saved under a name that says what it is.

import { blob } from '../../lib/api/client'
import { canvasOf, pixelsOf } from '../../lib/photos'
import { painted, svg, type Sheet } from './sheet'

export function save(content: Blob, name: string) {
  const link = document.createElement('a')
  link.href = URL.createObjectURL(content)
  link.download = name
  link.click()
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000)
}

export const fetched = (map: string, ending: string, query = '') =>
  blob(`/api/maps/${encodeURIComponent(map)}.${ending}${query}`)

/** A map over its photo in all the photo's detail, as PNG; or, with what stands around it, as SVG. */
export async function drawn(sheet: Sheet, map: string, ending: 'png' | 'svg'): Promise<Blob> {
  const { data, width, height } = await pixelsOf(await blob(`/api/maps/${encodeURIComponent(map)}/photo`))
  const canvas = canvasOf(painted(sheet, data, width), width, height)
  if (ending === 'svg')
    return new Blob([svg(sheet, canvas.toDataURL('image/png'))], { type: 'image/svg+xml' })
  return new Promise((done, failed) =>
    canvas.toBlob(
      (made) => (made ? done(made) : failed(new Error('The browser made no picture'))),
      'image/png',
    ),
  )
}

/** A picture as PNG, enlarged. */
export async function enlargedPng(picture: Blob, factor: number): Promise<Blob> {
  if (factor === 1) return picture
  const bitmap = await createImageBitmap(picture)
  const canvas = new OffscreenCanvas(bitmap.width * factor, bitmap.height * factor)
  const context = canvas.getContext('2d')!
  context.imageSmoothingQuality = 'high'
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height)
  return canvas.convertToBlob({ type: 'image/png' })
}

/** Rows as CSV; texts with commas are quoted. */
export const csv = (rows: readonly (readonly (string | number | null)[])[]) =>
  rows
    .map((row) =>
      row
        .map((cell) =>
          typeof cell === 'string' && /[",\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : (cell ?? ''),
        )
        .join(','),
    )
    .join('\n') + '\n'
