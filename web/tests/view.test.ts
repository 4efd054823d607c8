// Zoom, pan and the geometry of plots.

import { describe, expect, it } from 'vitest'
import { apart, roundTicks } from '../src/lib/plot'
import { FIT, panned, seen, settled, zoomed } from '../src/lib/view'

describe('view', () => {
  it('keeps the place under the pointer where it is', () => {
    const about = { x: 0.3, y: 0.6 }
    const before = settled({ zoom: 2, x: 0.4, y: 0.5 })
    const after = zoomed(before, 1.7, about)
    const at = (view: typeof before) => [
      (about.x - seen(view).x) / seen(view).size,
      (about.y - seen(view).y) / seen(view).size,
    ]
    expect(at(after)[0]).toBeCloseTo(at(before)[0]!)
    expect(at(after)[1]).toBeCloseTo(at(before)[1]!)
  })
  it('never leaves the photo', () => {
    for (const view of [
      panned(settled({ zoom: 3, x: 0, y: 1 }), 9, -9),
      zoomed({ ...FIT }, 0.1, { x: 1, y: 0 }),
    ]) {
      const { x, y, size } = seen(view)
      expect(Math.min(x, y)).toBeGreaterThanOrEqual(-1e-12)
      expect(Math.max(x, y) + size).toBeLessThanOrEqual(1 + 1e-12)
    }
    expect(zoomed({ ...FIT }, 1e9, { x: 0.5, y: 0.5 }).zoom).toBe(32)
  })
})

describe('plots', () => {
  it('have round ticks inside their range', () => {
    expect(roundTicks(0, 1, 4)).toEqual([0, 0.25, 0.5, 0.75, 1])
    expect(roundTicks(-0.031, 0.87, 4)).toEqual([0, 0.25, 0.5, 0.75])
    expect(roundTicks(3, 3)).toEqual([3])
    expect(roundTicks(0, 12345, 4)).toEqual([0, 5000, 10000])
  })
  it('keep labels apart, in order and inside', () => {
    const labels = apart([50, 52, 51, 99, 100], 15, 10, 100)
    const sorted = [...labels].sort((a, b) => a - b)
    sorted.slice(1).forEach((y, i) => expect(y - sorted[i]!).toBeGreaterThanOrEqual(15 - 1e-9))
    expect(Math.max(...labels)).toBeLessThanOrEqual(100)
    expect(labels[0]!).toBeLessThan(labels[2]!)
    expect(labels[2]!).toBeLessThan(labels[1]!)
  })
})
