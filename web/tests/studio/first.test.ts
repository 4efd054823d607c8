// The first map: asked for before the methods are known where that changes nothing, and once only.
import { afterEach, describe, expect, it, vi } from 'vitest'
import { Studio } from '../../src/studio/state/studio.svelte'
import type { Schemas } from '../../src/lib/api/client'

const entry = (name: string, rest: Partial<Schemas['MethodEntry']> = {}) =>
  ({
    name,
    fits: true,
    autorun: true,
    takes_layer: true,
    targeted: true,
    parameters: [],
    ...rest,
  }) as unknown as Schemas['MethodEntry']

function opened(hash: string, methods: Schemas['MethodEntry'][] | null = null) {
  window.location.hash = hash
  const studio = new Studio()
  studio.session.models = [{ id: '0', state: 'loading' } as Schemas['ModelState']]
  studio.session.images = [{ id: 'p', name: 'photo' } as Schemas['ImageEntry']]
  studio.session.methods.value = methods
  studio.view = { ...studio.view, image: 'p' }
  const run = vi.spyOn(studio.panel(studio.slot), 'run').mockResolvedValue(undefined)
  studio.sync()
  return { studio, run, panel: studio.panel(studio.slot) }
}

afterEach(() => (window.location.hash = ''))

describe('the first map', () => {
  it('is asked for before the methods are known, and not again', () => {
    const { studio, run, panel } = opened('')
    expect(run).toHaveBeenCalledTimes(1)
    const before = panel.request
    expect(before).toMatchObject({ method: 'grad_cam', layer: null, target: null, parameters: {} })
    panel.phase = 'waiting'
    studio.session.methods.value = [entry('grad_cam')]
    studio.sync()
    expect(run).toHaveBeenCalledTimes(1)
    expect(panel.request).toEqual(before)
  })

  it.each(['#/saliency?y=3', '#/saliency?m=rise', '#/saliency?layer=a.b', '#/saliency?p.grad_cam.sign=both'])(
    'waits for them where more is said: %s',
    (hash) => {
      expect(opened(hash).run).not.toHaveBeenCalled()
    },
  )

  it('is not asked for where the method turns out not to run by itself', () => {
    const dear = [entry('rise', { autorun: false, forward: 4000, backward: 0 })]
    expect(opened('#/saliency?m=rise', dear).run).not.toHaveBeenCalled()
    expect(opened('#/saliency?m=rise&ran=rise', dear).run).toHaveBeenCalledTimes(1)
  })
})
