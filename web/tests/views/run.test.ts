// The run view's arithmetic: order of rows, little axes, words, and the way to the saliency view.

import { describe, expect, it } from 'vitest'
import {
  NAME,
  natural,
  reach,
  readSort,
  SECONDS,
  sorted,
  intervalWords,
  writeSort,
  type Board,
  type Sample,
} from '../../src/studio/views/run/board'
import { viewOf } from '../../src/studio/views/run/explain'

const method = (label: string, seconds: number | null, baseline = false, parameters = {}) => ({
  label,
  name: baseline ? '' : label,
  title: label.toUpperCase(),
  baseline,
  parameters,
  seconds,
  forward: seconds,
  backward: 0,
})
const cell = (
  of: string,
  metric: string,
  mean: number | null,
  low: number | null = null,
  high: number | null = null,
) => ({
  method: of,
  metric,
  mean,
  low,
  high,
  samples: 9,
  undefined: 0,
})
const board = {
  path: '/r',
  name: 'r',
  model: 'm',
  weights_sha256: '',
  data: 'd',
  target: '',
  seed: 5,
  samples: 9,
  progress: null,
  metrics: [
    { label: 'deletion', name: 'deletion', title: 'deletion', higher_is_better: false, summary: '' },
    { label: 'insertion', name: 'insertion', title: 'insertion', higher_is_better: true, summary: '' },
  ],
  methods: [
    method('a', 2),
    method('b', 1, false, { masks: 500 }),
    method('c', null),
    method('random', null, true),
  ],
  cells: [
    cell('a', 'deletion', 0.3, 0.2, 0.5),
    cell('b', 'deletion', 0.1, 0.05, 0.15),
    cell('c', 'deletion', null),
    cell('random', 'deletion', 0.4),
    cell('a', 'insertion', 0.9),
    cell('b', 'insertion', 0.2),
    cell('c', 'insertion', 0.5),
    cell('random', 'insertion', 0.1),
  ],
  left_out: {},
  versions: {},
  command: '',
  plan: '',
} as Board
const labels = (by: string, down?: boolean) =>
  sorted(board, down === undefined ? natural(board, by) : { by, down }).map((m) => m.label)

describe('order', () => {
  it('begins with the best, whichever way that is', () => {
    expect(labels('deletion')).toEqual(['b', 'a', 'random', 'c'])
    expect(labels('insertion')).toEqual(['a', 'c', 'b', 'random'])
  })
  it('keeps what has no value last either way', () => {
    expect(labels('deletion', true)).toEqual(['random', 'a', 'b', 'c'])
    expect(labels(SECONDS)).toEqual(['random', 'b', 'a', 'c'])
    expect(labels(SECONDS, true).at(-1)).toBe('c')
  })
  it('goes by name, too', () => {
    expect(labels(NAME)).toEqual(['a', 'b', 'c', 'random'])
    expect(labels(NAME, true)).toEqual(['random', 'c', 'b', 'a'])
  })
  it('survives the address', () => {
    for (const by of ['deletion', SECONDS, NAME])
      for (const down of [true, false]) expect(readSort(writeSort({ by, down }))).toEqual({ by, down })
    expect(readSort(undefined)).toBeNull()
  })
})

describe('words', () => {
  it('says an interval, where there is one', () => {
    expect(intervalWords(board.cells[0])).toBe('95 % interval 0.2 to 0.5')
    expect(intervalWords(board.cells[2])).toBe('')
    expect(intervalWords(undefined)).toBe('')
  })
  it('has an axis that holds every interval', () => {
    expect(reach(board, 'deletion')).toEqual([0.05, 0.5])
    expect(reach({ ...board, cells: [cell('a', 'deletion', 1)] }, 'deletion')).toEqual([0.5, 1.5])
    expect(reach({ ...board, cells: [] }, 'deletion')).toEqual([0, 1])
  })
})

describe('from a sample to the saliency view', () => {
  const sample = {
    sample: 's',
    place: 0,
    photo: '/p',
    value: 1,
    against: null,
    target: 'cat',
    index: 281,
    predicted: 'cat',
    probability: 1,
  } as Sample
  it('takes photo, method, parameters, class and seed along', () => {
    expect(viewOf(board, 'b', sample, 'id')).toMatchObject({
      view: 'saliency',
      image: 'id',
      slots: ['b'],
      parameters: { b: { masks: 500 } },
      target: '281',
      versus: null,
      seed: 5,
      stopped: {},
    })
    expect(viewOf(board, 'a', sample, 'id').parameters).toEqual({})
  })
  it('leaves the methods alone for a baseline, which explains nothing', () => {
    const view = viewOf(board, 'random', sample, 'id')
    expect(view.image).toBe('id')
    expect(view).not.toHaveProperty('slots')
  })
  it('asks about the model’s own answer where the class is not known', () => {
    expect(viewOf(board, 'a', { ...sample, index: null }, 'id').target).toBeNull()
  })
})
