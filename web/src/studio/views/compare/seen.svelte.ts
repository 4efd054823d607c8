// Photos as a model saw them, with its answer, asked for once each.

import { get, type Schemas } from '../../../lib/api/client'
import { Loaded } from '../../state/loaded.svelte'

const known = new Map<string, Loaded<Schemas['Predictions']>>()
const KEPT = 256

export function seenOf(model: string, image: string): Loaded<Schemas['Predictions']> {
  const key = `${model} ${image}`
  let found = known.get(key)
  if (!found) {
    if (known.size >= KEPT) known.delete(known.keys().next().value!)
    known.set(key, (found = new Loaded()))
    const path = `/api/models/${encodeURIComponent(model)}/predictions/${encodeURIComponent(image)}`
    const asked = found
    queueMicrotask(() => void asked.load(key, (signal) => get(path, signal)))
  }
  return found
}
