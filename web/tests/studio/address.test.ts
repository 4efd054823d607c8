// The address says what is looked at: reading what was written gives the same, whatever it is.
import { describe, expect, it } from 'vitest'
import { LOOK, MODES, SIGNS } from '../../src/lib/paint'
import {
  CURVES,
  freeSlot,
  read,
  SCALES,
  START,
  VIEWS,
  write,
  type View,
} from '../../src/studio/state/address'

/** Numbers from 0 to 1, the same for the same seed. */
function numbers(seed: number) {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

function any(seed: number): View {
  const next = numbers(seed)
  const one = <T>(items: readonly T[]) => items[Math.floor(next() * items.length)]!
  const texts = [
    'grad_cam',
    'a b',
    'x,y',
    'p=q&r',
    '100',
    'true',
    'ünï/ço:dé',
    '"quoted"',
    '+~#?%',
    '[1]',
    '2.5',
    'null',
  ]
  const some = (most: number) => [
    ...new Set(Array.from({ length: Math.floor(next() * (most + 1)) }, () => one(texts))),
  ]
  const share = () => Math.round(next() * 1e4) / 1e4
  const slots = some(6)
  const maybe = <T>(value: T) => (next() < 0.5 ? value : null)
  const values = () => one<unknown>([1, 2.5, true, null, 'blur', '12', [1, 2], ['a'], '', 'null', '{', 'a+b'])
  const parameters: View['parameters'] = {}
  for (const slot of slots)
    if (next() < 0.5 && !slot.includes('.')) parameters[slot] = { masks: values(), 'a.b': values() }
  return {
    view: one(VIEWS),
    model: one(['0', '1']),
    image: maybe(one(texts)),
    slots: slots.length ? slots : START.slots,
    active: Math.floor(next() * Math.max(slots.length, 1)),
    parameters,
    ran: some(3),
    stopped: next() < 0.5 ? { rise: ['masks', 1 + Math.floor(next() * 5000)], 'rise~2': ['a:b', 3] } : {},
    twins: some(3),
    target: maybe(one(texts)),
    versus: maybe(one(texts)),
    layer: maybe(one(texts)),
    seed: Math.floor(next() * 1e6),
    look: {
      mode: one(MODES),
      opacity: share(),
      cmap: maybe('viridis'),
      grey: next() < 0.5,
      sign: one(SIGNS),
      clip: Math.round((0.5 + next() / 2) * 1e4) / 1e4,
      smooth: one([null, true, false]),
      fade: maybe(share()),
    },
    threshold: share(),
    scale: one(SCALES),
    swipe: next() < 0.5 ? null : Math.round(next() * 1e4) / 1e4,
    zoom: next() < 0.5 ? START.zoom : { zoom: 1.0001 + share() * 30, x: share(), y: share() },
    pin: maybe([Math.floor(next() * 500), Math.floor(next() * 500)] as [number, number]),
    curve: one(CURVES),
    photos: some(5),
    methods: some(5),
    metrics: some(5),
    extra: next() < 0.5 ? { run: one(texts), 'x.y': one(texts) } : {},
  }
}

const settled = (view: View): View => ({
  ...view,
  zoom: { ...view.zoom, zoom: Math.round(view.zoom.zoom * 1e4) / 1e4 },
})

describe('address', () => {
  it('gives back what was written, for 400 states', () => {
    for (let seed = 0; seed < 400; seed++) {
      const view = settled(any(seed))
      const hash = write(view)
      expect(hash.startsWith('#/')).toBe(true)
      expect(hash).not.toMatch(/[\s<>"`]{2}/)
      expect(read(hash), `state ${seed}: ${hash}`).toEqual(view)
      expect(write(read(hash))).toBe(hash)
    }
  })

  it('survives what a browser does to an address', () => {
    for (let seed = 0; seed < 60; seed++) {
      const view = settled(any(seed))
      expect(read(new URL(write(view), 'http://127.0.0.1/?token=x').hash)).toEqual(view)
    }
  })

  it('is short where nothing differs from the start', () => {
    expect(write(START)).toBe('#/saliency')
    expect(read('')).toEqual(START)
  })

  it('reads the form that people write by hand', () => {
    const view = read('#/saliency?img=abc&m=rise,grad_cam&y=243&layer=blocks.2&p.rise.masks=500')
    expect(view).toMatchObject({
      image: 'abc',
      slots: ['rise', 'grad_cam'],
      target: '243',
      layer: 'blocks.2',
    })
    expect(view.parameters).toEqual({ rise: { masks: 500 } })
  })

  it('falls back to the start where something cannot be read', () => {
    const view = read(
      '#/nowhere?opacity=7&clip=x&sign=up&at=9&pin=1&zoom=a,b,c&seed=-1&region=2&%E0%A4%A=1&n.rise=12&scale=none',
    )
    expect(view).toEqual({ ...START, active: 0 })
    expect(view.look).toEqual(LOOK)
  })

  it('keeps at most six panels and none twice', () => {
    expect(read('#/saliency?m=a,b,c,d,e,f,g').slots).toHaveLength(6)
    expect(read('#/saliency?m=a,a,b').slots).toEqual(['a', 'b'])
    expect(freeSlot('a', ['a', 'a~2'])).toBe('a~3')
  })
})
