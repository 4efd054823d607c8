// A panel as a picture to take away: its map over the photo in all the photo's detail, and around it, as vectors,
// the region, the pin, the colour bar and the words.

import {
  enlarged,
  fadeOf,
  interpolated,
  outline,
  paint,
  ramp,
  rampWords,
  shown,
  smooths,
  strongest,
} from '../../lib/paint'
import type { Grid, Look, Point, Rgba, Scale } from '../../lib/paint'

export interface Sheet {
  title: string
  /** Lines under the colour bar. */
  words: string[]
  map: Grid
  native: Grid | null
  scale: Scale
  look: Look
  /** What the numbers are, and whether others share the scale. */
  unit: string
  note: string
  threshold: number
  pin: Point | null
}

/** Paint a map over a photo that is a whole number of times as large. */
export function painted({ map, native, scale, look }: Sheet, photo: Rgba, width: number): Rgba {
  const part = shown(map, look)
  const size = { width, height: photo.length / 4 / width }
  const cells = look.smooth === false && native ? shown(native, look) : part
  const smooth = smooths(look, map.width, map.height)
  const fine = smooth ? interpolated(cells, width / cells.width) : enlarged(cells, size)
  // As strong as on the page, whatever the number of pixels.
  return paint(photo, fine.values, width, scale, { ...look, fade: fadeOf(part.values, scale, look) })
}

const WIDTH = 480
const LINE = 17
/** Characters that fit beside each other, at about half the size of the type. */
const ACROSS = WIDTH / 6.4
const escaped = (text: string) =>
  text.replace(/[&<>"]/g, (c) => `&${{ '&': 'amp', '<': 'lt', '>': 'gt', '"': 'quot' }[c]};`)

/** Lines of a text, broken between words. */
export function lines(text: string): string[] {
  const found: string[] = []
  for (const word of text.split(' ')) {
    const last = found.at(-1)
    if (last !== undefined && last.length + word.length < ACROSS) found[found.length - 1] = `${last} ${word}`
    else found.push(word)
  }
  return found
}

/** A panel as SVG; `picture`: the painted photo as a data URL. */
export function svg(sheet: Sheet, picture: string): string {
  const { map, scale, look, pin, threshold } = sheet
  const unit = WIDTH / map.width
  const height = map.height * unit
  const parts: string[] = []
  const text = (x: number, y: number, said: string, more = '') =>
    parts.push(`<text x="${x}" y="${y}"${more}>${escaped(said)}</text>`)
  let y = 24
  for (const line of lines(sheet.title)) {
    text(0, y, line, ' font-size="15" font-weight="600"')
    y += LINE + 2
  }
  const top = y - 8
  parts.push(`<image y="${top}" width="${WIDTH}" height="${height}" href="${picture}"/>`)
  const marks: string[] = []
  if (threshold) {
    const edge = outline(strongest(shown(map, look), threshold).mask, map.width)
    for (let i = 0; i < edge.length; i += 4)
      marks.push(`M${edge[i]} ${edge[i + 1]}L${edge[i + 2]} ${edge[i + 3]}`)
  }
  if (pin) {
    const [a, b] = [pin.x + 0.5, pin.y + 0.5]
    marks.push(`M${a - 3} ${b}a3 3 0 1 0 6 0a3 3 0 1 0-6 0M${a - 5} ${b}h3m4 0h3M${a} ${b - 5}v3m0 4v3`)
  }
  if (marks.length) {
    const path = `d="${marks.join('')}" fill="none" vector-effect="non-scaling-stroke"`
    parts.push(
      `<g transform="translate(0 ${top}) scale(${unit})"><path ${path} stroke="#000" stroke-width="3"/>` +
        `<path ${path} stroke="#fff" stroke-width="1.5"/></g>`,
    )
  }
  y = top + height + 10
  if (look.mode !== 'photo') {
    // Of its own, for pages that several are put into.
    const id = `ramp-${sheet.title.replace(/\W+/g, '-')}`
    const stops = ramp(scale, look, map.values).map(
      ([r, g, b, alpha], i, { length }) =>
        `<stop offset="${i / (length - 1)}" stop-color="rgb(${r},${g},${b})" stop-opacity="${alpha.toFixed(3)}"/>`,
    )
    parts.push(
      `<linearGradient id="${id}">${stops.join('')}</linearGradient>`,
      `<rect x=".5" y="${y}" width="${WIDTH - 1}" height="10" rx="2" fill="url(#${id})" stroke="#858a94"/>`,
    )
    const anchors = ['start', 'middle', 'end']
    for (const [place, label] of scale.ticks())
      text(place * WIDTH, y + 25, label, ` text-anchor="${anchors[Math.round(2 * place)]}"`)
    y += 25 + LINE
    for (const line of lines(rampWords(scale, look, sheet.unit, sheet.note))) {
      text(0, y, line, ' fill="#565a62"')
      y += LINE
    }
  }
  for (const line of sheet.words.flatMap(lines)) {
    text(0, y + 4, line, ' fill="#565a62"')
    y += LINE
  }
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="-12 0 ${WIDTH + 24} ${y}" width="${WIDTH + 24}" height="${y}"` +
    ` font-family="system-ui, sans-serif" font-size="12" fill="#1c1e22"><rect x="-12" width="100%" height="100%" fill="#fff"/>` +
    `${parts.join('\n')}</svg>\n`
  )
}
