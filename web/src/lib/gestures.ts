// What keys mean on a panel: arrows move the probe, Enter pins, Escape unpins, plus, minus and 0 zoom.

import type { Point } from './paint'
import { FIT, settled, zoomed, type View } from './view'

export interface Handlers {
  onprobe?: ((point: Point | null) => void) | undefined
  onpin?: ((point: Point | null) => void) | undefined
  onzoom?: ((view: View) => void) | undefined
}

export interface At {
  size: { width: number; height: number }
  probe: Point | null
  pinned: Point | null
  view: View
}

const within = (value: number, most: number) => Math.min(Math.max(Math.floor(value), 0), most - 1)

/** The pixel at fractions of the photo's sides, or the nearest one. */
export const pixelAt = (place: Point, size: At['size']): Point => ({
  x: within(place.x * size.width, size.width),
  y: within(place.y * size.height, size.height),
})

const ARROWS: Record<string, [number, number]> = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
}

/** Do what a key says; whether it said something. */
export function pressed(event: KeyboardEvent, at: At, { onprobe, onpin, onzoom }: Handlers): boolean {
  if (event.ctrlKey || event.metaKey || event.altKey) return false
  const { size, probe, pinned, view } = at
  const from = probe ?? pinned ?? { x: size.width >> 1, y: size.height >> 1 }
  const middle = { x: (from.x + 0.5) / size.width, y: (from.y + 0.5) / size.height }
  const arrow = ARROWS[event.key]
  const far = event.shiftKey ? 10 : 1
  if (arrow && onprobe)
    onprobe({
      x: within(from.x + far * arrow[0], size.width),
      y: within(from.y + far * arrow[1], size.height),
    })
  else if (event.key === 'Enter' && onpin) onpin(from)
  else if (event.key === 'Escape' && onpin && pinned) onpin(null)
  else if ((event.key === '+' || event.key === '=') && onzoom) onzoom(zoomed(view, 1.5, middle))
  else if (event.key === '-' && onzoom) onzoom(zoomed(view, 1 / 1.5, middle))
  else if (event.key === '0' && onzoom) onzoom(settled(FIT))
  else return false
  return true
}
