// What a photo with its maps is when it comes from a file or a notebook: the data, unpacked, and what panels share.

import { grid, LOOK, type Grid, type Look, type Packed, type Point, type Rgba } from './paint'
import { FIT, type View } from './view'

/** One map as Python writes it. */
export interface PackedMap {
  title: string
  signed: boolean
  values: Packed
  native: Packed | null
  /** What the numbers are. */
  unit: string
  /** The map in one sentence. */
  text: string
  /** Lines of the caption. */
  caption: string[]
}

export interface Exhibited extends Omit<PackedMap, 'values' | 'native'> {
  values: Grid
  native: Grid | null
}

export interface Exhibit {
  /** What the photo is called. */
  name: string
  photo: Rgba
  size: { width: number; height: number }
  maps: Exhibited[]
}

export const unpacked = (map: PackedMap): Exhibited => ({
  ...map,
  values: grid(map.values, map.signed),
  native: map.native && grid(map.native, map.signed),
})

/** What all panels of a page have in common. */
export class Shared {
  look = $state<Look>({ ...LOOK })
  threshold = $state(0)
  view = $state<View>({ ...FIT })
  probe = $state<Point | null>(null)
  pinned = $state<Point | null>(null)
}
