// Deletion and insertion curves of the panels' maps, asked for once each.

import { post, type Refusal, type Schemas } from '../../lib/api/client'
import { bytes } from '../../lib/paint'
import { pixelsOf } from '../../lib/photos'
import { refusalOf } from './loaded.svelte'

export interface Measured {
  curve: Schemas['Curve']
  places: Uint8Array
  fill: Uint8ClampedArray<ArrayBuffer>
}

interface Entry {
  value: Measured | null
  refusal: Refusal | null
}

const KEPT = 48
export const STEPS = 56

export class Curves {
  private entries = $state.raw<ReadonlyMap<string, Entry>>(new Map())
  private readonly asked = new Map<string, AbortController>()

  /** How many are being measured. */
  working = $state(0)

  private key = (map: string, metric: string) => `${metric} ${map}`

  of(map: string | undefined, metric: string): Entry | null {
    return map ? (this.entries.get(this.key(map, metric)) ?? null) : null
  }

  busy(map: string | undefined, metric: string): boolean {
    return this.working > 0 && !!map && this.asked.has(this.key(map, metric))
  }

  /** Ask for the curve of a panel's map; a newer map of the panel supersedes. */
  async ask(panel: string, map: string, metric: 'deletion' | 'insertion') {
    const key = this.key(map, metric)
    if (this.entries.has(key) || this.asked.has(key)) return
    const controller = new AbortController()
    this.asked.set(key, controller)
    this.working += 1
    let entry: Entry
    try {
      const body = { panel: `${panel} ${metric}`, map, metric, steps: STEPS }
      const curve = await post<Schemas['Curve']>('/api/curve', body, controller.signal)
      const fill = (await pixelsOf(curve.fill)).data
      entry = { value: { curve, places: bytes(curve.places), fill }, refusal: null }
    } catch (error) {
      entry = { value: null, refusal: refusalOf(error) }
    }
    this.asked.delete(key)
    this.working -= 1
    const next = new Map([...this.entries, [key, entry] as const])
    const oldest = next.keys().next().value
    if (next.size > KEPT && oldest) next.delete(oldest)
    this.entries = next
  }

  /** Ask again for what was refused. */
  forget(map: string, metric: string) {
    const next = new Map(this.entries)
    next.delete(this.key(map, metric))
    this.entries = next
  }
}
