// Small things: search of classes, correlation of ranks, scales, sizes, history, words.
import { beforeEach, describe, expect, it } from 'vitest'
import { LOOK, type Grid } from '../../src/lib/paint'
import { csv } from '../../src/studio/inspector/saving'
import { History } from '../../src/studio/state/history'
import { matching } from '../../src/studio/state/matching'
import { ranks, spearman } from '../../src/studio/state/spearman'
import { duration, percent, price, score, unitOf } from '../../src/studio/state/words'
import { panelWidth } from '../../src/studio/views/saliency/layout'
import { START } from '../../src/studio/state/address'
import { pairOf, placesOf } from '../../src/studio/views/saliency/places'
import { scales } from '../../src/studio/views/saliency/scales'

describe('search of classes', () => {
  const labels = ['tench, Tinca tinca', 'tabby, tabby cat', 'tiger cat', 'Egyptian cat', 'catamaran']
  it('puts beginnings first, then words, then the rest', () => {
    expect(matching(labels, 'cat')).toEqual([4, 1, 2, 3])
    expect(matching(labels, 'TINCA')).toEqual([0])
    expect(matching(labels, 'inca')).toEqual([0])
    expect(matching(labels, '2')).toEqual([2])
    expect(matching(labels, '  ')).toEqual([])
    expect(matching(labels, 'a', 2)).toHaveLength(2)
  })
})

describe('correlation of ranks', () => {
  it('gives ties their mean rank', () => {
    expect([...ranks([3, 1, 3, 2])]).toEqual([2.5, 0, 2.5, 1])
  })
  it('is 1, -1, or none', () => {
    expect(spearman([1, 2, 3], [10, 20, 300])).toBeCloseTo(1)
    expect(spearman([1, 2, 3], [3, 2, 1])).toBeCloseTo(-1)
    expect(spearman([1, 1, 1], [1, 2, 3])).toBeNaN()
    expect(spearman([1, NaN, 1], [1, 2, 3])).toBeNaN()
    expect(spearman([1, 2, 2, 4], [1, 3, 2, 4])).toBeCloseTo(0.9486833)
  })
})

describe('scales', () => {
  const grid = (top: number, signed = false): Grid => ({
    values: Float64Array.from([0, top / 2, top]),
    width: 3,
    height: 1,
    signed,
  })
  it('are shared by panels of one method, and say so', () => {
    const found = scales([grid(1), grid(4), grid(100)], ['a', 'a', 'b'], { ...LOOK, clip: 1 }, 'method')
    expect(found.map(({ scale }) => scale?.high)).toEqual([4, 4, 100])
    expect(found.map(({ note }) => note)).toEqual([
      'same scale in 2 panels',
      'same scale in 2 panels',
      'own scale',
    ])
  })
  it('are one for all, or each panel’s own', () => {
    const of = (mode: 'all' | 'own') =>
      scales([grid(1), grid(4)], ['a', 'b'], { ...LOOK, clip: 1 }, mode).map(({ scale }) => scale?.high)
    expect(of('all')).toEqual([4, 4])
    expect(of('own')).toEqual([1, 4])
  })
  it('never mix signed and unsigned maps, and wait for maps', () => {
    const found = scales([grid(1), grid(4, true), null], ['a', 'b', 'c'], { ...LOOK, clip: 1 }, 'all')
    expect(found.map(({ scale }) => scale?.high ?? null)).toEqual([1, 4, null])
  })
})

describe('sizes of panels', () => {
  it('three share a row where there is room', () => {
    expect(3 * panelWidth(3, 900, 800, 1) + 32).toBeLessThanOrEqual(900)
  })
  it('more take rows before they get narrow', () => {
    expect(panelWidth(6, 1000, 2000, 1)).toBeGreaterThanOrEqual(300)
  })
  it('never exceed the canvas', () => {
    for (let count = 1; count <= 6; count++)
      for (const width of [200, 500, 765, 1009, 1850])
        expect(panelWidth(count, width, 800, 1.5)).toBeLessThanOrEqual(width)
  })
})

describe('history', () => {
  beforeEach(() => {
    sessionStorage.clear()
    history.replaceState(null, '', '#/saliency')
  })
  it('knows what can be undone and redone', () => {
    const entries = new History(window, () => undefined)
    expect([entries.canUndo, entries.canRedo]).toEqual([false, false])
    entries.push('#/saliency?y=1')
    entries.replace('#/saliency?y=2')
    expect([entries.place, entries.canUndo, entries.canRedo, location.hash]).toEqual([
      1,
      true,
      false,
      '#/saliency?y=2',
    ])
    history.replaceState({ place: 0 }, '', '#/saliency')
    expect([entries.canUndo, entries.canRedo]).toEqual([false, true])
  })
  it('goes on after a reload', () => {
    new History(window, () => undefined).push('#/saliency?y=1')
    expect(new History(window, () => undefined).canUndo).toBe(true)
  })
})

describe('panels in one place', () => {
  const places = (...slots: [number, boolean][]) =>
    slots.map(([index, twin]) => ({ slot: `m${index}`, index, twin }))
  it('are the active one and the next, which is its twin where there is one', () => {
    const three = places([0, false], [1, false], [1, true])
    expect([0, 1, 2].map((active) => pairOf(three, active))).toEqual([
      [0, 1],
      [1, 2],
      [0, 1],
    ])
    expect(pairOf(places([0, false], [1, false]), 1)).toEqual([0, 1])
  })
  it('are none where there is one alone, whatever the address says', () => {
    expect(pairOf(places([0, false]), 0)).toBeNull()
    expect(placesOf({ ...START, slots: ['a'], swipe: 0.3 })).toMatchObject({
      swipe: null,
      shown: [{ slot: 'a' }],
    })
    const view = { ...START, slots: ['a', 'b', 'c'], twins: ['b'], active: 1 }
    expect(placesOf(view).shown.length).toBe(4)
    expect(placesOf({ ...view, swipe: 0.3 }).shown).toEqual([
      { slot: 'b', index: 1, twin: false },
      { slot: 'b', index: 1, twin: true },
    ])
  })
})

describe('words', () => {
  it('say prices', () => {
    expect(price(4000, 0, 38)).toBe('~4,000 passes, ≈ 38 s here')
    expect(price(1, 0, 0.01)).toBe('1 pass, under 0.1 s here')
    expect(price(null, null, null)).toBe('')
  })
  it('say numbers', () => {
    expect([duration(0.01), duration(5), duration(240), duration(7200)]).toEqual([
      '< 0.1 s',
      '5.0 s',
      '4 min',
      '2.0 h',
    ])
    expect([percent(0.337), percent(0.0002), percent(null)]).toEqual(['33.7 %', '< 0.1 %', '–'])
    expect([score(-0.0244), score(12.34), score(NaN)]).toEqual(['−0.024', '12.3', '–'])
  })
  it('say what a map explains', () => {
    const of = (target: object) => unitOf({ inputs: [{ target }] })
    expect(of({ score: 'log_odds', label: 'tabby, tabby cat' })).toBe('log odds of tabby')
    expect([of({ score: 'logit' }), of({}), unitOf({}), unitOf(undefined)]).toEqual(['logit', '', '', ''])
  })
  it('quote what CSV must quote', () => {
    expect(
      csv([
        ['a', 'b, "c"'],
        [1, null],
      ]),
    ).toBe('a,"b, ""c"""\n1,\n')
  })
})
