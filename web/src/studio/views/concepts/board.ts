// A file about concepts, as the concept view sorts and words it.

import type { Schemas } from '../../../lib/api/client'
import { fixed, number, percent } from '../../../lib/paint'

export type Board = Schemas['ConceptBoard']
export type Row = Schemas['ConceptRow']
export type Card = Schemas['ConceptCard']

/** A value of the file's measure. */
export const told = (board: Board, value: number | null | undefined): string =>
  value === null || value === undefined ? 'n/a' : board.measure.fraction ? percentOf(value) : number(value)

/** Per cent with a sign, to one decimal below ten. */
function percentOf(value: number): string {
  return value < 0 ? `−${percent(-value)}` : percent(value)
}

export const probability = (p: number | null | undefined): string =>
  p === null || p === undefined ? 'n/a' : p < 0.001 ? '< 0.001' : fixed(p, 3)

/** Rows of one layer and class, the largest value first; those without a value last. */
export function ranked(board: Board, layer: string, target: string, filter = ''): Row[] {
  const wanted = filter.trim().toLowerCase()
  return board.rows
    .filter((row) => row.layer === layer && (!board.targets.length || row.target === target))
    .filter((row) => !wanted || row.concept.toLowerCase().includes(wanted) || classesOf(board, row, wanted))
    .sort((a, b) => (b.value ?? -Infinity) - (a.value ?? -Infinity))
}

const cardOf = (board: Board, concept: string, layer: string): Card | undefined =>
  board.cards.find((card) => card.concept === concept && card.layer === layer)
export { cardOf }

/** Whether a channel's classes match a filter, so that "dog" finds the channels of dogs. */
function classesOf(board: Board, row: Row, wanted: string): boolean {
  const card = cardOf(board, row.concept, row.layer)
  return !!card?.classes.some((c) => c.target.toLowerCase().includes(wanted))
}

/** The axis that the bars of some rows share: it holds 0, every interval, and the random concepts. */
export function axis(board: Board, rows: readonly Row[]): [number, number] {
  const ends = rows.flatMap((r) => [r.value, r.low, r.high, r.random, ...r.randoms])
  const known = ends.filter((v): v is number => v !== null && v !== undefined)
  const low = Math.min(board.measure.least, 0, ...known)
  const high = board.measure.most ?? Math.max(0, ...known)
  return [low, high > low ? high : low + 1]
}

/** What a test found, in a word and a sign; "" where nothing was tested. */
export function verdict(row: Row): { sign: string; text: string; tone: 'good' | 'none' | 'bad' } | null {
  if (row.separable === false) return { sign: '✕', text: 'not separable', tone: 'bad' }
  if (row.significant === null || row.significant === undefined) return null
  const lowers = row.value !== null && row.random !== null && row.value < row.random
  return row.significant
    ? {
        sign: lowers ? '↓' : '✓',
        text: `p ${probability(row.p)}${lowers ? ', below random concepts' : ''}`,
        tone: 'good',
      }
    : { sign: '·', text: `p ${probability(row.p)}, not significant`, tone: 'none' }
}

/** What a bar shows beside its value, for those who hear the page. */
export const barWords = (board: Board, row: Row): string =>
  [
    row.low !== null && row.high !== null
      ? `95 % interval ${told(board, row.low)} to ${told(board, row.high)}`
      : '',
    row.random !== null ? `random concepts ${told(board, row.random)}` : '',
  ]
    .filter(Boolean)
    .join(', ')
