// The table of a comparison: who is best under each metric, whom its interval does not tell apart from others,
// what does not beat a map that knows nothing; sorting, and the same as CSV.

import type { Schemas } from '../../../lib/api/client'
import { csv } from '../../inspector/saving'

export type Cell = Schemas['Cell']
export type Metric = Pick<Schemas['MetricEntry'], 'name' | 'title' | 'higher_is_better'>

export interface Row {
  method: string
  title: string
  baseline: boolean
  /** By metric. */
  cells: Partial<Record<string, Cell>>
  /** Of one map; null where there is none. */
  seconds: number | null
  /** Why it is left out, or "". */
  problem: string
}

/** How a value stands among the others of its column. */
export interface Standing {
  /** Place among the methods, 1 the best, by mean; null without a value. */
  place: number | null
  /** Best, or not told apart from the best by its interval. */
  group: 'best' | 'tied' | null
  /** The best baseline that it does not beat, or whose interval it overlaps. */
  below: string
  overlaps: string
}

export interface Sorting {
  /** A metric's name, "method" or "seconds". */
  by: string
  /** Whether the worst, last or slowest comes first. */
  reversed: boolean
}

const known = (cell: Cell | undefined): cell is Cell & { mean: number } => cell?.mean != null
const goodness = (metric: Metric, cell: Cell & { mean: number }) =>
  metric.higher_is_better ? cell.mean : -cell.mean

/** Whether two intervals share a value; false where one has none. */
export function overlap(a: Cell, b: Cell): boolean {
  if (a.low == null || a.high == null || b.low == null || b.high == null) return false
  return Math.max(a.low, b.low) <= Math.min(a.high, b.high)
}

/** The best of some rows under a metric; the first of equals. */
export function best(rows: readonly Row[], metric: Metric): Row | null {
  let found: Row | null = null
  let most = -Infinity
  for (const row of rows) {
    const cell = row.cells[metric.name]
    if (known(cell) && goodness(metric, cell) > most) [found, most] = [row, goodness(metric, cell)]
  }
  return found
}

/** Standings of all rows under a metric, by method. Baselines are held against each other only. */
export function standings(rows: readonly Row[], metric: Metric): Map<string, Standing> {
  const own = rows.filter((row) => !row.baseline)
  const first = best(own, metric)?.cells[metric.name]
  const bar = best(
    rows.filter((row) => row.baseline),
    metric,
  )
  const barCell = bar?.cells[metric.name]
  const order = own
    .map((row) => row.cells[metric.name])
    .filter(known)
    .map((cell) => goodness(metric, cell))
  const found = new Map<string, Standing>()
  for (const row of rows) {
    const cell = row.cells[metric.name]
    const standing: Standing = { place: null, group: null, below: '', overlaps: '' }
    found.set(row.method, standing)
    if (row.baseline || !known(cell)) continue
    const value = goodness(metric, cell)
    standing.place = 1 + order.filter((other) => other > value).length
    if (order.length > 1)
      standing.group = standing.place === 1 ? 'best' : first && overlap(cell, first) ? 'tied' : null
    if (bar && known(barCell)) {
      if (value <= goodness(metric, barCell)) standing.below = bar.title
      else if (overlap(cell, barCell)) standing.overlaps = bar.title
    }
  }
  return found
}

/** Ends of the axis that a column's cells share. */
export function reach(rows: readonly Row[], metric: string): [number, number] {
  const all = rows.flatMap(({ cells: { [metric]: cell } }) => (cell ? [cell.mean, cell.low, cell.high] : []))
  const known = all.filter((value) => value !== null)
  const [low, high] = [Math.min(...known), Math.max(...known)]
  return known.length && high > low ? [low, high] : [(known[0] ?? 0) - 0.5, (known[0] ?? 0) + 0.5]
}

/** What stands beside a value, in words. */
export function words(standing: Standing | undefined): { text: string; kind: 'good' | 'bad' | 'plain' }[] {
  if (!standing) return []
  const said: { text: string; kind: 'good' | 'bad' | 'plain' }[] = []
  if (standing.group === 'best') said.push({ text: 'best', kind: 'good' })
  if (standing.group === 'tied') said.push({ text: 'overlaps the best', kind: 'plain' })
  if (standing.below) said.push({ text: `not better than ${standing.below}`, kind: 'bad' })
  else if (standing.overlaps) said.push({ text: `overlaps ${standing.overlaps}`, kind: 'bad' })
  return said
}

/** Rows in order; what has no value comes last, equals keep their order. */
export function sorted(rows: readonly Row[], sorting: Sorting, metrics: readonly Metric[]): Row[] {
  const metric = metrics.find(({ name }) => name === sorting.by)
  const key = (row: Row): number | null => {
    if (sorting.by === 'seconds') return row.seconds
    const cell = metric ? row.cells[metric.name] : undefined
    return metric && known(cell) ? -goodness(metric, cell) : null
  }
  const turn = sorting.reversed ? -1 : 1
  return [...rows].sort((a, b) => {
    if (!metric && sorting.by !== 'seconds') return turn * a.title.localeCompare(b.title, 'en')
    const [x, y] = [key(a), key(b)]
    if (x === null || y === null) return (x === null ? 1 : 0) - (y === null ? 1 : 0)
    return turn * (x - y)
  })
}

/** The table as CSV: one line a method and metric, then one column a photo. Empty: undefined. */
export function table(rows: readonly Row[], metrics: readonly Metric[], photos: readonly string[]): string {
  const head = ['method', 'baseline', 'metric', 'higher_is_better', 'mean', 'low', 'high', ...photos]
  const lines = rows.flatMap((row) =>
    metrics.flatMap((metric) => {
      const cell = row.cells[metric.name]
      if (!cell) return []
      const values = photos.map((_, i) => cell.values[i] ?? null)
      const better = String(metric.higher_is_better)
      return [
        [row.method, String(row.baseline), metric.name, better, cell.mean, cell.low, cell.high, ...values],
      ]
    }),
  )
  return csv([head, ...lines])
}
