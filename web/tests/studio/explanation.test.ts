// Panels: a newer request supersedes the older one, dear ones wait, stopped ones go on, kept ones are not asked for again.
import { afterEach, describe, expect, it, vi } from 'vitest'
import { Explanation, type ExplainRequest } from '../../src/studio/state/explanation.svelte'
import { Loaded } from '../../src/studio/state/loaded.svelte'

const packed = { shape: [1, 2], factor: 1, data: 'ADwAAA==' } // 1, 0
const map = (job: string, done: number) => ({
  event: 'map',
  job,
  values: packed,
  native: null,
  signed: false,
  done,
  total: 10,
  seconds: 0.1,
  reliability: {},
  text: `after ${done}`,
})
const ending = (job: string, stopped = false) => ({
  event: 'done',
  job,
  map: `map of ${job}`,
  stopped,
  resumable: stopped,
  provenance: {},
  command: '',
  python: '',
  bibtex: '',
})
const price = (job: string, cached = false) => ({
  event: 'price',
  job,
  forward: 1,
  backward: 0,
  seconds: 1,
  cached,
})
const wanted = (image: string, parameters = {}) =>
  ({
    model: '0',
    image,
    method: 'rise',
    parameters,
    layer: null,
    target: null,
    seed: 0,
    randomised: false,
  }) as unknown as Omit<ExplainRequest, 'panel'>

interface Sent {
  body: Record<string, unknown>
  signal: AbortSignal
  say: (event: unknown) => void
  end: () => void
}

/** A server that answers when the test says so. */
function server() {
  const sent: Sent[] = []
  const other: string[] = []
  vi.stubGlobal('fetch', async (path: string, init: RequestInit) => {
    if (path !== '/api/explain') {
      other.push(`${init.method} ${path}`)
      return new Response('{}')
    }
    let control!: ReadableStreamDefaultController<Uint8Array>
    const body = new ReadableStream<Uint8Array>({ start: (one) => void (control = one) })
    const signal = init.signal!
    signal.addEventListener('abort', () => control.error(new DOMException('gone', 'AbortError')))
    sent.push({
      body: JSON.parse(String(init.body)) as Record<string, unknown>,
      signal,
      say: (event) => control.enqueue(new TextEncoder().encode(`data: ${JSON.stringify(event)}\n\n`)),
      end: () => control.close(),
    })
    return new Response(body)
  })
  return { sent, other }
}
const rest = () => new Promise((done) => setTimeout(done, 5))
let photo = 0
const fresh = () => `photo ${photo++}`

describe('explanation', () => {
  afterEach(() => vi.unstubAllGlobals())

  it('waits with its price until it is told to go', async () => {
    const { sent } = server()
    const panel = new Explanation('rise')
    const image = fresh()
    panel.want(wanted(image), false)
    await rest()
    expect([panel.phase, sent.length]).toEqual(['priced', 0])
    panel.want(wanted(image), true)
    await rest()
    expect([panel.phase, sent.length]).toEqual(['waiting', 1])
    expect(sent[0]!.body).toMatchObject({ image, method: 'rise', resume: null })
  })

  it('shows frames, then the end', async () => {
    const { sent } = server()
    const panel = new Explanation('rise')
    panel.want(wanted(fresh()), true)
    await rest()
    sent[0]!.say(price('a'))
    sent[0]!.say(map('a', 3))
    await rest()
    expect([panel.phase, panel.map?.done, panel.map?.map.values[0]]).toEqual(['running', 3, 1])
    sent[0]!.say(map('a', 10))
    sent[0]!.say(ending('a'))
    sent[0]!.end()
    await rest()
    expect([panel.phase, panel.map?.done, panel.end?.map]).toEqual(['done', 10, 'map of a'])
  })

  it('is superseded by a newer request: the old one is aborted and never heard again', async () => {
    const { sent } = server()
    const panel = new Explanation('rise')
    const image = fresh()
    panel.want(wanted(image), true)
    await rest()
    sent[0]!.say(map('a', 3))
    await rest()
    panel.want(wanted(image, { masks: 5 }), true)
    expect(sent[0]!.signal.aborted).toBe(true)
    expect(panel.stale).toBe(true)
    await rest()
    sent[1]!.say(map('b', 7))
    await rest()
    expect([panel.map?.done, panel.stale, panel.phase, panel.refusal]).toEqual([7, false, 'running', null])
  })

  it('forgets the map when the photo changes', async () => {
    const { sent } = server()
    const panel = new Explanation('rise')
    panel.want(wanted(fresh()), true)
    await rest()
    sent[0]!.say(map('a', 3))
    await rest()
    panel.want(wanted(fresh()), false)
    expect([panel.map, panel.stale, panel.phase]).toEqual([null, false, 'priced'])
  })

  it('keeps finished maps', async () => {
    const { sent } = server()
    const panel = new Explanation('rise')
    const image = fresh()
    panel.want(wanted(image), true)
    await rest()
    sent[0]!.say(map('a', 10))
    sent[0]!.say(ending('a'))
    await rest()
    panel.want(wanted(fresh()), false)
    panel.want(wanted(image), false)
    expect([panel.phase, panel.map?.done, sent.length]).toEqual(['done', 10, 1])
  })

  it('goes on with what was stopped, and asks for as much when it is opened again', async () => {
    const { sent } = server()
    const panel = new Explanation('rise')
    const image = fresh()
    panel.want(wanted(image), true)
    await rest()
    sent[0]!.say(price('a'))
    sent[0]!.say(map('a', 4))
    sent[0]!.say(ending('a', true))
    sent[0]!.end()
    await rest()
    expect(panel.phase).toBe('stopped')
    panel.want(wanted(image), true, ['masks', 4])
    expect([panel.phase, sent.length]).toEqual(['stopped', 1])
    panel.resume(wanted(image))
    await rest()
    expect(sent[1]!.body).toMatchObject({ parameters: {}, resume: 'map of a' })
    expect([panel.phase, panel.map?.done]).toEqual(['waiting', 4])
    panel.want(wanted(image), true)
    await rest()
    expect(sent.length).toBe(2)
  })

  it('goes on after it was opened again, from the map that the address names', async () => {
    const { sent } = server()
    const panel = new Explanation('rise')
    const image = fresh()
    panel.want(wanted(image), true, ['masks', 4])
    await rest()
    expect(sent[0]!.body).toMatchObject({ parameters: { masks: 4 }, resume: null })
    sent[0]!.say(price('b', true))
    sent[0]!.say(map('b', 4))
    sent[0]!.say(ending('b', true))
    sent[0]!.end()
    await rest()
    expect([panel.phase, panel.end?.resumable]).toEqual(['stopped', true])
    panel.resume(wanted(image))
    panel.want(wanted(image), true)
    await rest()
    expect(sent.length).toBe(2)
    expect(sent[1]!.body).toMatchObject({ parameters: {}, resume: 'map of b' })
    expect([panel.map?.done, panel.stale]).toEqual([4, false])
    sent[1]!.say(map('c', 10))
    sent[1]!.say(ending('c'))
    await rest()
    expect([panel.phase, panel.map?.done]).toEqual(['done', 10])
  })

  it('offers the rest where the address says that it was stopped, whoever made the map', async () => {
    const { sent } = server()
    const panel = new Explanation('rise')
    const image = fresh()
    panel.want(wanted(image), true, ['masks', 4])
    await rest()
    sent[0]!.say(price('b'))
    sent[0]!.say(map('b', 4))
    sent[0]!.say(ending('b'))
    await rest()
    expect([panel.phase, panel.end?.resumable]).toEqual(['stopped', false])
  })

  it('takes a map at which another run was stopped for done where just that was asked for', async () => {
    const { sent } = server()
    const panel = new Explanation('rise')
    panel.want(wanted(fresh(), { masks: 4 }), true)
    await rest()
    sent[0]!.say(price('b', true))
    sent[0]!.say(map('b', 4))
    sent[0]!.say(ending('b', true))
    await rest()
    expect(panel.phase).toBe('done')
  })

  it('starts again where the stopped run is not kept any more', async () => {
    const { sent } = server()
    const panel = new Explanation('rise')
    panel.want(wanted(fresh()), true)
    await rest()
    sent[0]!.say(map('a', 4))
    sent[0]!.say(ending('a', true))
    sent[0]!.end()
    await rest()
    panel.resume(panel.request as never)
    await rest()
    sent[1]!.say({
      event: 'error',
      job: 'b',
      kind: 'Missing',
      asked: 'A',
      found: 'F',
      do: 'D',
      superseded: false,
    })
    await rest()
    expect(sent[2]!.body).toMatchObject({ resume: null })
    expect([panel.phase, panel.refusal]).toEqual(['waiting', null])
  })

  it('keeps a refusal as an answer, and says when a stream breaks off', async () => {
    const { sent } = server()
    const panel = new Explanation('rise')
    panel.want(wanted(fresh()), true)
    await rest()
    sent[0]!.say({
      event: 'error',
      job: 'a',
      kind: 'BadInput',
      asked: 'A',
      found: 'F',
      do: 'D',
      superseded: false,
    })
    await rest()
    expect([panel.phase, panel.refusal?.found]).toEqual(['failed', 'F'])
    panel.want(wanted(fresh()), true)
    await rest()
    sent[1]!.end()
    await rest()
    expect([panel.phase, panel.refusal?.kind]).toEqual(['failed', 'Interrupted'])
  })

  it('cancels on the server, too', async () => {
    const { sent, other } = server()
    const panel = new Explanation('rise')
    panel.want(wanted(fresh()), true)
    await rest()
    sent[0]!.say(price('a'))
    await rest()
    panel.cancel()
    expect([panel.phase, sent[0]!.signal.aborted, other]).toEqual(['priced', true, ['DELETE /api/jobs/a']])
  })
})

describe('loaded', () => {
  it('keeps the newest answer, whatever comes last', async () => {
    const loaded = new Loaded<string>()
    let slow!: (value: string) => void
    void loaded.load('a', () => new Promise((done) => (slow = done)))
    await loaded.load('b', async () => 'second')
    slow('first')
    await rest()
    expect([loaded.value, loaded.key, loaded.busy]).toEqual(['second', 'b', false])
  })
})
