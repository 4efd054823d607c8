// One panel's map: asked for by stream, refined while it runs, stopped, continued, superseded.

import { post, remove, stream, Refused, type Refusal, type Schemas } from '../../lib/api/client'
import { grid, type Grid } from '../../lib/paint'
import { refusalOf } from './loaded.svelte'

export type ExplainRequest = Schemas['ExplainRequest']
type Event = Schemas['PriceEvent'] | Schemas['MapEvent'] | Schemas['DoneEvent'] | Schemas['ErrorEvent']
export type Phase = 'idle' | 'priced' | 'waiting' | 'running' | 'done' | 'stopped' | 'failed'

/** A map as panels draw it. */
export interface Shown {
  map: Grid
  native: Grid | null
  done: number
  total: number
  seconds: number
  reliability: Record<string, unknown>
  text: string
}

interface Kept {
  map: Shown
  end: Schemas['DoneEvent']
  /** Whether the user stopped it, and so asked for less than the request says. */
  stopped: boolean
}

const KEPT = 48
const kept = new Map<string, Kept>()
const tab = Math.random().toString(36).slice(2, 8)

export const shown = (event: Schemas['MapEvent']): Shown => ({
  map: grid(event.values, event.signed),
  native: event.native ? grid(event.native, event.signed) : null,
  done: event.done,
  total: event.total,
  seconds: event.seconds,
  reliability: event.reliability,
  text: event.text,
})

export class Explanation {
  phase = $state<Phase>('idle')
  price = $state.raw<Schemas['PriceEvent'] | null>(null)
  map = $state.raw<Shown | null>(null)
  /** Whether the map belongs to the request before. */
  stale = $state(false)
  end = $state.raw<Schemas['DoneEvent'] | null>(null)
  refusal = $state.raw<Refusal | null>(null)
  request = $state.raw<ExplainRequest | null>(null)
  private key = ''
  /** Whether as much is asked for as there was when a run was stopped. */
  private cut = false
  private controller: AbortController | null = null

  constructor(readonly panel: string) {}

  /** Say what the panel should show; `go`: start now, otherwise wait until it is run. */
  want(wanted: Omit<ExplainRequest, 'panel'>, go: boolean, stopped: readonly [string, number] | null = null) {
    const whole = JSON.stringify(wanted)
    if (stopped && whole === this.key && this.phase === 'stopped') return
    if (stopped) wanted = { ...wanted, parameters: { ...wanted.parameters, [stopped[0]]: stopped[1] } }
    const key = JSON.stringify(wanted)
    if (key === this.key) {
      if (go && (this.phase === 'idle' || this.phase === 'priced')) void this.run()
      return
    }
    this.cut = stopped !== null
    const other = this.request?.image !== wanted.image || this.request?.model !== wanted.model
    this.leave()
    this.key = key
    this.request = { ...wanted, panel: `${tab}:${this.panel}` } as ExplainRequest
    this.refusal = null
    this.price = null
    this.end = null
    const known = kept.get(key)
    if (known) {
      this.map = known.map
      this.end = known.end
      this.stale = false
      this.phase = this.cut || known.stopped ? 'stopped' : 'done'
      return
    }
    if (other) this.map = null
    this.stale = this.map !== null
    this.phase = 'priced'
    if (go) void this.run()
  }

  /** Ask for all of a map that was stopped: its run goes on where the server keeps it, and begins again else. */
  resume(wanted: Omit<ExplainRequest, 'panel'>) {
    const from = this.end?.map ?? null
    this.key = JSON.stringify(wanted)
    this.cut = false
    this.request = { ...wanted, panel: `${tab}:${this.panel}` } as ExplainRequest
    void this.run(from)
  }

  /** Start, or go on from a map that was stopped. */
  async run(resume: string | null = null): Promise<void> {
    if (!this.request) return
    this.leave()
    const { key } = this
    const controller = (this.controller = new AbortController())
    const current = () => this.controller === controller && !controller.signal.aborted
    this.phase = 'waiting'
    this.refusal = null
    try {
      for await (const event of stream<Event>(
        '/api/explain',
        { ...this.request, resume },
        controller.signal,
      )) {
        if (!current()) return
        if (event.event === 'error' && resume !== null && !event.superseded) return await this.run()
        this.take(event, key)
      }
      if (current() && (this.phase === 'waiting' || this.phase === 'running')) {
        throw new Refused(0, {
          kind: 'Interrupted',
          asked: 'Asked for a map',
          found: 'The stream ended before its last word',
          do: 'Run it again',
        })
      }
    } catch (error) {
      if (!current()) return
      if (resume !== null && error instanceof Refused && error.status === 404) return await this.run()
      this.refusal = refusalOf(error)
      this.phase = 'failed'
    }
  }

  private take(event: Event, key: string) {
    switch (event.event) {
      case 'price':
        this.price = event
        return
      case 'map':
        this.map = shown(event)
        this.stale = false
        this.phase = 'running'
        return
      case 'done': {
        this.end = event
        // What comes from the cache may be a map at which somebody else stopped: it is what was asked for.
        const stopped = event.stopped && !this.price?.cached
        this.phase = this.cut || stopped ? 'stopped' : 'done'
        if (this.map) {
          kept.delete(key)
          kept.set(key, { map: this.map, end: event, stopped })
          if (kept.size > KEPT) kept.delete(kept.keys().next().value ?? '')
        }
        return
      }
      case 'error':
        if (event.superseded) this.phase = 'priced'
        else {
          this.refusal = event
          this.phase = 'failed'
        }
    }
  }

  get busy() {
    return this.phase === 'waiting' || this.phase === 'running'
  }

  /** End now, keep the map as it is. */
  async stop() {
    const job = this.price?.job
    if (job && this.busy) await post(`/api/jobs/${job}/stop`, {}).catch(() => undefined)
  }

  /** End now and keep nothing. */
  cancel() {
    const job = this.price?.job
    this.leave()
    if (job) void remove(`/api/jobs/${job}`).catch(() => undefined)
    if (this.phase !== 'done' && this.phase !== 'stopped') this.phase = 'priced'
  }

  /** Forget that a map of this request is kept, and ask again. */
  again() {
    kept.delete(this.key)
    void this.run()
  }

  leave() {
    this.controller?.abort()
    this.controller = null
  }
}
