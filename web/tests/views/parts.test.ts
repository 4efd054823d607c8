// What the views share: arrow keys by geometry, the address, words for time.

import { describe, expect, it } from 'vitest'
import { START, type View } from '../../src/studio/state/address'
import { ago, duration, keep, nameOf, query, type Host } from '../../src/studio/views/parts/host'
import { nearest, roving } from '../../src/studio/views/parts/roving'

const place = (column: number, row: number) => ({ left: column * 50, top: row * 20, width: 40, height: 16 })
// Three columns; the last row holds one.
const grid = [0, 1, 2, 3, 4, 5, 6].map((i) => place(i % 3, Math.floor(i / 3)))

describe('nearest', () => {
  it('moves by where things lie', () => {
    expect(nearest(grid, 4, 'ArrowLeft')).toBe(3)
    expect(nearest(grid, 4, 'ArrowRight')).toBe(5)
    expect(nearest(grid, 4, 'ArrowUp')).toBe(1)
    expect(nearest(grid, 3, 'ArrowDown')).toBe(6)
  })
  it('stays where there is nothing that way', () => {
    expect(nearest(grid, 0, 'ArrowLeft')).toBe(-1)
    expect(nearest(grid, 2, 'ArrowRight')).toBe(-1)
    expect(nearest(grid, 6, 'ArrowDown')).toBe(-1)
    expect(nearest(grid, 9, 'ArrowDown')).toBe(-1)
  })
  it('finds a shorter last row', () => {
    expect(nearest(grid, 5, 'ArrowDown')).toBe(6)
  })
})

describe('roving', () => {
  it('has one tab stop: what is pressed, else the first', () => {
    const group = document.createElement('div')
    group.innerHTML =
      '<button data-rove>a</button><button data-rove aria-pressed="true">b</button><button data-rove>c</button>'
    document.body.append(group)
    const action = roving(group)
    const tabs = () => [...group.querySelectorAll('button')].map((b) => b.tabIndex)
    expect(tabs()).toEqual([-1, 0, -1])
    group.querySelectorAll('button')[2]!.focus()
    expect(tabs()).toEqual([-1, -1, 0])
    action.destroy()
    group.remove()
  })
})

describe('the address', () => {
  it('keeps and forgets, and leaves other views’ keys alone', () => {
    const host: Pick<Host, 'view' | 'change'> & { view: View } = {
      view: { ...START, extra: { other: 'x' } },
      change(part) {
        this.view = { ...this.view, ...part }
      },
    }
    keep(host as Host, { run: '/r', runMetric: 'deletion' })
    expect(host.view.extra).toEqual({ other: 'x', run: '/r', runMetric: 'deletion' })
    keep(host as Host, { runMetric: null })
    expect(host.view.extra).toEqual({ other: 'x', run: '/r' })
  })
  it('escapes paths', () => {
    expect(query({ path: '/a b/ü&c', method: 'rise (2)', compared: '' })).toBe(
      'path=%2Fa+b%2F%C3%BC%26c&method=rise+%282%29',
    )
  })
})

describe('words', () => {
  it('says how long ago and how long', () => {
    expect(ago(1000, 1030)).toBe('just now')
    expect(ago(0, 7200)).toBe('2 hours ago')
    expect(ago(0, 86400)).toBe('1 day ago')
    expect([0.0234, 0.77, 17, 300, 9000].map(duration)).toEqual(['23 ms', '0.77 s', '17 s', '5 min', '3 h'])
  })
  it('names the end of a path', () => {
    expect(nameOf('/a/b/')).toBe('b')
    expect(nameOf('C:\\x\\y.png')).toBe('y.png')
    expect(nameOf('/')).toBe('/')
  })
})
