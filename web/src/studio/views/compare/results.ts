// From what streamed in to what is shown: rows of the table, and the saliency view of one of its maps.

import type { View } from '../../state/address'
import type { Result, Wanted } from './comparison.svelte'
import type { Row } from './table'

/** One row a method that was asked for, then the baselines that are measured. */
export function rowsOf(
  results: readonly Result[],
  wanted: Wanted | null,
  title: (method: string) => string,
): Row[] {
  const order = wanted?.methods ?? []
  const found = new Map(results.map((result) => [result.method, result]))
  const baselines = results.filter(({ baseline }) => baseline).map(({ method }) => method)
  return [...order, ...baselines].map((method) => {
    const result = found.get(method)
    const made = result?.maps.length ?? 0
    return {
      method,
      title: title(method),
      baseline: result?.baseline ?? false,
      cells: Object.fromEntries((result?.cells ?? []).map((cell) => [cell.metric, cell])),
      seconds: result && made ? result.seconds / made : null,
      problem: result?.problem ?? '',
    }
  })
}

/** What the saliency view is to show of a comparison: the map as it was made, without asking for its price. */
export function sightOf(wanted: Wanted | null, photo: string, method: string): Partial<View> {
  const [target = null, versus = null] = wanted?.target?.split(' vs ') ?? []
  return {
    view: 'saliency',
    model: wanted?.model ?? '0',
    image: photo,
    slots: [method],
    active: 0,
    parameters: {},
    ran: [method],
    stopped: {},
    twins: [],
    layer: null,
    seed: wanted?.seed ?? 0,
    target,
    versus,
    pin: null,
  }
}
