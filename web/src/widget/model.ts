// What anywidget gives to the page: the traits of the Python object by name.

import type { PackedMap } from '../lib/exhibits.svelte'
import type { Look, Point } from '../lib/paint'

/** One sample, its arrays as buffers. */
export interface Sample extends PackedMap {
  name: string
  /** `height * width * 3` bytes. */
  photo: DataView
}

export interface Traits {
  samples: Sample[]
  sample: number
  look: Partial<Look>
  threshold: number
  pinned: Point | Record<string, never>
}

export interface Model {
  get<K extends keyof Traits>(name: K): Traits[K]
  set<K extends keyof Traits>(name: K, value: Traits[K]): void
  save_changes(): void
  on(event: string, heard: () => void): void
  off(event: string, heard: () => void): void
}
