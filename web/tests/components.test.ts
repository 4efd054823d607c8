// What the components say to those who hear them, and what they answer to keys and pointers.

import { cleanup, fireEvent, render, screen } from '@testing-library/svelte'
import { afterEach, describe, expect, it, vi } from 'vitest'
import {
  Bars,
  CurvePlot,
  LOOK,
  LookControls,
  MapPanel,
  Matrix,
  Slider,
  Strip,
  type Grid,
  type Rgba,
} from '../src/lib'

afterEach(cleanup)

const size = { width: 4, height: 2 }
const photo = new Uint8ClampedArray(32).fill(255) as Rgba
const map: Grid = { values: Float64Array.from([0, 1, 2, 3, 4, 5, 6, 7]), signed: false, ...size }

describe('MapPanel', () => {
  const props = { photo, size, map, title: 'Grad-CAM of cat', text: 'Peak at x 3, y 1.' }
  it('tells the map in words and is described by them', () => {
    render(MapPanel, { ...props, probe: { x: 1, y: 1 } })
    const panel = screen.getByRole('application', { name: 'Grad-CAM of cat' })
    expect(document.getElementById(panel.getAttribute('aria-describedby')!)!.textContent).toContain(
      'Peak at x 3',
    )
    expect(panel.querySelector('[aria-live]')!.textContent).toBe('x 1, y 1: 5, above 62 % of the places')
  })
  it('moves the probe with arrows, within the photo, and keeps those keys to itself', async () => {
    const [onprobe, outside] = [vi.fn(), vi.fn()]
    render(MapPanel, { ...props, probe: { x: 3, y: 0 }, onprobe })
    document.body.addEventListener('keydown', outside)
    const panel = screen.getByRole('application')
    await fireEvent.keyDown(panel, { key: 'ArrowRight' })
    await fireEvent.keyDown(panel, { key: 'ArrowDown', shiftKey: true })
    expect(onprobe.mock.calls).toEqual([[{ x: 3, y: 0 }], [{ x: 3, y: 1 }]])
    expect(outside).not.toHaveBeenCalled()
    await fireEvent.keyDown(panel, { key: 's' })
    expect(outside).toHaveBeenCalledOnce()
    document.body.removeEventListener('keydown', outside)
  })
  it('pins and unpins', async () => {
    const onpin = vi.fn()
    const { rerender } = render(MapPanel, { ...props, probe: { x: 2, y: 1 }, onpin })
    await fireEvent.keyDown(screen.getByRole('application'), { key: 'Enter' })
    await rerender({ ...props, pinned: { x: 2, y: 1 }, onpin })
    await fireEvent.keyDown(screen.getByRole('application'), { key: 'Escape' })
    expect(onpin.mock.calls).toEqual([[{ x: 2, y: 1 }], [null]])
  })
  it('leaves the wheel to the page unless it has the focus', async () => {
    const onzoom = vi.fn()
    render(MapPanel, { ...props, onzoom })
    const panel = screen.getByRole('application')
    await fireEvent.wheel(panel, { deltaY: -100 })
    expect(onzoom).not.toHaveBeenCalled()
    panel.focus()
    await fireEvent.wheel(panel, { deltaY: -100 })
    expect(onzoom.mock.calls[0]![0].zoom).toBeGreaterThan(1)
  })
})

describe('CurvePlot', () => {
  const lines = [
    { name: 'map', scores: [0.9, 0.4, 0.1] },
    { name: 'random', scores: [0.9, 0.7, 0.3], low: [0.9, 0.6, 0.2], high: [0.9, 0.8, 0.4], baseline: true },
  ]
  const props = { at: [0, 0.5, 1], lines, title: 'Deletion', unit: 'probability of cat' }
  it('is measured before it is drawn', () => {
    render(CurvePlot, props)
    expect(screen.getByText('Deletion')).toBeTruthy()
  })
  it('steps by keys within its ends and says where it is', async () => {
    const width = vi.spyOn(HTMLElement.prototype, 'clientWidth', 'get').mockReturnValue(600)
    const onstep = vi.fn()
    render(CurvePlot, { ...props, step: 1, onstep })
    const slider = await screen.findByRole('slider')
    expect(slider.getAttribute('aria-valuetext')).toBe('50 % pixels removed; map 0.4; random 0.7')
    for (const key of ['ArrowRight', 'PageUp', 'Home', 'Escape']) await fireEvent.keyDown(slider, { key })
    expect(onstep.mock.calls).toEqual([[2], [2], [0], [null]])
    width.mockRestore()
  })
})

it('a slider says its value in words', async () => {
  const onchange = vi.fn()
  render(Slider, { label: 'Opacity', value: 0.55, format: (v: number) => `${100 * v} percent`, onchange })
  const input = screen.getByRole('slider', { name: /Opacity/ })
  expect(input.getAttribute('aria-valuetext')).toMatch(/55.* percent/)
  await fireEvent.input(input, { target: { value: '0.6' } })
  expect(onchange).toHaveBeenCalledWith(0.6)
})

describe('LookControls', () => {
  it('changes one thing at a time', async () => {
    const onlook = vi.fn()
    render(LookControls, { look: { ...LOOK, opacity: 0.3 }, signed: true, onlook })
    await fireEvent.click(screen.getByRole('radio', { name: 'Contour' }))
    expect(onlook).toHaveBeenCalledWith({ ...LOOK, opacity: 0.3, mode: 'contour' })
    await fireEvent.click(screen.getByRole('radio', { name: 'Evidence against only' }))
    expect(onlook).toHaveBeenLastCalledWith({ ...LOOK, opacity: 0.3, sign: 'against' })
  })
  it('offers no sign for unsigned maps', () => {
    render(LookControls, { look: { ...LOOK }, signed: false, onlook: vi.fn() })
    expect(screen.queryByRole('group', { name: 'Sign' })).toBeNull()
  })
})

it('bars and matrix write their numbers', () => {
  render(Bars, {
    label: 'Deletion',
    bars: [
      { name: 'RISE', value: 0.1234, low: 0.1, high: 0.15 },
      { name: 'x', value: null },
    ],
  })
  expect(screen.getByText('0.123')).toBeTruthy()
  expect(screen.getByText('0.1 to 0.15')).toBeTruthy()
  expect(screen.getByText('n/a')).toBeTruthy()
  cleanup()
  render(Matrix, {
    names: ['a', 'b'],
    values: [
      [1, -0.001],
      [null, 1],
    ],
    caption: 'Agreement',
  })
  expect(screen.getAllByText('1.00')).toHaveLength(2)
  expect(screen.getByText('0.00')).toBeTruthy()
  expect(screen.getByText('n/a')).toBeTruthy()
})

it('a strip without values says so', async () => {
  const width = vi.spyOn(HTMLElement.prototype, 'clientWidth', 'get').mockReturnValue(300)
  render(Strip, { values: [null, null], label: 'none' })
  expect(await screen.findByText('No sample has a value.')).toBeTruthy()
  width.mockRestore()
})
