// What the page shows, and its address: one plain object, written to and read from the hash of the URL.
// Reading what was written gives the same object; what equals its default is left out, what cannot be
// read is left at its default.

import { LOOK, MODES, SIGNS, type Look } from '../../lib/paint'
import { FIT, type View as Zoom } from '../../lib/view'

export const VIEWS = ['saliency', 'compare', 'run', 'concepts'] as const
export type ViewName = (typeof VIEWS)[number]

export const SCALES = ['method', 'all', 'own'] as const
export const CURVES = ['off', 'deletion', 'insertion'] as const

export interface View {
  view: ViewName
  model: string
  image: string | null
  /** Panels: a method's name, and "~2" and so on where it is there again. */
  slots: string[]
  active: number
  /** Changed parameters by slot. */
  parameters: Record<string, Record<string, unknown>>
  /** Slots whose price was accepted. */
  ran: string[]
  /** Where a slot was stopped: the parameter that holds its number of steps, and that number. */
  stopped: Record<string, [name: string, steps: number]>
  /** Slots that stand beside their twin with randomised weights. */
  twins: string[]
  /** Class (index as text); null: the model's own answer. */
  target: string | null
  /** "A rather than B": the other class. */
  versus: string | null
  layer: string | null
  seed: number
  look: Look
  /** Share of the area whose strongest places are outlined; 0: none. */
  threshold: number
  /** Which panels share a scale: those of one method, all, none. */
  scale: (typeof SCALES)[number]
  /** Two panels in one place: the share of the width left of the divider; null: side by side. */
  swipe: number | null
  zoom: Zoom
  /** Pinned probe: column and row of a pixel. */
  pin: [number, number] | null
  curve: (typeof CURVES)[number]
  /** Compare view: photos, methods and metrics. */
  photos: string[]
  methods: string[]
  metrics: string[]
  /** What other views keep, by name. */
  extra: Record<string, string>
}

export const START: View = {
  view: 'saliency',
  model: '0',
  image: null,
  slots: ['grad_cam'],
  active: 0,
  parameters: {},
  ran: [],
  stopped: {},
  twins: [],
  target: null,
  versus: null,
  layer: null,
  seed: 0,
  look: LOOK,
  threshold: 0,
  scale: 'method',
  swipe: null,
  zoom: FIT,
  pin: null,
  curve: 'off',
  photos: [],
  methods: [],
  metrics: [],
  extra: {},
}

/** The method of a slot. */
export const methodOf = (slot: string) => slot.split('~')[0] ?? slot

/** A free slot for a method. */
export function freeSlot(method: string, slots: readonly string[]): string {
  if (!slots.includes(method)) return method
  for (let n = 2; ; n++) if (!slots.includes(`${method}~${n}`)) return `${method}~${n}`
}

const quote = (text: string) =>
  encodeURIComponent(text).replace(/%(?:2C|3A|2F|5B|5D|22|20|7E)/g, (code) =>
    code === '%20' ? '+' : decodeURIComponent(code),
  )
const unquote = (text: string) => {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '))
  } catch {
    return text
  }
}
const list = (items: readonly string[]) => items.map((item) => quote(item).replaceAll(',', '%2C')).join(',')
const unlist = (text: string) => (text ? text.split(',').map(unquote) : [])
const round = (value: number) => String(Math.round(value * 1e4) / 1e4)

/** A parameter's value as text; text that could be read as something else is quoted. */
export function valueText(value: unknown): string {
  if (typeof value !== 'string') return JSON.stringify(value)
  try {
    JSON.parse(value)
    return JSON.stringify(value)
  } catch {
    return value
  }
}

export function textValue(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    return text
  }
}

export function write(view: View): string {
  const parts: string[] = []
  const put = (key: string, text: string) => parts.push(`${key}=${text}`)
  if (view.model !== START.model) put('model', quote(view.model))
  if (view.image !== null) put('img', quote(view.image))
  if (list(view.slots) !== list(START.slots)) put('m', list(view.slots))
  if (view.active) put('at', String(view.active))
  if (view.target !== null) put('y', quote(view.target))
  if (view.versus !== null) put('vs', quote(view.versus))
  if (view.layer !== null) put('layer', quote(view.layer))
  if (view.seed) put('seed', String(view.seed))
  for (const [slot, values] of Object.entries(view.parameters))
    for (const [name, value] of Object.entries(values))
      put(`p.${quote(slot)}.${quote(name)}`, quote(valueText(value)))
  if (view.ran.length) put('ran', list(view.ran))
  for (const [slot, steps] of Object.entries(view.stopped))
    put(`n.${quote(slot)}`, `${quote(steps[0])}:${steps[1]}`)
  if (view.twins.length) put('twin', list(view.twins))
  if (view.curve !== START.curve) put('curve', view.curve)
  if (view.pin) put('pin', view.pin.join(','))
  const { look } = view
  if (look.mode !== LOOK.mode) put('show', look.mode)
  if (look.opacity !== LOOK.opacity) put('opacity', round(look.opacity))
  if (look.cmap !== null) put('colours', quote(look.cmap))
  if (look.grey) put('grey', '1')
  if (look.sign !== LOOK.sign) put('sign', look.sign)
  if (look.clip !== LOOK.clip) put('clip', round(look.clip))
  if (look.smooth !== null) put('cells', look.smooth ? 'smooth' : 'hard')
  if (look.fade !== null) put('fade', round(look.fade))
  if (view.threshold) put('region', round(view.threshold))
  if (view.scale !== START.scale) put('scale', view.scale)
  if (view.swipe !== null) put('swipe', round(view.swipe))
  if (view.zoom.zoom !== 1) put('zoom', [view.zoom.zoom, view.zoom.x, view.zoom.y].map(round).join(','))
  if (view.photos.length) put('photos', list(view.photos))
  if (view.methods.length) put('methods', list(view.methods))
  if (view.metrics.length) put('metrics', list(view.metrics))
  for (const [name, value] of Object.entries(view.extra)) put(`v.${quote(name)}`, quote(value))
  return `#/${view.view}${parts.length ? '?' + parts.join('&') : ''}`
}

const oneOf = <T extends string>(text: string | undefined, choices: readonly T[], otherwise: T): T =>
  choices.find((choice) => choice === text) ?? otherwise

function number(text: string | undefined, low: number, high: number, otherwise: number): number {
  const value = text === undefined || text === '' ? NaN : Number(text)
  return value >= low && value <= high ? value : otherwise
}

export function read(hash: string): View {
  const [path = '', query = ''] = hash.replace(/^#?\/?/, '').split(/\?(.*)/s)
  const raw = new Map<string, string>()
  for (const pair of query.split('&')) {
    const cut = pair.indexOf('=')
    if (cut > 0) raw.set(pair.slice(0, cut), pair.slice(cut + 1))
  }
  const text = (key: string) => {
    const found = raw.get(key)
    return found === undefined ? null : unquote(found)
  }
  const items = (key: string) => [...new Set(unlist(raw.get(key) ?? ''))].filter(Boolean)
  const parameters: View['parameters'] = {}
  const stopped: View['stopped'] = {}
  const extra: View['extra'] = {}
  for (const [key, value] of raw) {
    const [head = '', first = '', ...rest] = key.split('.')
    const second = rest.join('.')
    if (head === 'p' && first && second)
      (parameters[unquote(first)] ??= {})[unquote(second)] = textValue(unquote(value))
    else if (head === 'n' && first) {
      const cut = value.lastIndexOf(':')
      if (cut > 0)
        stopped[unquote(key.slice(2))] = [
          unquote(value.slice(0, cut)),
          number(value.slice(cut + 1), 1, 1e9, 1),
        ]
    } else if (head === 'v' && first) extra[unquote(key.slice(2))] = unquote(value)
  }
  const slots = items('m').slice(0, 6)
  const pin = (raw.get('pin') ?? '').split(',').map((part) => Math.trunc(number(part, 0, 1e5, NaN)))
  const [x = NaN, y = NaN] = pin
  const [zoom = NaN, zx = NaN, zy = NaN] = (raw.get('zoom') ?? '')
    .split(',')
    .map((part) => number(part, 0, 32, NaN))
  return {
    view: oneOf(path, VIEWS, START.view),
    model: text('model') ?? START.model,
    image: text('img'),
    slots: slots.length ? slots : START.slots,
    active: Math.min(number(raw.get('at'), 0, 5, 0), (slots.length || 1) - 1),
    parameters,
    ran: items('ran'),
    stopped,
    twins: items('twin'),
    target: text('y'),
    versus: text('vs'),
    layer: text('layer'),
    seed: Math.trunc(number(raw.get('seed'), 0, 2 ** 53, 0)),
    look: {
      mode: oneOf(raw.get('show'), MODES, LOOK.mode),
      opacity: number(raw.get('opacity'), 0, 1, LOOK.opacity),
      cmap: text('colours'),
      grey: raw.get('grey') === '1',
      sign: oneOf(raw.get('sign'), SIGNS, LOOK.sign),
      clip: number(raw.get('clip'), 0.5, 1, LOOK.clip),
      smooth: raw.has('cells') ? raw.get('cells') === 'smooth' : null,
      fade: raw.has('fade') ? number(raw.get('fade'), 0, 4, 1) : null,
    },
    threshold: number(raw.get('region'), 0, 1, 0),
    scale: oneOf(raw.get('scale'), SCALES, START.scale),
    swipe: raw.has('swipe') ? number(raw.get('swipe'), 0, 1, 0.5) : null,
    zoom: Number.isNaN(zoom + zx + zy) || zoom < 1 ? FIT : { zoom, x: zx, y: zy },
    pin: Number.isNaN(x + y) ? null : [x, y],
    curve: oneOf(raw.get('curve'), CURVES, START.curve),
    photos: items('photos'),
    methods: items('methods'),
    metrics: items('metrics'),
    extra,
  }
}
