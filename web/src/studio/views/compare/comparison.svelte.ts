// One comparison: asked for by stream, filled in as methods finish, cancelled or superseded by a newer one.
// It goes on while another view is shown.

import { remove, Refused, stream, type Refusal, type Schemas } from '../../../lib/api/client'
import { refusalOf } from '../../state/loaded.svelte'
import type { Studio } from '../../state/studio.svelte'
import type { CompareRequest } from './choice'
import type { Cell } from './table'

type MapEvent = Schemas['MapEvent']
type Event =
  Schemas['CellsEvent'] | Schemas['AgreementEvent'] | Schemas['CompareDone'] | Schemas['ErrorEvent']
export type Wanted = Omit<CompareRequest, 'panel' | 'kept'>

/** What is there of one method or baseline. */
export interface Result {
  method: string
  baseline: boolean
  cells: Cell[]
  /** One a photo, in the order of the request, as far as they are made. */
  maps: MapEvent[]
  seconds: number
  finished: boolean
  /** Why it could not be measured, or "". */
  problem: string
}

const known = new WeakMap<Studio, Comparison>()
const tab = Math.random().toString(36).slice(2, 8)

export class Comparison {
  phase = $state<'idle' | 'running' | 'done' | 'cancelled' | 'failed'>('idle')
  request = $state.raw<Wanted | null>(null)
  results = $state.raw<readonly Result[]>([])
  agreement = $state.raw<Schemas['AgreementEvent'] | null>(null)
  end = $state.raw<Schemas['CompareDone'] | null>(null)
  refusal = $state.raw<Refusal | null>(null)
  /** 0 to 1 */
  progress = $state(0)
  /** Method that is being measured. */
  current = $state('')
  private job = ''
  private looked = ''
  private controller: AbortController | null = null

  /** The comparison of a studio; it outlives its view. */
  static of(studio: Studio): Comparison {
    let found = known.get(studio)
    if (!found) known.set(studio, (found = new Comparison()))
    return found
  }

  /** Show what the server still knows of such a comparison, after a reload say; nothing is measured. */
  async restore(wanted: Wanted) {
    const key = JSON.stringify(wanted)
    if (this.phase !== 'idle' || this.looked === key) return
    this.looked = key
    try {
      const body = { ...wanted, kept: true, panel: `compare ${tab}, again` }
      for await (const event of stream<Event>('/api/compare', body)) {
        if (event.event === 'error' || (this.phase !== 'idle' && this.request !== wanted)) return
        this.request = wanted
        this.phase = 'running'
        this.take(event)
      }
    } catch {
      // Then it is compared anew, when somebody asks for it.
    }
  }

  async run(wanted: Wanted) {
    this.controller?.abort()
    const controller = (this.controller = new AbortController())
    Object.assign(this, {
      phase: 'running',
      request: wanted,
      results: [],
      agreement: null,
      end: null,
      refusal: null,
    })
    Object.assign(this, { progress: 0, current: wanted.methods[0] ?? '', job: '' })
    try {
      const body = { ...wanted, panel: `compare ${tab}` }
      for await (const event of stream<Event>('/api/compare', body, controller.signal)) {
        if (controller.signal.aborted) return
        this.take(event)
      }
      if (!controller.signal.aborted && this.phase === 'running')
        throw new Refused(0, {
          kind: 'Interrupted',
          asked: 'Asked for a comparison',
          found: 'The stream ended before its last word',
          do: 'Run it again',
        })
    } catch (error) {
      if (controller.signal.aborted) return
      this.refusal = refusalOf(error)
      this.phase = 'failed'
    }
  }

  take(event: Event) {
    if (event.event === 'cells') this.put(event)
    else if (event.event === 'agreement') this.agreement = event
    else if (event.event === 'done') {
      this.end = event
      this.phase = 'done'
    } else if (event.superseded) this.phase = 'cancelled'
    else {
      this.refusal = event
      this.phase = 'failed'
    }
  }

  private put(event: Schemas['CellsEvent']) {
    this.job = event.job
    this.progress = event.total ? event.done / event.total : 0
    const { method, cells, maps, seconds, finished = false, problem = '' } = event
    const old = this.results.find((result) => result.method === method)
    const next: Result = {
      method,
      baseline: cells.some(({ baseline }) => baseline) || (old?.baseline ?? false),
      cells: cells.length ? cells : (old?.cells ?? []),
      maps: maps.length ? [...(old?.maps ?? []), ...maps] : (old?.maps ?? []),
      seconds,
      finished,
      problem,
    }
    this.results = old
      ? this.results.map((result) => (result === old ? next : result))
      : [...this.results, next]
    const methods = this.request?.methods ?? []
    this.current = methods.find((name) => !this.results.some((r) => r.method === name && r.finished)) ?? ''
  }

  /** End now; what is there stays on the page. */
  cancel() {
    if (this.phase !== 'running') return
    this.controller?.abort()
    this.phase = 'cancelled'
    if (this.job) void remove(`/api/jobs/${this.job}`).catch(() => undefined)
  }
}
