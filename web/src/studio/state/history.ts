// Undo and redo are the browser's own back and forward: each entry carries its place, so that undo never
// leaves the page and redo knows whether there is something ahead.

interface Mark {
  place: number
}

const STORE = 'seewhy-last'

export class History {
  constructor(
    private readonly target: Window & typeof globalThis,
    private readonly changed: (hash: string) => void,
  ) {
    if (!this.marked()) {
      target.sessionStorage.setItem(STORE, '0')
      this.write(target.location.hash, 0, true)
    }
    target.addEventListener('popstate', () => {
      if (!this.marked()) this.write(target.location.hash, this.last + 1, true) // typed into the address bar
      this.changed(target.location.hash)
    })
  }

  get place(): number {
    return this.marked()?.place ?? 0
  }

  private get last(): number {
    return Number(this.target.sessionStorage.getItem(STORE) ?? 0)
  }

  get canUndo() {
    return this.place > 0
  }

  get canRedo() {
    return this.place < this.last
  }

  push(hash: string) {
    this.write(hash, this.place + 1, false)
  }

  replace(hash: string) {
    this.write(hash, this.place, true)
  }

  undo() {
    if (this.canUndo) this.target.history.back()
  }

  redo() {
    if (this.canRedo) this.target.history.forward()
  }

  private marked(): Mark | null {
    const state = this.target.history.state as Mark | null
    return state && typeof state.place === 'number' ? state : null
  }

  private write(hash: string, place: number, same: boolean) {
    const { pathname, search } = this.target.location
    const mark: Mark = { place }
    const address = `${pathname}${search}${hash}`
    if (same) this.target.history.replaceState(mark, '', address)
    else this.target.history.pushState(mark, '', address)
    if (!same) this.target.sessionStorage.setItem(STORE, String(place))
    else if (place > this.last) this.target.sessionStorage.setItem(STORE, String(place))
  }
}
