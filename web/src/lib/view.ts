// Zoom and pan of a panel, shared by panels that move together.

import type { Point } from './paint'

export interface View {
  /** 1 fits the photo; at most `MOST`. */
  zoom: number
  /** Place in the middle of the panel, as fractions of the photo's sides. */
  x: number
  y: number
}

export const FIT: Readonly<View> = { zoom: 1, x: 0.5, y: 0.5 }
const MOST = 32

const within = (value: number, low: number, high: number) => Math.min(Math.max(value, low), high)

/** The view with its zoom in range and no place outside the photo. */
export function settled({ zoom, x, y }: View): View {
  const z = within(zoom, 1, MOST)
  const margin = 0.5 / z
  return { zoom: z, x: within(x, margin, 1 - margin), y: within(y, margin, 1 - margin) }
}

/** The view enlarged by a factor about a place (fractions of the photo) that stays where it is. */
export function zoomed(view: View, factor: number, about: Point): View {
  const zoom = within(view.zoom * factor, 1, MOST)
  const keep = view.zoom / zoom
  return settled({ zoom, x: about.x + (view.x - about.x) * keep, y: about.y + (view.y - about.y) * keep })
}

/** The view moved by fractions of the panel. */
export const panned = (view: View, dx: number, dy: number): View =>
  settled({ zoom: view.zoom, x: view.x - dx / view.zoom, y: view.y - dy / view.zoom })

/** Left, top, width and height of the part of the photo that is seen, as fractions. */
export const seen = ({ zoom, x, y }: View) => ({ x: x - 0.5 / zoom, y: y - 0.5 / zoom, size: 1 / zoom })
