// Keys: one list, ignored while somebody types, left to the elements that use them.
import { afterEach, describe, expect, it } from 'vitest'
import { find, hint, KEYS, typing } from '../../src/studio/keys'

function press(target: HTMLElement, key: string, more: KeyboardEventInit = {}) {
  document.body.append(target)
  let found: ReturnType<typeof find> = null
  const listen = (event: KeyboardEvent) => (found = find(event))
  window.addEventListener('keydown', listen)
  target.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true, ...more }))
  window.removeEventListener('keydown', listen)
  return found as ReturnType<typeof find>
}
const element = (html: string) => {
  const box = document.createElement('div')
  box.innerHTML = html
  return box.firstElementChild as HTMLElement
}

describe('keys', () => {
  afterEach(() => document.body.replaceChildren())

  it('finds every key of the list on the page itself', () => {
    for (const key of KEYS)
      expect(
        press(document.createElement('main'), key.key, { ctrlKey: !!key.ctrl, shiftKey: !!key.shift })?.what,
        key.cap,
      ).toBe(key.what)
  })

  it('ignores every single key while somebody types', () => {
    const fields = [
      '<input>',
      '<input type="search">',
      '<input type="number">',
      '<textarea></textarea>',
      '<select></select>',
      '<p contenteditable="true">x</p>',
    ]
    for (const html of fields) {
      expect(typing(element(html)), html).toBe(true)
      for (const key of KEYS)
        expect(press(element(html), key.key, { ctrlKey: !!key.ctrl }), `${key.cap} in ${html}`).toBeNull()
    }
  })

  it('leaves keys to what uses them', () => {
    expect(press(element('<button>x</button>'), ' ')).toBeNull()
    expect(press(element('<button>x</button>'), 's')?.what).toContain('Sign')
    expect(press(element('<div role="grid"></div>'), 'ArrowLeft')).toBeNull()
    expect(press(element('<div role="slider"></div>'), 'ArrowUp')).toBeNull()
  })

  it('does not take keys with other modifiers for its own', () => {
    expect(press(document.createElement('main'), 's', { ctrlKey: true })).toBeNull()
    expect(press(document.createElement('main'), 'p', { metaKey: true })).toBeNull()
    expect(press(document.createElement('main'), 'h', { altKey: true })).toBeNull()
    expect(press(document.createElement('main'), 'z', { ctrlKey: true })?.what).toBe('Undo')
    expect(press(document.createElement('main'), 'Z', { ctrlKey: true, shiftKey: true })?.what).toBe('Redo')
  })

  it('can be switched off but for those with Ctrl', () => {
    const event = (key: string, ctrlKey = false) => new KeyboardEvent('keydown', { key, ctrlKey })
    expect(find(event('s'), false)).toBeNull()
    expect(find(event('z', true), false)?.what).toBe('Undo')
    expect(find(event('ArrowLeft'), false)?.what).toBe('Previous photo')
  })

  it('names no key twice and gives tooltips', () => {
    const names = KEYS.map(({ key, ctrl, shift }) => `${ctrl} ${shift} ${key}`)
    expect(new Set(names).size).toBe(names.length)
    expect(hint('Undo')).toBe('Undo (Ctrl Z)')
  })
})
