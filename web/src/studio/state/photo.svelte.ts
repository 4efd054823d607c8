// The photo as the model saw it, decoded once, for all panels; null while it is not the one that is chosen.

import { pixelsOf, type Pixels } from '../../lib/photos'
import { Loaded } from './loaded.svelte'
import type { Studio } from './studio.svelte'

export class Photo {
  private readonly decoded = new Loaded<Pixels>()
  size = $state.raw({ width: 224, height: 224 })

  constructor(private readonly studio: Studio) {
    $effect(() => {
      const { predictions } = studio.session
      const answer = predictions.value
      if (!answer) return
      this.size = { width: answer.width, height: answer.height }
      void this.decoded.load(predictions.key, () => pixelsOf(answer.seen), true)
    })
  }

  get pixels(): Pixels['data'] | null {
    const { view } = this.studio
    return this.decoded.key === `${view.model} ${view.image}` ? (this.decoded.value?.data ?? null) : null
  }
}
