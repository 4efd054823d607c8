// The report's script: where a page holds numbers, its static pictures become panels that can be probed. Numbers
// are unpacked when they come near the screen; without this script the pictures stay.

import '../lib/paint/held'
import { mount, unmount } from 'svelte'
import ExhibitView from '../lib/ExhibitView.svelte'
import { Shared, unpacked, type PackedMap } from '../lib/exhibits.svelte'
import { pixelsOf } from '../lib/photos'
import { withTokens } from '../lib/scoped'

interface Payload {
  name: string
  /** Data URL of a lossless picture. */
  photo: string
  maps: PackedMap[]
}

const shared = new Shared()

/** Put panels in the place of the pictures before a block of numbers. */
async function enliven(block: HTMLScriptElement) {
  const pictures = block.previousElementSibling
  if (!(pictures instanceof HTMLElement)) return
  const { name, photo, maps } = JSON.parse(block.textContent ?? '') as Payload
  const { data, width, height } = await pixelsOf(photo)
  const exhibit = { name, photo: data, size: { width, height }, maps: maps.map(unpacked) }
  const room = document.createElement('div')
  pictures.after(room)
  withTokens(room)
  const view = mount(ExhibitView, { target: room, props: { exhibit, shared } })
  pictures.hidden = true
  block.dataset.state = 'live'
  return () => unmount(view)
}

const watch = new IntersectionObserver(
  (seen) => {
    for (const { isIntersecting, target } of seen) {
      if (!isIntersecting) continue
      watch.unobserve(target)
      const block = target.nextElementSibling as HTMLScriptElement
      enliven(block).catch((error: unknown) => {
        block.dataset.state = `failed: ${String(error)}` // the pictures are still there
      })
    }
  },
  { rootMargin: '100% 0px' },
)
for (const block of document.querySelectorAll('script[data-exhibit]'))
  if (block.previousElementSibling) watch.observe(block.previousElementSibling)
