// Refusals that belong to no panel: they stay until they are dismissed.

import type { Refusal } from '../../lib/api/client'
import { refusalOf } from './loaded.svelte'

export class Notices {
  list = $state.raw<{ id: number; refusal: Refusal }[]>([])
  /** Said politely and gone after a while: "Copied". */
  said = $state('')
  private last = 0
  private timer: ReturnType<typeof setTimeout> | undefined

  refuse(error: unknown) {
    this.list = [...this.list.slice(-3), { id: ++this.last, refusal: refusalOf(error) }]
  }

  dismiss(id: number) {
    this.list = this.list.filter((notice) => notice.id !== id)
  }

  say(text: string) {
    this.said = text
    clearTimeout(this.timer)
    this.timer = setTimeout(() => (this.said = ''), 2500)
  }
}
