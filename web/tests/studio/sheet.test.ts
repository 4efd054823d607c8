// A panel as SVG: well-formed, with its words as text, the region and the pin as paths, on the colours of the page.
import { describe, expect, it } from 'vitest'
import { LOOK, paint, Scale, type Grid, type Rgba } from '../../src/lib/paint'
import { lines, painted, svg, type Sheet } from '../../src/studio/inspector/sheet'

const map: Grid = { values: Float64Array.from([0, 1, 2, 3, 4, 5, 6, 8]), signed: false, width: 4, height: 2 }
const sheet: Sheet = {
  title: 'Grad-CAM, <cat & "dog">',
  words: ['efficientnet-lite0, tabby'],
  map,
  native: null,
  scale: Scale.of(map.values, false, 1),
  look: LOOK,
  unit: 'logit of tabby',
  note: 'own scale',
  threshold: 0.25,
  pin: { x: 3, y: 1 },
}
const parsed = (text: string) => new DOMParser().parseFromString(text, 'image/svg+xml').documentElement
const said = (root: Element) => [...root.querySelectorAll('text')].map((node) => node.textContent)

describe('a panel as SVG', () => {
  it('has its words as text and the picture inside', () => {
    const root = parsed(svg(sheet, 'data:image/png;base64,AAAA'))
    expect(root.querySelector('parsererror')).toBeNull()
    expect(said(root)).toEqual([
      'Grad-CAM, <cat & "dog">',
      '0',
      '4',
      '8',
      'logit of tabby; own scale',
      'efficientnet-lite0, tabby',
    ])
    expect(root.querySelector('image')?.getAttribute('href')).toBe('data:image/png;base64,AAAA')
    expect(root.querySelectorAll('stop').length).toBeGreaterThan(32)
    const [, , width, height] = root.getAttribute('viewBox')!.split(' ').map(Number)
    for (const node of root.querySelectorAll('text')) {
      expect(Number(node.getAttribute('y'))).toBeLessThan(height!)
      expect(Number(node.getAttribute('x'))).toBeLessThan(width!)
    }
  })
  it('outlines the region and marks the pin, where there are any', () => {
    const path = (of: Sheet) => parsed(svg(of, '')).querySelector('g path')?.getAttribute('d') ?? ''
    expect(path(sheet)).toContain('M2 1L4 1') // above the strongest two of eight
    expect(path({ ...sheet, threshold: 0 })).toMatch(/^M0.5 1.5a3/)
    expect(path({ ...sheet, threshold: 0, pin: null })).toBe('')
  })
  it('has no colour bar where only the photo is shown', () => {
    const root = parsed(svg({ ...sheet, look: { ...LOOK, mode: 'photo' } }, ''))
    expect(root.querySelector('linearGradient')).toBeNull()
    expect(said(root)).toEqual(['Grad-CAM, <cat & "dog">', 'efficientnet-lite0, tabby'])
  })
  it('breaks long lines between words', () => {
    const text = 'word '.repeat(40).trim()
    expect(lines(text).length).toBe(3)
    expect(lines(text).join(' ')).toBe(text)
    expect(lines('x'.repeat(200)).length).toBe(1)
  })
})

describe('the painted photo', () => {
  const photo = (n: number) => new Uint8ClampedArray(4 * n).fill(200) as Rgba
  it('is the panel itself at its own size', () => {
    expect(painted(sheet, photo(8), 4)).toEqual(paint(photo(8), map.values, 4, sheet.scale, LOOK))
  })
  it('keeps cells hard where the page does, and no other pixel where it is enlarged', () => {
    const hard = painted({ ...sheet, look: { ...LOOK, smooth: false } }, photo(8 * 9), 12)
    const own = painted(sheet, photo(8), 4)
    for (let y = 0; y < 6; y++)
      for (let x = 0; x < 12; x++) {
        const [at, from] = [4 * (12 * y + x), 4 * (4 * Math.floor(y / 3) + Math.floor(x / 3))]
        expect(hard.slice(at, at + 4)).toEqual(own.slice(from, from + 4))
      }
  })
})
