// The concept view's arithmetic: rankings, filters, axes, verdicts.

import { describe, expect, it } from 'vitest'
import {
  axis,
  probability,
  ranked,
  barWords,
  told,
  verdict,
  type Board,
  type Row,
} from '../../src/studio/views/concepts/board'

const row = (concept: string, value: number | null, more: Partial<Row> = {}): Row => ({
  concept,
  layer: 'l',
  target: 'zebra',
  index: 340,
  value,
  low: null,
  high: null,
  random: null,
  randoms: [],
  runs: [],
  p: null,
  significant: null,
  separable: null,
  accuracy: null,
  sensitivity: null,
  effect: null,
  gain: null,
  images: null,
  note: '',
  ...more,
})
const board = {
  kind: 'tcav',
  layers: ['l', 'm'],
  targets: ['zebra', 'tiger'],
  measure: { name: 'TCAV score', explanation: '', least: 0, most: 1, chance: null, fraction: false },
  rows: [
    row('dots', 0.2),
    row('stripes', 0.9),
    row('grass', null, { separable: false }),
    row('stripes', 0.7, { target: 'tiger' }),
    row('dots', 0.8, { layer: 'm' }),
  ],
  cards: [{ concept: 'dots', layer: 'l', strips: [], classes: [row('dots', 1, { target: 'Dalmatian' })] }],
} as unknown as Board

describe('ranking', () => {
  const names = (layer: string, target: string, filter = '') =>
    ranked(board, layer, target, filter).map((r) => r.concept)
  it('has the rows of one layer and class, the largest first, those without a value last', () => {
    expect(names('l', 'zebra')).toEqual(['stripes', 'dots', 'grass'])
    expect(names('l', 'tiger')).toEqual(['stripes'])
    expect(names('m', 'zebra')).toEqual(['dots'])
  })
  it('filters by concept and by the classes of its card', () => {
    expect(names('l', 'zebra', ' STRI ')).toEqual(['stripes'])
    expect(names('l', 'zebra', 'dalma')).toEqual(['dots'])
    expect(names('l', 'zebra', 'nothing')).toEqual([])
  })
})

describe('axis', () => {
  it('ends where the measure ends', () => {
    expect(axis(board, [row('a', 0.2)])).toEqual([0, 1])
  })
  it('otherwise holds 0, intervals and random concepts', () => {
    const open = { ...board, measure: { ...board.measure, most: null } } as Board
    expect(axis(open, [row('a', 0.2, { low: 0.1, high: 0.6, randoms: [0.1, 0.7] })])).toEqual([0, 0.7])
    expect(axis(open, [row('a', -0.2, { low: -0.3, high: -0.1 })])).toEqual([-0.3, 0])
    expect(axis(open, [])).toEqual([0, 1])
  })
})

describe('verdict', () => {
  it('is silent where nothing was tested', () => {
    expect(verdict(row('a', 1))).toBeNull()
  })
  it('names what is not separable, not significant, and below random concepts', () => {
    expect(verdict(row('a', null, { separable: false, significant: false }))?.text).toBe('not separable')
    expect(verdict(row('a', 1, { significant: false, p: 0.4 }))?.text).toBe('p 0.400, not significant')
    expect(verdict(row('a', 0.9, { significant: true, p: 0.01, random: 0.5 }))).toMatchObject({
      sign: '✓',
      text: 'p 0.010',
    })
    expect(verdict(row('a', 0.1, { significant: true, p: 0.01, random: 0.5 }))).toMatchObject({ sign: '↓' })
  })
})

describe('words', () => {
  it('rounds a probability, never to 0', () => {
    expect(probability(0.0004)).toBe('< 0.001')
    expect(probability(0.028)).toBe('0.028')
    expect(probability(null)).toBe('n/a')
  })
  it('says shares as per cent, with their sign', () => {
    const shares = { ...board, measure: { ...board.measure, fraction: true } } as Board
    expect(told(shares, 0.0322)).toBe('3.2 %')
    expect(told(shares, -0.0322)).toBe('−3.2 %')
    expect(told(board, 0.5)).toBe('0.5')
    expect(told(board, null)).toBe('n/a')
  })
  it('says what a bar shows beside its value', () => {
    expect(barWords(board, row('stripes', 0.9, { low: 0.8, high: 1, random: 0.4 }))).toBe(
      '95 % interval 0.8 to 1, random concepts 0.4',
    )
    expect(barWords(board, row('stripes', 0.9))).toBe('')
  })
})
