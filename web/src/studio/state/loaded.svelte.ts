// One answer of the server that the page holds: asked for by key, the newest request supersedes older ones,
// a refusal is kept as an answer.

import { Refused, type Refusal } from '../../lib/api/client'

export const refusalOf = (error: unknown): Refusal =>
  error instanceof Refused
    ? error.refusal
    : {
        kind: 'Error',
        asked: 'Something in this page went wrong',
        found: String(error),
        do: 'Reload the page',
      }

export class Loaded<T> {
  value = $state.raw<T | null>(null)
  refusal = $state.raw<Refusal | null>(null)
  busy = $state(false)
  /** The key that the value answers. */
  key = $state('')
  private asked = ''
  private controller: AbortController | null = null

  /** Ask unless this key was asked for; `keep`: show the old value until the new one is here. */
  async load(key: string, ask: (signal: AbortSignal) => Promise<T>, keep = false): Promise<void> {
    if (key === this.asked) return
    this.controller?.abort()
    const controller = (this.controller = new AbortController())
    this.asked = key
    this.busy = true
    this.refusal = null
    if (!keep) this.value = null
    try {
      const value = await ask(controller.signal)
      if (controller.signal.aborted) return
      this.value = value
      this.key = key
    } catch (error) {
      if (controller.signal.aborted) return
      this.value = null
      this.refusal = refusalOf(error)
    }
    this.busy = false
  }

  /** Forget the key, so that the next `load` asks again. */
  expire() {
    this.asked = ''
  }
}
