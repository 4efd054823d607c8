// The compare view's own reckoning: who is best, what is not settled, order, price, CSV, scales of the sheet.
import { describe, expect, it, vi } from 'vitest'
import { LOOK } from '../../src/lib/paint'
import { Scale } from '../../src/lib/paint/scale'
import { read, START, write } from '../../src/studio/state/address'
import {
  chosenMethods,
  chosenMetrics,
  chosenPhotos,
  MOST_MAPS,
  NONE,
  obstacle,
  price,
  priceText,
  type MethodEntry,
  type MetricEntry,
} from '../../src/studio/views/compare/choice'
import { Comparison, type Wanted } from '../../src/studio/views/compare/comparison.svelte'
import { rowsOf, sightOf } from '../../src/studio/views/compare/results'
import { sheetScales, widest } from '../../src/studio/views/compare/sheet'
import {
  best,
  reach,
  sorted,
  standings,
  table,
  words,
  type Cell,
  type Metric,
  type Row,
} from '../../src/studio/views/compare/table'

const deletion: Metric = { name: 'deletion', title: 'Deletion', higher_is_better: false }
const insertion: Metric = { name: 'insertion', title: 'Insertion', higher_is_better: true }

const cell = (mean: number | null, low: number | null = null, high: number | null = null): Cell => ({
  method: 'm',
  metric: 'deletion',
  mean,
  low,
  high,
  values: [mean],
  baseline: false,
})
const row = (method: string, ...[mean, low, high]: Parameters<typeof cell>): Row => ({
  method,
  title: method.toUpperCase(),
  baseline: ['random', 'centre'].includes(method),
  cells: { deletion: cell(mean, low, high) },
  seconds: null,
  problem: '',
})

describe('standings', () => {
  const rows = [
    row('a', 0.1, 0.05, 0.2),
    row('b', 0.15, 0.12, 0.3),
    row('c', 0.4, 0.35, 0.45),
    row('random', 0.44, 0.42, 0.5),
    row('centre', 0.02, 0.01, 0.03),
  ]
  const noCentre = rows.slice(0, 4)

  it('puts the best first, and into its group whom its interval overlaps', () => {
    const found = standings(noCentre, deletion)
    expect(found.get('a')).toMatchObject({ place: 1, group: 'best', below: '', overlaps: '' })
    expect(found.get('b')).toMatchObject({ place: 2, group: 'tied' })
    expect(found.get('c')).toMatchObject({ place: 3, group: null, overlaps: 'RANDOM' })
  })
  it('turns round where higher is better', () => {
    const up = { ...deletion, higher_is_better: true }
    expect(best(noCentre.slice(0, 3), up)?.method).toBe('c')
    expect(standings(noCentre, up).get('a')).toMatchObject({ place: 3, below: 'RANDOM' })
  })
  it('holds methods against the best baseline, and ranks no baseline', () => {
    const found = standings(rows, deletion)
    expect(found.get('a')).toMatchObject({ place: 1, group: 'best', below: 'CENTRE' })
    expect(found.get('centre')).toEqual({ place: null, group: null, below: '', overlaps: '' })
  })
  it('gives no group to one method alone, and equals the same place', () => {
    expect(standings([row('a', 1)], deletion).get('a')?.group).toBeNull()
    const twins = standings([row('a', 1), row('b', 1), row('c', 2)], deletion)
    expect([twins.get('a'), twins.get('b'), twins.get('c')].map((s) => [s?.place, s?.group])).toEqual([
      [1, 'best'],
      [1, 'best'],
      [3, null],
    ])
  })
  it('says so in words', () => {
    const found = standings(rows, deletion)
    expect(words(found.get('a')).map(({ text }) => text)).toEqual(['best', 'not better than CENTRE'])
    expect(words(standings(noCentre, deletion).get('c')).map(({ text }) => text)).toEqual(['overlaps RANDOM'])
    expect(words(found.get('random'))).toEqual([])
  })
  it('leaves undefined values out', () => {
    const found = standings([row('a', null), row('b', 3)], deletion)
    expect(found.get('a')).toMatchObject({ place: null, group: null })
    expect(reach([row('a', null)], 'deletion')).toEqual([-0.5, 0.5])
    expect(reach([row('a', 0.3, 0.1, 0.4), row('b', 0.2)], 'deletion')).toEqual([0.1, 0.4])
  })
})

describe('order', () => {
  const rows = [row('a', 0.3), row('b', null), row('c', 0.1), row('d', 0.3)]
  const names = (by: string, reversed: boolean) =>
    sorted(rows, { by, reversed }, [deletion, insertion])
      .map(({ method }) => method)
      .join('')

  it('is best first, equals as they were, without a value last whichever way', () => {
    expect(names('deletion', false)).toBe('cadb')
    expect(names('deletion', true)).toBe('adcb')
  })
  it('goes by name and by time, too', () => {
    expect(names('method', true)).toBe('dcba')
    const timed = [
      { ...row('x', 1), seconds: 3 },
      { ...row('y', 1), seconds: 1 },
    ]
    expect(sorted(timed, { by: 'seconds', reversed: false }, []).map(({ method }) => method)).toEqual([
      'y',
      'x',
    ])
  })
  it('leaves the rows that it was given alone', () => {
    sorted(rows, { by: 'deletion', reversed: false }, [deletion])
    expect(rows.map(({ method }) => method).join('')).toBe('abcd')
  })
})

describe('CSV', () => {
  it('has a line a method and metric, a column a photo, and quotes names with commas', () => {
    const found = row('a', 0.25, 0.1, 0.4)
    found.cells.deletion!.values = [0.2, null]
    expect(table([found], [deletion, insertion], ['cat, grey.png', 'dog.png'])).toBe(
      'method,baseline,metric,higher_is_better,mean,low,high,"cat, grey.png",dog.png\n' +
        'a,false,deletion,false,0.25,0.1,0.4,0.2,\n',
    )
  })
})

const method = (name: string, part: Partial<MethodEntry> = {}) =>
  ({
    name,
    title: name,
    group: 'gradient',
    fits: true,
    autorun: true,
    seconds: 1,
    reason: '',
    ...part,
  }) as MethodEntry
const metric = (name: string, part: Partial<MetricEntry> = {}) =>
  ({ name, title: name, forward: 29, reason: '', ...part }) as MetricEntry

describe('choice', () => {
  const methods = [
    method('grad_cam', { group: 'layer' }),
    method('layer_cam', { group: 'layer' }),
    method('gradient'),
    method('rise', { group: 'black box', autorun: false }),
    method('rollout', { fits: false, autorun: false }),
  ]
  it('takes a few that are well known and fit, cheap ones first', () => {
    const names = (entries: MethodEntry[]) => chosenMethods(START, entries).map(({ name }) => name)
    expect(names([...methods, method('abs_cam')])).toEqual(['grad_cam', 'layer_cam', 'gradient', 'rise'])
    const dear = method('occlusion', { autorun: false })
    const cheap = [method('lrp'), method('integrated_gradients', { autorun: false })]
    expect(names([dear, ...cheap, ...methods])).toEqual([
      'lrp',
      'integrated_gradients',
      'grad_cam',
      'layer_cam',
      'gradient',
    ])
    expect(names([method('new'), method('other', { fits: false })])).toEqual(['new'])
  })
  it('takes the choice of the address, which may be nothing', () => {
    const view = { ...START, methods: ['rise', 'rollout'], metrics: [NONE] }
    expect(chosenMethods(view, methods).map(({ name }) => name)).toEqual(['rise'])
    expect(chosenMethods({ ...view, methods: [NONE] }, methods)).toEqual([])
    expect(chosenMetrics(view, [metric('deletion')])).toEqual([])
    expect(read(write({ ...view, view: 'compare' })).metrics).toEqual([NONE])
  })
  it('has deletion and insertion by default, and nothing that lacks masks', () => {
    const metrics = [metric('insertion'), metric('roc'), metric('deletion', { reason: 'no masks' })]
    expect(chosenMetrics(START, metrics).map(({ name }) => name)).toEqual(['insertion'])
  })
  it('takes all photos where none is ticked, at most 64', () => {
    const images = Array.from({ length: 70 }, (_, i) => ({ id: `${i}` })) as unknown as Parameters<
      typeof chosenPhotos
    >[1]
    expect(chosenPhotos(START, images)).toHaveLength(64)
    expect(chosenPhotos({ ...START, photos: ['3', '69', 'gone'] }, images).map(({ id }) => id)).toEqual([
      '3',
      '69',
    ])
  })
  it('adds maps, measurements and those of the baselines', () => {
    const found = price(4, [method('a', { seconds: 2 }), method('b')], [metric('deletion')], 10)
    expect(found.seconds).toBeCloseTo(4 * (3 + (5 * 29) / 10))
    expect(priceText(4, 2, found)).toBe('2 methods × 4 photos, about 70 s here')
  })
  it('says what has no price', () => {
    const found = price(1, [method('a', { seconds: null })], [metric('adcc', { forward: null })], 10)
    expect(priceText(1, 1, found)).toBe('1 method × 1 photo, at least < 0.1 s here, more with a and adcc')
  })
  it('says why it cannot begin', () => {
    const photo = { id: 'x' } as Parameters<typeof obstacle>[0]['photos'][0]
    expect(obstacle({ photos: [], methods })).toContain('no photo')
    expect(obstacle({ photos: [photo], methods: [] })).toContain('at least one method')
    expect(obstacle({ photos: [photo], methods })).toBe('')
    const many = Array.from({ length: MOST_MAPS }, () => photo)
    expect(obstacle({ photos: many, methods })).toContain('choose fewer')
  })
})

const wanted: Wanted = {
  model: '0',
  images: ['p', 'q'],
  methods: ['a', 'b'],
  metrics: ['deletion'],
  target: null,
  steps: 28,
  seed: 7,
}
type Told = Parameters<Comparison['take']>[0]
const cells = (method: string, part: object) =>
  ({
    event: 'cells',
    job: 'j',
    method,
    cells: [],
    maps: [],
    seconds: 2,
    done: 1,
    total: 4,
    finished: false,
    problem: '',
    ...part,
  }) as Told

describe('a comparison', () => {
  it('fills in as events come: maps one by one, cells at last', () => {
    const found = new Comparison()
    found.request = wanted
    found.take(cells('a', { maps: [{ text: '1' }] }))
    expect(found.progress).toBe(0.25)
    expect(found.current).toBe('a')
    found.take(cells('a', { maps: [{ text: '2' }] }))
    found.take(cells('random', { cells: [{ ...cell(1), baseline: true }], finished: true }))
    found.take(cells('a', { cells: [cell(0.5)], finished: true }))
    expect(found.current).toBe('b')
    found.take(cells('b', { finished: true, problem: 'It does not fit' }))
    const rows = rowsOf(found.results, wanted, (name) => name)
    expect(rows.map(({ method, baseline, problem }) => [method, baseline, problem])).toEqual([
      ['a', false, ''],
      ['b', false, 'It does not fit'],
      ['random', true, ''],
    ])
    expect(rows[0]?.cells.deletion?.mean).toBe(0.5)
    expect(rows[0]?.seconds).toBe(1)
    expect(found.results[0]?.maps.map(({ text }) => text)).toEqual(['1', '2'])
  })
  it('is there again where the server still knows it, and asks once for each choice', async () => {
    const bodies: Record<string, unknown>[] = []
    const answers = [
      [{ event: 'error', job: 'j', kind: 'Missing', asked: '', found: '', do: '', superseded: false }],
      [cells('a', { finished: true }), { event: 'done', job: 'j', command: 'c', remarks: [] }],
    ]
    vi.stubGlobal('fetch', async (_: string, init: RequestInit) => {
      bodies.push(JSON.parse(String(init.body)) as Record<string, unknown>)
      const said = answers.shift() ?? []
      return new Response(said.map((event) => `data: ${JSON.stringify(event)}\n\n`).join(''))
    })
    const found = new Comparison()
    await found.restore(wanted)
    await found.restore(wanted)
    expect([found.phase, found.request, found.refusal, bodies.length]).toEqual(['idle', null, null, 1])
    const other = { ...wanted, seed: 9 }
    await found.restore(other)
    expect([found.phase, found.request, found.results.length]).toEqual(['done', other, 1])
    expect(bodies.map(({ kept, seed }) => [kept, seed])).toEqual([
      [true, wanted.seed],
      [true, 9],
    ])
    await found.restore(wanted)
    expect(bodies.length).toBe(2)
    vi.unstubAllGlobals()
  })
  it('ends, fails, or gives way', () => {
    const found = new Comparison()
    found.take({ event: 'done', job: 'j', command: 'c', remarks: [] })
    expect(found.phase).toBe('done')
    const error = {
      event: 'error',
      job: 'j',
      kind: 'X',
      asked: 'a',
      found: 'f',
      do: 'd',
      superseded: false,
    } as const
    found.take(error)
    expect(found.phase).toBe('failed')
    expect(found.refusal?.found).toBe('f')
    found.take({ ...error, superseded: true })
    expect(found.phase).toBe('cancelled')
  })
  it('leads to the saliency view of a map as it was made', () => {
    const sight = sightOf({ ...wanted, target: '3 vs 5' }, 'q', 'b')
    expect(sight).toMatchObject({
      view: 'saliency',
      image: 'q',
      slots: ['b'],
      ran: ['b'],
      target: '3',
      versus: '5',
      seed: 7,
    })
    expect(sightOf(wanted, 'q', 'b')).toMatchObject({ target: null, versus: null })
    expect(read(write({ ...START, ...sight }))).toMatchObject(sight)
  })
})

describe('scales of the sheet', () => {
  const map = (...values: number[]) => {
    const bits: Record<string, number> = { 0: 0, 1: 0x3c00, '-1': 0xbc00, 0.5: 0x3800 }
    const bytes = values.flatMap((v) => [bits[v]! & 255, bits[v]! >> 8])
    const data = btoa(String.fromCharCode(...bytes))
    const signed = values.some((v) => v < 0)
    return (factor: number) =>
      ({
        signed,
        native: null,
        values: { shape: [1, values.length], factor, data },
      }) as unknown as Parameters<typeof sheetScales>[0][0][0]
  }
  const small = map(0, 0.5, 1)(1)
  const large = map(0, 0.5, 1)(10)
  const signed = map(-1, 0.5, 1)(2)
  const ends = (mode: 'own' | 'method' | 'all') =>
    sheetScales([[small, large], [signed]], { ...LOOK, clip: 1 }, mode).map((scales) =>
      scales.map(({ low, high }) => [low, high]),
    )

  it('is each map’s own, its method’s, or one for all', () => {
    expect(ends('own')).toEqual([
      [
        [0, 1],
        [0, 10],
      ],
      [[-2, 2]],
    ])
    expect(ends('method')).toEqual([
      [
        [0, 10],
        [0, 10],
      ],
      [[-2, 2]],
    ])
    expect(ends('all')).toEqual([
      [
        [-10, 10],
        [-10, 10],
      ],
      [[-10, 10]],
    ])
  })
  it('starts where the lowest starts, maps without a value aside', () => {
    const found = widest([new Scale(4, 9, false), new Scale(3, 5, false), new Scale(0, 0, false)])
    expect([found.low, found.high, found.signed]).toEqual([3, 9, false])
  })
})
