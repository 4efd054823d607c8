// What a map says at one place.

import type { Grid } from './packed'
import { number, percent } from './words'

/** A place in pixels of the input. */
export interface Point {
  x: number
  y: number
}

export interface Reading extends Point {
  value: number
  /** Share of all finite values below this one (of |v| where signed), 0 to 1; NaN without a number. */
  rank: number
  /** Row and column of the method's own cell, where its grid is coarser. */
  cell: { row: number; column: number; rows: number; columns: number } | null
}

/** Read a map at a place; null outside it. */
export function probe(map: Grid, at: Point, native?: Grid | null): Reading | null {
  const [x, y] = [Math.floor(at.x), Math.floor(at.y)]
  if (x < 0 || y < 0 || x >= map.width || y >= map.height) return null
  const size = (v: number) => (map.signed ? Math.abs(v) : v)
  const value = map.values[y * map.width + x]!
  let [below, finite] = [0, 0]
  for (const v of map.values) {
    if (!Number.isFinite(v)) continue
    finite++
    if (size(v) < size(value)) below++
  }
  const coarse = native && (native.width < map.width || native.height < map.height)
  return {
    x,
    y,
    value,
    rank: Number.isFinite(value) && finite ? below / finite : NaN,
    cell: coarse
      ? {
          row: Math.floor((y * native.height) / map.height),
          column: Math.floor((x * native.width) / map.width),
          rows: native.height,
          columns: native.width,
        }
      : null,
  }
}

/** "x 112, y 80: 0.42, above 97 % of the places; cell row 5, column 3 of 7 × 7". */
export function readingText(reading: Reading): string {
  const { x, y, value, rank, cell } = reading
  const place = `x ${x}, y ${y}: ${number(value)}`
  const order = Number.isNaN(rank) ? '' : `, above ${percent(rank)} of the places`
  const source = cell ? `; cell row ${cell.row}, column ${cell.column} of ${cell.rows} × ${cell.columns}` : ''
  return place + order + source
}
