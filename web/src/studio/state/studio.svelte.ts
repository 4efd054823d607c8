// The one store: what is looked at (kept in the address), what the server said, and the panels' maps.

import { untrack } from 'svelte'
import type { Schemas } from '../../lib/api/client'
import type { Point } from '../../lib/paint'
import { freeSlot, methodOf, read, START, write, type View } from './address'
import { Curves } from './curves.svelte'
import { Explanation, type ExplainRequest } from './explanation.svelte'
import { changes } from './form'
import { History } from './history'
import { Notices } from './notices.svelte'
import { Session } from './session.svelte'

const MERGE = 1200
/** Passes that are few on any machine. */
const FEW = 4

/** Whether a method runs without being told to. */
export const runsItself = (entry: Schemas['MethodEntry']) =>
  entry.autorun ||
  (entry.forward !== null && entry.backward !== null && entry.forward + entry.backward <= FEW)

export class Studio {
  view = $state.raw<View>(START)
  canUndo = $state(false)
  canRedo = $state(false)
  /** Held or hovered: never in the address. */
  probe = $state.raw<Point | null>(null)
  bare = $state(false)
  flicker = $state(false)
  step = $state<number | null>(null)
  readonly session = new Session()
  readonly curves = new Curves()
  readonly notices = new Notices()
  /** Maps by slot; a twin's slot ends in "#twin". */
  private readonly panels = new Map<string, Explanation>()
  private readonly history: History
  private last = { kind: '', at: 0 }

  constructor(target: Window & typeof globalThis = window) {
    this.view = read(target.location.hash)
    this.history = new History(target, (hash) => {
      this.view = read(hash)
      this.last = { kind: '', at: 0 }
      this.mark()
    })
    this.mark()
  }

  /** Change what is looked at. Changes of one `kind` that follow each other closely are one step of undo. */
  change(part: Partial<View>, kind = '') {
    const next = { ...this.view, ...part }
    const hash = write(next)
    if (hash === write(this.view)) return
    this.view = next
    const now = Date.now()
    const merge = kind === 'settle' || (kind !== '' && kind === this.last.kind && now - this.last.at < MERGE)
    this.last = { kind, at: now }
    if (merge) this.history.replace(hash)
    else this.history.push(hash)
    this.mark()
  }

  undo = () => this.history.undo()
  redo = () => this.history.redo()

  private mark() {
    this.canUndo = this.history.canUndo
    this.canRedo = this.history.canRedo
  }

  panel(slot: string): Explanation {
    let panel = this.panels.get(slot)
    if (!panel) this.panels.set(slot, (panel = untrack(() => new Explanation(slot))))
    return panel
  }

  /** Whether a panel waits for its first map. */
  get waiting(): boolean {
    return this.view.slots.some((slot) => this.panel(slot).phase === 'waiting')
  }

  /** The panel that the inspector speaks of. */
  get slot(): string {
    return this.view.slots[this.view.active] ?? this.view.slots[0] ?? 'grad_cam'
  }

  /** What is asked for: "243", "243 vs 5", null for the model's own answer. */
  get target(): string | null {
    const { target, versus } = this.view
    const own = this.session.predictions.value?.top[0]?.index
    if (versus === null) return target
    const first = target ?? (own === undefined ? null : String(own))
    return first === null ? null : `${first} vs ${versus}`
  }

  labelOf(index: string | null): string {
    if (index === null) return this.session.predictions.value?.top[0]?.label ?? ''
    return this.session.labels.value?.[Number(index)] ?? index
  }

  /** Changed parameters of a slot that its method has. */
  parametersOf(slot: string): Record<string, unknown> {
    const entry = this.session.method(methodOf(slot))
    return entry ? changes(entry.parameters, this.view.parameters[slot] ?? {}) : {}
  }

  request(slot: string, randomised: boolean): Omit<ExplainRequest, 'panel'> | null {
    const { view, session } = this
    const entry = session.method(methodOf(slot))
    if (!view.image || !session.image(view.image) || !session.model(view.model)) return null
    if (!entry && (session.methods.value || !this.plain(slot))) return null
    if (view.versus !== null && this.target === null) return null
    const parameters = this.parametersOf(slot)
    const layer = entry?.takes_layer && !('layer' in parameters) ? view.layer : null
    return {
      model: view.model,
      image: view.image,
      method: methodOf(slot),
      parameters,
      layer,
      target: entry?.targeted ? this.target : null,
      seed: view.seed,
      randomised,
    } as Omit<ExplainRequest, 'panel'>
  }

  /** Whether a request says no more than method and photo: it can be made before the methods are known. */
  private plain(slot: string): boolean {
    const { layer, target, versus, parameters } = this.view
    return layer === null && target === null && versus === null && !Object.keys(parameters[slot] ?? {}).length
  }

  /** Bring every panel to what it should show. */
  sync() {
    const { view, session } = this
    const wanted = view.slots.flatMap((slot) => {
      const entry = session.method(methodOf(slot))
      const known = session.methods.value !== null
      const itself = known ? !!entry && runsItself(entry) : START.slots.includes(slot)
      const go = (!known || !!entry?.fits) && (itself || view.ran.includes(slot))
      const twin = view.twins.includes(slot)
      return [
        { key: slot, request: this.request(slot, false), go, stopped: view.stopped[slot] ?? null },
        ...(twin
          ? [
              {
                key: `${slot}#twin`,
                request: this.request(slot, true),
                go,
                stopped: view.stopped[slot] ?? null,
              },
            ]
          : []),
      ]
    })
    untrack(() => {
      const keep = new Set(wanted.map(({ key }) => key))
      for (const [key, panel] of this.panels) if (!keep.has(key) && panel.busy) panel.cancel()
      for (const { key, request, go, stopped } of wanted)
        if (request) this.panel(key).want(request, go, stopped)
    })
  }

  // -- steps that several parts of the page take ----------------------------------------------------------

  /** Choose a photo; what was run by hand waits for a click again. */
  show(image: string) {
    if (image === this.view.image) return
    this.step = null
    this.change({ image, pin: null, ...this.unpriced() })
  }

  next(by: number) {
    const { images } = this.session
    const at = images.findIndex(({ id }) => id === this.view.image)
    const next = images[(Math.max(at, 0) + by + images.length) % images.length]
    if (next) this.show(next.id)
  }

  explain(target: string | null, versus: string | null = null) {
    this.change({ target, versus, ...this.unpriced() })
  }

  /** Another request: prices are to be accepted again. */
  unpriced(): Pick<View, 'ran' | 'stopped'> {
    return { ran: [], stopped: {} }
  }

  configure(slot: string, values: Record<string, unknown>) {
    const { [slot]: _, ...stopped } = this.view.stopped
    const { [slot]: __, ...others } = this.view.parameters
    const parameters = Object.keys(values).length ? { ...others, [slot]: values } : others
    this.change({ parameters, stopped, ran: this.view.ran.filter((name) => name !== slot) }, `form ${slot}`)
  }

  /** Put a method into a slot, or into a new one. */
  place(method: string, at: number | null) {
    const { slots } = this.view
    const others = slots.filter((_, i) => i !== at)
    const slot = freeSlot(method, others)
    const next = at === null ? [...slots, slot].slice(0, 6) : slots.map((old, i) => (i === at ? slot : old))
    this.change({ slots: next, active: at ?? next.length - 1 })
  }

  drop(at: number) {
    const { slots, active } = this.view
    if (slots.length < 2) return
    const next = slots.filter((_, i) => i !== at)
    this.change({ slots: next, active: Math.min(active > at ? active - 1 : active, next.length - 1) })
  }

  run(slot: string) {
    const { [slot]: _, ...stopped } = this.view.stopped
    this.change({ ran: [...new Set([...this.view.ran, slot])], stopped }, 'settle')
    const panel = this.panel(slot)
    if (panel.phase === 'failed') panel.again()
  }

  /** Note in the address where a run was stopped. */
  noteStop(slot: string) {
    const { end, request } = this.panel(slot)
    if (!end?.stopped || this.view.stopped[slot]) return
    const now = (end.provenance.parameters ?? {}) as Record<string, unknown>
    const entry = this.session.method(methodOf(slot))
    const asked = (name: string) =>
      request?.parameters?.[name] ?? entry?.parameters.find((p) => p.name === name)?.default
    const name = Object.keys(now).find((key) => typeof now[key] === 'number' && now[key] !== asked(key))
    if (name) this.change({ stopped: { ...this.view.stopped, [slot]: [name, Number(now[name])] } }, 'settle')
  }

  resume(slot: string) {
    const panel = this.panel(slot)
    const { [slot]: _, ...stopped } = this.view.stopped
    const request = this.request(slot, false)
    if (panel.phase === 'stopped' && request) panel.resume(request)
    this.change({ stopped, ran: [...new Set([...this.view.ran, slot])] }, 'settle')
  }
}
