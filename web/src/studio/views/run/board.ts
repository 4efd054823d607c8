// A run's numbers, as the run view sorts and words them.

import type { Schemas } from '../../../lib/api/client'
import { number } from '../../../lib/paint'

export type Board = Schemas['RunBoard']
export type Doubts = Schemas['RunDoubts']
export type Detail = Schemas['RunDetail']
export type Cell = Schemas['RunCell']
export type Method = Schemas['RunMethod']
export type Sample = Schemas['RunSample']

/** Column and direction: "deletion", "-seconds" (downwards), "method". */
export interface Sort {
  by: string
  down: boolean
}

export const SECONDS = '#seconds'
export const PASSES = '#passes'
export const NAME = '#method'

export const readSort = (text: string | undefined): Sort | null =>
  text ? { by: text.replace(/^-/, ''), down: text.startsWith('-') } : null
export const writeSort = (sort: Sort) => `${sort.down ? '-' : ''}${sort.by}`

/** The direction in which a column begins: the best on top. */
export function natural(board: Board, by: string): Sort {
  return { by, down: board.metrics.find((m) => m.label === by)?.higher_is_better ?? false }
}

/** Cells by method and metric. */
export function cellsOf(board: Board): (method: string, metric: string) => Cell | undefined {
  const known = new Map(board.cells.map((cell) => [`${cell.method}\n${cell.metric}`, cell]))
  return (method, metric) => known.get(`${method}\n${metric}`)
}

/** Rows in the order of a column; what has no value comes last either way. */
export function sorted(board: Board, sort: Sort): Method[] {
  const cell = cellsOf(board)
  const value = (method: Method): number | string | null => {
    if (sort.by === NAME) return method.title.toLowerCase()
    if (sort.by === SECONDS) return method.baseline ? 0 : method.seconds
    if (sort.by === PASSES)
      return method.baseline
        ? 0
        : method.forward === null
          ? null
          : method.forward + 2 * (method.backward ?? 0)
    return cell(method.label, sort.by)?.mean ?? null
  }
  const sign = sort.down ? -1 : 1
  return [...board.methods].sort((a, b) => {
    const [x, y] = [value(a), value(b)]
    if (x === null || y === null) return Number(x === null) - Number(y === null)
    return x < y ? -sign : x > y ? sign : 0
  })
}

/** Where the means and intervals of a column lie, for its little axis. */
export function reach(board: Board, metric: string): [number, number] {
  const ends = board.cells
    .filter((cell) => cell.metric === metric)
    .flatMap(({ mean, low, high }) => [mean, low, high])
    .filter((v): v is number => v !== null)
  const [low, high] = [Math.min(...ends), Math.max(...ends)]
  if (!ends.length) return [0, 1]
  return high > low ? [low, high] : [low - 0.5, high + 0.5]
}

/** "place 1" or "places 2 to 5"; "" where nothing is known. */
export const placeWords = (best: number, worst: number) =>
  best === worst ? `place ${best}` : `places ${best} to ${worst}`

/** An interval in words, for those who hear the page; "" where there is none. */
export const intervalWords = (cell: Cell | undefined): string =>
  cell?.low == null || cell.high == null ? '' : `95 % interval ${number(cell.low)} to ${number(cell.high)}`

/** Chips of verdicts: a sign and a tone, never the colour alone. */
export function tone(verdict: string): { sign: string; tone: 'good' | 'warn' | 'bad' | 'none' } {
  switch (verdict) {
    case 'tells methods apart':
    case 'tells methods from noise':
      return { sign: '✓', tone: 'good' }
    case 'tells some apart':
      return { sign: '≈', tone: 'warn' }
    case 'prefers noise':
      return { sign: '✕', tone: 'bad' }
    default:
      return { sign: '?', tone: 'none' }
  }
}

/** What a run was about, in short pieces. */
export function factsOf(board: Board): string[] {
  const target =
    board.target === ''
      ? 'the model’s own answer'
      : board.target === 'truth'
        ? 'each sample’s own class'
        : board.target
  return [
    board.model,
    `${board.samples.toLocaleString('en')} samples of ${board.data}`,
    `explained: ${target}`,
    `seed ${board.seed}`,
  ]
}
