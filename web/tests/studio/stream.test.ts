// Streams: events are the same wherever the network cuts them; leaving or aborting ends the request.
import { afterEach, describe, expect, it, vi } from 'vitest'
import { Refused, stream } from '../../src/lib/api/client'

const encode = (text: string) => new TextEncoder().encode(text)
const EVENTS = [
  { event: 'price', job: 'ä→😀' },
  { event: 'map', n: 1, text: 'line\n\nbreak' },
  { event: 'done', job: 'x' },
]
const WIRE = `: a comment\n\nevent: price\ndata: ${JSON.stringify(EVENTS[0])}\n\nevent: map\r\ndata: ${JSON.stringify(EVENTS[1])}\r\n\r\nevent: done\ndata: ${JSON.stringify(EVENTS[2])}\n\n`

function serve(chunks: Uint8Array[], status = 200) {
  const gone = vi.fn()
  const fetching = vi.fn(async (_path: string, _init: RequestInit) => {
    let at = 0
    const body = new ReadableStream<Uint8Array>({
      pull(controller) {
        if (at < chunks.length) controller.enqueue(chunks[at++]!)
        else controller.close()
      },
      cancel: gone,
    })
    return new Response(body, { status })
  })
  vi.stubGlobal('fetch', fetching)
  return { gone, fetching }
}

async function all() {
  const found: unknown[] = []
  for await (const event of stream<{ event: string }>('/api/explain', {})) found.push(event)
  return found
}

describe('stream', () => {
  afterEach(() => vi.unstubAllGlobals())

  it('reads the same events wherever the bytes are cut', async () => {
    const bytes = encode(WIRE)
    for (let cut = 1; cut < bytes.length; cut += 1) {
      serve([bytes.slice(0, cut), bytes.slice(cut)])
      expect(await all(), `cut at ${cut}`).toEqual(EVENTS)
    }
  })

  it('reads one byte at a time', async () => {
    serve([...encode(WIRE)].map((byte) => Uint8Array.of(byte)))
    expect(await all()).toEqual(EVENTS)
  })

  it('leaves an unfinished event out', async () => {
    serve([encode(WIRE + 'event: map\ndata: {"event": "ma')])
    expect(await all()).toEqual(EVENTS)
  })

  it('ends the request when the loop is left', async () => {
    const { gone } = serve(Array.from({ length: 10_000 }, () => encode(WIRE)))
    for await (const event of stream<{ event: string }>('/api/explain', {})) {
      expect(event).toEqual(EVENTS[0])
      break
    }
    await vi.waitFor(() => expect(gone).toHaveBeenCalled())
  })

  it('says what the server said when it refuses', async () => {
    const error = { kind: 'BadInput', asked: 'Asked', found: 'Found', do: 'Do' }
    serve([encode(JSON.stringify({ error }))], 422)
    await expect(all()).rejects.toMatchObject({ status: 422, refusal: error })
    await expect(all()).rejects.toBeInstanceOf(Refused)
  })
})
