// Geometry of plots: round numbers for axes, labels that do not lie on each other.

/** About `count` round numbers from `low` to `high`. */
export function roundTicks(low: number, high: number, count = 5): number[] {
  const span = high - low
  if (!(span > 0)) return [low]
  const raw = span / count
  const power = 10 ** Math.floor(Math.log10(raw))
  const step = power * ([1, 2, 2.5, 5, 10].find((s) => s * power >= raw * 0.999) ?? 10)
  const from = Math.ceil(low / step - 1e-9)
  const ticks = []
  for (let i = from; i * step <= high + 1e-9 * span; i++) ticks.push(Number((i * step).toPrecision(12)))
  return ticks
}

/** Heights for labels that want `wanted` and need `room` each, between `top` and `bottom`, in the same order. */
export function apart(wanted: readonly number[], room: number, top: number, bottom: number): number[] {
  const order = wanted.map((y, i) => ({ y, i })).sort((a, b) => a.y - b.y)
  let last = top - room
  for (const label of order) last = label.y = Math.max(label.y, last + room)
  let next = bottom + room
  for (const label of order.reverse()) next = label.y = Math.min(label.y, next - room)
  const out = wanted.slice()
  for (const { y, i } of order) out[i] = y
  return out
}

type Point = readonly [number, number]

/** An SVG path through points, broken where one is not finite. */
export function polyline(points: readonly Point[]): string {
  let [path, drawing] = ['', false]
  for (const [x, y] of points) {
    const here = Number.isFinite(x) && Number.isFinite(y)
    if (here) path += `${drawing ? 'L' : 'M'}${x},${y}`
    drawing = here
  }
  return path
}

/** An SVG path around what lies between two lines. */
export const between = (low: readonly Point[], high: readonly Point[]) =>
  low.length ? `M${[...low, ...[...high].reverse()].map((p) => p.join(',')).join('L')}Z` : ''

/** Colour and dash of the i-th line. */
export const lineStyle = (i: number, baseline: boolean) =>
  baseline
    ? { colour: 'var(--baseline)', dash: i % 2 ? '2 4' : '6 4' }
    : { colour: `var(--series-${(i % 6) + 1})`, dash: i < 6 ? '' : '8 3' }

/** The step that a key leads to; null: none any more; undefined: the key means nothing here. */
export function stepped(key: string, step: number | null, last: number): number | null | undefined {
  if (key === 'Escape') return step === null ? undefined : null
  const now = step ?? 0
  const to: Record<string, number> = {
    ArrowRight: now + 1,
    ArrowUp: now + 1,
    ArrowLeft: now - 1,
    ArrowDown: now - 1,
    PageUp: now + 10,
    PageDown: now - 10,
    Home: 0,
    End: last,
  }
  const next = to[key]
  return next === undefined ? undefined : Math.min(Math.max(next, 0), last)
}
