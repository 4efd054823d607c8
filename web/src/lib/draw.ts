// What lies over a painted map on the screen: outlines, source cells, marks. Device pixels, two-toned so that it
// is seen on any photo.

import { outline, type Grid, type Point, type Region } from './paint'
import { seen, type View } from './view'

/** From pixels of the photo to pixels of the canvas. */
export interface Place {
  x: (column: number) => number
  y: (row: number) => number
  /** Canvas pixels a pixel of the photo. */
  unit: number
}

export function placing(view: View, width: number, height: number, canvasWidth: number): Place {
  const part = seen(view)
  const unit = canvasWidth / (part.size * width)
  return {
    unit,
    x: (column) => (column - part.x * width) * unit,
    y: (row) => (row - part.y * height) * unit,
  }
}

function twoToned(ctx: CanvasRenderingContext2D, path: Path2D, ratio: number, dash: number[] = []) {
  ctx.save()
  ctx.lineCap = 'square'
  ctx.strokeStyle = 'rgb(0 0 0 / 0.75)'
  ctx.lineWidth = 3 * ratio
  ctx.stroke(path)
  ctx.setLineDash(dash)
  ctx.strokeStyle = '#fff'
  ctx.lineWidth = 1.5 * ratio
  ctx.stroke(path)
  ctx.restore()
}

/** Borders of more pieces than this hide what they surround; the rest is dimmed instead. */
const MOST_PIECES = 1200

/** The border of a region; of one in very many pieces, a veil over everything else. */
export function drawRegion(
  ctx: CanvasRenderingContext2D,
  region: Region,
  width: number,
  at: Place,
  ratio: number,
) {
  const lines = outline(region.mask, width)
  if (lines.length > 4 * MOST_PIECES) return dimOutside(ctx, region, width, at)
  const path = new Path2D()
  for (let i = 0; i < lines.length; i += 4) {
    path.moveTo(at.x(lines[i]!), at.y(lines[i + 1]!))
    path.lineTo(at.x(lines[i + 2]!), at.y(lines[i + 3]!))
  }
  twoToned(ctx, path, ratio)
}

function dimOutside(ctx: CanvasRenderingContext2D, region: Region, width: number, at: Place) {
  const height = region.mask.length / width
  const veil = document.createElement('canvas')
  veil.width = width
  veil.height = height
  const pixels = new Uint8ClampedArray(4 * region.mask.length)
  region.mask.forEach((inside, i) => (pixels[4 * i + 3] = inside ? 0 : 160))
  veil.getContext('2d')?.putImageData(new ImageData(pixels, width, height), 0, 0)
  ctx.drawImage(veil, at.x(0), at.y(0), width * at.unit, height * at.unit)
}

/** The method's own cells: all of them as a faint grid. */
export function drawCells(
  ctx: CanvasRenderingContext2D,
  native: Grid,
  size: { width: number; height: number },
  at: Place,
  ratio: number,
) {
  const [dx, dy] = [size.width / native.width, size.height / native.height]
  if (Math.min(dx, dy) * at.unit < 6 * ratio) return
  const path = new Path2D()
  for (let c = 1; c < native.width; c++) {
    path.moveTo(at.x(c * dx), at.y(0))
    path.lineTo(at.x(c * dx), at.y(size.height))
  }
  for (let r = 1; r < native.height; r++) {
    path.moveTo(at.x(0), at.y(r * dy))
    path.lineTo(at.x(size.width), at.y(r * dy))
  }
  ctx.save()
  ctx.lineWidth = ratio
  ctx.strokeStyle = 'rgb(0 0 0 / 0.35)'
  ctx.stroke(path)
  ctx.translate(ratio, ratio)
  ctx.strokeStyle = 'rgb(255 255 255 / 0.35)'
  ctx.stroke(path)
  ctx.restore()
}

/** The cell around a place. */
export function drawCell(
  ctx: CanvasRenderingContext2D,
  cell: { row: number; column: number; rows: number; columns: number },
  size: { width: number; height: number },
  at: Place,
  ratio: number,
) {
  const [dx, dy] = [size.width / cell.columns, size.height / cell.rows]
  const path = new Path2D()
  path.rect(at.x(cell.column * dx), at.y(cell.row * dy), dx * at.unit, dy * at.unit)
  twoToned(ctx, path, ratio, [4 * ratio, 4 * ratio])
}

/** Cross hairs with a gap for the pointer; a ring where the place is pinned. */
export function drawMark(
  ctx: CanvasRenderingContext2D,
  point: Point,
  at: Place,
  ratio: number,
  pinned: boolean,
) {
  const [x, y] = [at.x(Math.floor(point.x) + 0.5), at.y(Math.floor(point.y) + 0.5)]
  const [near, far] = [4 * ratio, 10 * ratio]
  const path = new Path2D()
  for (const [dx, dy] of [
    [1, 0],
    [-1, 0],
    [0, 1],
    [0, -1],
  ] as const) {
    path.moveTo(x + dx * near, y + dy * near)
    path.lineTo(x + dx * far, y + dy * far)
  }
  if (pinned) {
    path.moveTo(x + 6 * ratio, y)
    path.arc(x, y, 6 * ratio, 0, 2 * Math.PI)
  }
  twoToned(ctx, path, ratio)
}
