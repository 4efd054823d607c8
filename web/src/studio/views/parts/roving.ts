// One tab stop for a group of things: the arrow keys move among `[data-rove]` elements by where they lie.

const KEYS = ['ArrowLeft', 'ArrowRight', 'ArrowUp', 'ArrowDown', 'Home', 'End']

interface Place {
  left: number
  top: number
  width: number
  height: number
}

/** Index of the nearest place in a direction; -1 where there is none. */
export function nearest(places: readonly Place[], from: number, key: string): number {
  const here = places[from]
  if (!here) return -1
  const middle = (p: Place) => [p.left + p.width / 2, p.top + p.height / 2] as const
  const [x, y] = middle(here)
  let [best, least] = [-1, Infinity]
  places.forEach((place, i) => {
    if (i === from) return
    const [px, py] = middle(place)
    const [dx, dy] = [px - x, py - y]
    const sideways = key === 'ArrowLeft' || key === 'ArrowRight'
    const along = { ArrowLeft: -dx, ArrowRight: dx, ArrowUp: -dy, ArrowDown: dy }[key] ?? 0
    const across = Math.abs(sideways ? dy : dx)
    if (along < 2 || (sideways && across > here.height / 2)) return
    const distance = along + 4 * across
    if (distance < least) [best, least] = [i, distance]
  })
  return best
}

/** Action: the first element, or the one marked by `aria-pressed` or `aria-current`, is the tab stop. */
export function roving(group: HTMLElement) {
  const all = () => [...group.querySelectorAll<HTMLElement>('[data-rove]')]
  const stop = (chosen: HTMLElement | undefined) => {
    for (const each of all()) {
      const tab = each === chosen ? 0 : -1
      if (each.tabIndex !== tab) each.tabIndex = tab
    }
  }
  const settle = () => {
    const items = all()
    const marked = items.find(
      (e) => e.getAttribute('aria-pressed') === 'true' || e.hasAttribute('aria-current'),
    )
    if (!items.some((e) => e === document.activeElement)) stop(marked ?? items[0])
  }
  const key = (event: KeyboardEvent) => {
    if (!KEYS.includes(event.key) || event.ctrlKey || event.metaKey || event.altKey) return
    const items = all()
    const from = items.indexOf(event.target as HTMLElement)
    if (from < 0) return
    const boxes = () => items.map((item) => item.getBoundingClientRect())
    const to =
      event.key === 'Home' ? 0 : event.key === 'End' ? items.length - 1 : nearest(boxes(), from, event.key)
    event.preventDefault()
    event.stopPropagation()
    items[to]?.focus()
  }
  const focus = (event: FocusEvent) => {
    const item = (event.target as HTMLElement).closest<HTMLElement>('[data-rove]')
    if (item) stop(item)
  }
  const watch = new MutationObserver(settle)
  watch.observe(group, {
    childList: true,
    subtree: true,
    attributes: true,
    attributeFilter: ['aria-pressed', 'aria-current'],
  })
  group.addEventListener('keydown', key)
  group.addEventListener('focusin', focus)
  settle()
  return {
    destroy() {
      watch.disconnect()
      group.removeEventListener('keydown', key)
      group.removeEventListener('focusin', focus)
    },
  }
}
