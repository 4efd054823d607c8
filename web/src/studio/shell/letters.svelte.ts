// Whether single letters are keys at all (they can be switched off). Kept in this browser.

const STORE = 'seewhy-letters'

class Letters {
  on = $state(localStorage.getItem(STORE) !== 'off')

  set(on: boolean) {
    this.on = on
    localStorage.setItem(STORE, on ? 'on' : 'off')
  }
}

export const letters = new Letters()
