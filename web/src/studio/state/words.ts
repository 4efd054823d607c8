// Numbers and kinds as people read them.

import type { Schemas } from '../../lib/api/client'

/** Methods by what they need. */
export const GROUPS: Record<Schemas['MethodEntry']['group'], string> = {
  layer: 'A layer’s activations',
  gradient: 'Gradients',
  'black box': 'Scores only',
  relevance: 'Relevance, layer by layer',
  attention: 'Attention',
  optimised: 'Optimised masks',
  learned: 'Trained once',
}

export const count = (value: number) => Math.round(value).toLocaleString('en-GB')

export function duration(seconds: number): string {
  if (seconds < 0.095) return '< 0.1 s'
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`
  if (seconds < 99.5) return `${Math.round(seconds)} s`
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`
  return `${(seconds / 3600).toFixed(1)} h`
}

export function passes(forward: number | null, backward: number | null): string {
  if (forward === null || backward === null) return ''
  const total = forward + backward
  if (total === 1) return '1 pass'
  return `${total >= 1000 ? '~' : ''}${count(total)} passes`
}

/** "~4,000 passes, ≈ 38 s here" */
export function price(forward: number | null, backward: number | null, seconds: number | null): string {
  return [
    passes(forward, backward),
    seconds === null ? '' : seconds < 0.095 ? 'under 0.1 s here' : `≈ ${duration(seconds)} here`,
  ]
    .filter(Boolean)
    .join(', ')
}

export function percent(share: number | null | undefined, digits = 1): string {
  if (share === null || share === undefined || !Number.isFinite(share)) return '–'
  const value = share * 100
  if (value > 0 && value < 0.1 && digits === 1) return '< 0.1 %'
  return `${value.toFixed(digits)} %`
}

/** A score with the digits that fit its size. */
export function score(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return '–'
  const size = Math.abs(value)
  const digits = size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3
  return value.toFixed(digits).replace('-', '−')
}

/** A long class label's first name: "tabby, tabby cat" is "tabby". */
export const shortLabel = (label: string) => label.split(',')[0] ?? label

/** What a map's numbers explain, from its provenance: "logit of tabby". */
export function unitOf(provenance: Record<string, unknown> | undefined): string {
  const [first] = (provenance?.inputs ?? []) as { target?: { score?: unknown; label?: unknown } }[]
  const { score: kind, label } = first?.target ?? {}
  if (typeof kind !== 'string') return ''
  return kind.replaceAll('_', ' ') + (typeof label === 'string' && label ? ` of ${shortLabel(label)}` : '')
}

/** What the button under a stopped map says: whether its run is still there to go on. */
export const onward = (end: { resumable: boolean } | null) =>
  end?.resumable
    ? { text: 'Continue', title: 'Go on from here (Space)' }
    : { text: 'Run all', title: 'The stopped run is not kept any more: it begins again (Space)' }
