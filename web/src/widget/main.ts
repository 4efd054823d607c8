// The notebook's widget: an anywidget module. Arrays come as buffers; what the user points at goes back to Python.

import '../lib/paint/held'
import { mount, unmount } from 'svelte'
import { followTheme } from './theme'
import { withTokens } from '../lib/scoped'
import Widget from './Widget.svelte'
import type { Model } from './model'

export default {
  render({ model, el }: { model: Model; el: HTMLElement }) {
    const room = document.createElement('div')
    el.append(room)
    withTokens(room)
    const forget = followTheme(room)
    const view = mount(Widget, { target: room, props: { model } })
    return () => {
      forget()
      void unmount(view)
      room.remove()
    }
  },
}
