// The panels of an address in their order, twins beside their originals, and which of them are shown.

import { methodOf, type View } from '../../state/address'
import type { Studio } from '../../state/studio.svelte'
import { scales, type Scaled } from './scales'

export interface Place {
  slot: string
  index: number
  twin: boolean
}

/** The name of a place's map among the panels of the store. */
export const keyOf = ({ slot, twin }: Pick<Place, 'slot' | 'twin'>) => (twin ? `${slot}#twin` : slot)

/** Two panels in one place: the active one and the next, or the one before the last; null: there is only one. */
export function pairOf(places: readonly Place[], active: number): [left: number, right: number] | null {
  if (places.length < 2) return null
  const at = Math.max(
    places.findIndex(({ index }) => index === active),
    0,
  )
  const left = Math.min(at, places.length - 2)
  return [left, left + 1]
}

/** What is shown: all panels, or two of them under a divider that stands at `swipe`. */
export function placesOf(view: View): { all: Place[]; shown: Place[]; swipe: number | null } {
  const all = view.slots.flatMap((slot, index) => [
    { slot, index, twin: false },
    ...(view.twins.includes(slot) ? [{ slot, index, twin: true }] : []),
  ])
  const pair = pairOf(all, view.active)
  if (!pair || view.swipe === null) return { all, shown: all, swipe: null }
  return { all, shown: all.slice(pair[0], pair[1] + 1), swipe: view.swipe }
}

/** The scales on which panels are drawn, in their order. */
export const scaledOf = (studio: Studio, places: readonly Place[]): Scaled[] =>
  scales(
    places.map((place) => studio.panel(keyOf(place)).map?.map ?? null),
    places.map(({ slot }) => methodOf(slot)),
    studio.view.look,
    studio.view.scale,
  )
