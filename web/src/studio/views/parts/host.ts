// What the run and concept views need of the studio's store, and what they keep in the address.

import type { Session } from '../../state/session.svelte'
import type { View } from '../../state/address'

export interface Host {
  readonly view: View
  change(part: Partial<View>, kind?: string): void
  readonly session: Session
}

/** Change what a view keeps in the address; null forgets. `kind`: see `Studio.change`. */
export function keep(host: Host, changes: Record<string, string | null>, kind = '') {
  const extra = { ...host.view.extra }
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === '') delete extra[name]
    else extra[name] = value
  }
  host.change({ extra }, kind)
}

/** Query of a request; what is undefined or empty is left out. */
export const query = (values: Record<string, string | number | undefined>) =>
  new URLSearchParams(
    Object.entries(values).flatMap(([name, value]) =>
      value === undefined || value === '' ? [] : [[name, String(value)]],
    ),
  ).toString()

/** The last part of a path. */
export const nameOf = (path: string) => path.replace(/[\\/]+$/, '').replace(/^.*[\\/]/, '') || path

/** How long ago, roughly: "3 minutes ago". */
export function ago(seconds: number, now = Date.now() / 1000): string {
  const units: [number, string][] = [
    [86400, 'day'],
    [3600, 'hour'],
    [60, 'minute'],
  ]
  const passed = Math.max(0, now - seconds)
  for (const [size, unit] of units) {
    const count = Math.floor(passed / size)
    if (count) return `${count} ${unit}${count > 1 ? 's' : ''} ago`
  }
  return 'just now'
}

/** Seconds as people say them: "0.08 s", "12 s", "3 min". */
export function duration(seconds: number): string {
  if (seconds < 0.1) return `${Number((1000 * seconds).toPrecision(2))} ms`
  if (seconds < 100) return `${Number(seconds.toPrecision(2))} s`
  return seconds < 6000 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`
}
