// One list of keys: it drives the page, the tooltips and the sheet.

import { LOOK, SIGNS } from '../lib/paint'
import { FIT } from '../lib/view'
import type { Studio } from './state/studio.svelte'

export interface Key {
  /** As `KeyboardEvent.key`; letters in lower case. */
  key: string
  /** As shown. */
  cap: string
  what: string
  group: 'Photos and classes' | 'Panels' | 'Look' | 'Page'
  /** With Ctrl (or Command). */
  ctrl?: boolean
  shift?: boolean
  run: (studio: Studio, page: Page) => void
  /** Of a key that is held: what letting go does. */
  release?: (studio: Studio) => void
}

/** What only the page's shell can do. */
export interface Page {
  help: () => void
  focus: (name: 'class' | 'method' | 'layer' | 'photos' | 'export') => void
  up: () => boolean
}

const within = (value: number) => Math.round(Math.min(Math.max(value, 0), 1) * 100) / 100

function nextClass(studio: Studio, by: number) {
  const top = studio.session.predictions.value?.top ?? []
  if (!top.length) return
  const at = top.findIndex(({ index }) => String(index) === (studio.view.target ?? String(top[0]?.index)))
  const next = top[(Math.max(at, 0) + by + top.length) % top.length]
  if (next) studio.explain(next === top[0] ? null : String(next.index))
}

const slot = (n: number): Key => ({
  key: String(n),
  cap: String(n),
  what: `Panel ${n}`,
  group: 'Panels',
  run: (studio) => n <= studio.view.slots.length && studio.change({ active: n - 1 }, 'active'),
})

export const KEYS: readonly Key[] = [
  { key: 'ArrowLeft', cap: '←', what: 'Previous photo', group: 'Photos and classes', run: (s) => s.next(-1) },
  { key: 'ArrowRight', cap: '→', what: 'Next photo', group: 'Photos and classes', run: (s) => s.next(1) },
  {
    key: 'ArrowUp',
    cap: '↑',
    what: 'Previous class',
    group: 'Photos and classes',
    run: (s) => nextClass(s, -1),
  },
  {
    key: 'ArrowDown',
    cap: '↓',
    what: 'Next class',
    group: 'Photos and classes',
    run: (s) => nextClass(s, 1),
  },
  {
    key: '/',
    cap: '/',
    what: 'Search classes',
    group: 'Photos and classes',
    run: (_, p) => p.focus('class'),
  },
  ...[1, 2, 3, 4, 5, 6].map(slot),
  { key: 'm', cap: 'm', what: 'Choose a method', group: 'Panels', run: (_, p) => p.focus('method') },
  { key: 'l', cap: 'l', what: 'Choose a layer', group: 'Panels', run: (_, p) => p.focus('layer') },
  {
    key: 'x',
    cap: 'x',
    what: 'Swap the panel with the one before',
    group: 'Panels',
    run: (s) => {
      const { slots, active } = s.view
      const other = active > 0 ? active - 1 : 1
      const [a, b] = [slots[active], slots[other]]
      if (!a || !b) return
      s.change({ slots: slots.map((one, i) => (i === active ? b : i === other ? a : one)), active: other })
    },
  },
  {
    key: 'd',
    cap: 'd',
    what: 'Swipe: two panels under a divider, on or off',
    group: 'Panels',
    run: (s) => s.change({ swipe: s.view.swipe === null ? 0.5 : null }),
  },
  {
    key: 'f',
    cap: 'hold f',
    what: 'Flicker: the other map in the same place',
    group: 'Panels',
    run: (s) => (s.flicker = true),
    release: (s) => (s.flicker = false),
  },
  { key: ' ', cap: 'Space', what: 'Run, stop or continue the panel', group: 'Panels', run: (s) => toggle(s) },
  {
    key: 'c',
    cap: 'c',
    what: 'Compare view on or off',
    group: 'Page',
    run: (s) => s.change({ view: s.view.view === 'compare' ? 'saliency' : 'compare' }),
  },
  {
    key: 'h',
    cap: 'hold h',
    what: 'Hide the map',
    group: 'Look',
    run: (s) => (s.bare = true),
    release: (s) => (s.bare = false),
  },
  {
    key: ',',
    cap: ',',
    what: 'Less opacity',
    group: 'Look',
    run: (s) =>
      s.change({ look: { ...s.view.look, opacity: within(s.view.look.opacity - 0.05) } }, 'look opacity'),
  },
  {
    key: '.',
    cap: '.',
    what: 'More opacity',
    group: 'Look',
    run: (s) =>
      s.change({ look: { ...s.view.look, opacity: within(s.view.look.opacity + 0.05) } }, 'look opacity'),
  },
  {
    key: 's',
    cap: 's',
    what: 'Sign: both, for, against, size',
    group: 'Look',
    run: (s) => {
      const at = SIGNS.indexOf(s.view.look.sign)
      s.change({ look: { ...s.view.look, sign: SIGNS[(at + 1) % SIGNS.length] ?? LOOK.sign } }, 'look sign')
    },
  },
  {
    key: 'p',
    cap: 'p',
    what: 'Pin or free the probe',
    group: 'Look',
    run: (s) => s.change({ pin: s.view.pin ? null : s.probe ? [s.probe.x, s.probe.y] : [112, 112] }),
  },
  {
    key: 'z',
    cap: 'z',
    what: 'Zoom to the probe',
    group: 'Look',
    run: (s) => {
      const seen = s.session.predictions.value
      const [x, y] = s.view.pin ?? (s.probe ? [s.probe.x, s.probe.y] : [0, 0])
      if (seen && (s.view.pin || s.probe))
        s.change(
          { zoom: { zoom: 3, x: clamp((x + 0.5) / seen.width), y: clamp((y + 0.5) / seen.height) } },
          'zoom',
        )
    },
  },
  { key: '0', cap: '0', what: 'Fit the photo', group: 'Look', run: (s) => s.change({ zoom: FIT }, 'zoom') },
  { key: 'e', cap: 'e', what: 'Export', group: 'Page', run: (_, p) => p.focus('export') },
  { key: 'z', cap: 'Ctrl Z', ctrl: true, what: 'Undo', group: 'Page', run: (s) => s.undo() },
  {
    key: 'z',
    cap: 'Ctrl Shift Z',
    ctrl: true,
    shift: true,
    what: 'Redo',
    group: 'Page',
    run: (s) => s.redo(),
  },
  { key: 'y', cap: 'Ctrl Y', ctrl: true, what: 'Redo', group: 'Page', run: (s) => s.redo() },
  {
    key: 'Escape',
    cap: 'Esc',
    what: 'Cancel the job, then clear the pin, then go up',
    group: 'Page',
    run: escape,
  },
  { key: '?', cap: '?', what: 'This list', group: 'Page', run: (_, p) => p.help() },
]

const clamp = (share: number) => Math.min(Math.max(share, 1 / 6), 5 / 6)

function toggle(studio: Studio) {
  const panel = studio.panel(studio.slot)
  if (panel.busy) void panel.stop()
  else if (panel.phase === 'stopped') studio.resume(studio.slot)
  else if (panel.phase !== 'done') studio.run(studio.slot)
}

function escape(studio: Studio, page: Page) {
  if (studio.notices.list.length) return studio.notices.dismiss(studio.notices.list.at(-1)!.id)
  const panel = studio.panel(studio.slot)
  if (panel.busy) return panel.cancel()
  if (studio.step !== null) return void (studio.step = null)
  if (studio.view.pin) return studio.change({ pin: null })
  if (studio.view.threshold) return studio.change({ threshold: 0 })
  if (!page.up() && studio.view.view !== 'saliency') studio.change({ view: 'saliency' })
}

/** Whether a key is being typed into something. */
export function typing(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false
  if (target.isContentEditable || target.closest('[contenteditable=true]')) return true
  if (target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement) return true
  return target instanceof HTMLInputElement && !['checkbox', 'button', 'file', 'submit'].includes(target.type)
}

/** Whether the element that has the focus uses this key itself. */
function taken(event: KeyboardEvent): boolean {
  const target = event.target
  if (!(target instanceof HTMLElement)) return false
  const uses = target.closest(
    'button, a, summary, [role=option], [role=tab], [role=gridcell], [role=treeitem]',
  )
  if (uses && (event.key === ' ' || event.key === 'Enter')) return true
  const moves = target.closest(
    '[role=grid], [role=tablist], [role=tree], [role=listbox], [role=slider], [role=application], [role=radiogroup]',
  )
  return !!moves && event.key.startsWith('Arrow')
}

/** The entry of a key press; null where the key is typed, taken or unknown. */
export function find(event: KeyboardEvent, letters = true): Key | null {
  if (event.defaultPrevented || event.altKey || typing(event.target) || taken(event)) return null
  const ctrl = event.ctrlKey || event.metaKey
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key
  const found = KEYS.find(
    (one) => one.key === key && !!one.ctrl === ctrl && (!one.ctrl || !!one.shift === event.shiftKey),
  )
  if (!found || (!letters && !ctrl && found.key.length === 1)) return null
  return found
}

/** Let go of a key, or of all. */
export function released(studio: Studio, key: string | null) {
  for (const one of KEYS) if (key === null || one.key === key.toLowerCase()) one.release?.(studio)
}

/** "Undo (Ctrl Z)" */
export const hint = (what: string, title = what) => {
  const found = KEYS.find((one) => one.what === what)
  return found ? `${title} (${found.cap})` : title
}
